//go:build rdma && linux && cgo

package rdma

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/claudefs/repl/cgo/verbs"
)

// Built says whether this build has verbs of its own.
const Built = true

// System returns the machine's verbs, by libibverbs.
func System() Verbs { return system{} }

type system struct{}

// deviceList lists devices, sorted by name.
func deviceList() (*verbs.DeviceList, []verbs.Device, error) {
	list, err := verbs.GetDeviceList()
	if errors.Is(err, syscall.ENOSYS) {
		return nil, nil, fmt.Errorf("%w: the kernel has no RDMA devices (modules ib_uverbs and the card's, or "+
			"rdma_rxe): %w", ErrUnsupported, err)
	}
	if err != nil {
		return nil, nil, err
	}
	devices := list.Devices()
	slices.SortFunc(devices, func(a, b verbs.Device) int { return cmp.Compare(a.Name(), b.Name()) })
	return list, devices, nil
}

func (system) Devices() (names []string, err error) {
	list, devices, err := deviceList()
	if err != nil {
		return nil, err
	}
	defer list.Close()
	for _, d := range devices {
		names = append(names, d.Name())
	}
	return names, nil
}

func (system) Open(which DeviceName) (Device, error) {
	list, devices, err := deviceList()
	if err != nil {
		return nil, err
	}
	defer list.Close()
	var reasons error
	for _, found := range devices {
		if which.Device != "" && which.Device != found.Name() {
			continue
		}
		d, err := openSystemDevice(found, which)
		if err == nil {
			return d, nil
		}
		reasons = also(reasons, fmt.Errorf("%s: %w", found.Name(), err))
	}
	switch {
	case reasons != nil:
	case which.Device != "":
		reasons = fmt.Errorf("no device %q among %d", which.Device, len(devices))
	default:
		reasons = errors.New("this machine has no RDMA device (see `rdma link`)")
	}
	return nil, fmt.Errorf("%w: %w", ErrUnsupported, reasons)
}

// also joins reasons in one line.
func also(reasons, more error) error {
	if reasons == nil {
		return more
	}
	return fmt.Errorf("%w; %w", reasons, more)
}

// systemDevice is an opened device, with the children that keep it open.
type systemDevice struct {
	context  *verbs.Context
	caps     Capabilities
	which    DeviceName // as asked for
	gids     int        // of the port
	ethernet bool
	events   *descriptor
	event    verbs.AsyncEvent // that events took last
	gone     atomic.Bool

	mu       sync.Mutex
	children int
	closed   bool
	numbered uint32 // completion queues so far
	queues   map[uint32]*systemQueue
}

func openSystemDevice(found verbs.Device, which DeviceName) (d *systemDevice, err error) {
	d = &systemDevice{which: which, queues: make(map[uint32]*systemQueue)}
	if d.context, err = found.Open(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.context.Close() // the device was not usable; it is not used
		}
	}()
	limits, err := d.context.QueryDevice()
	if err != nil {
		return nil, err
	}
	d.caps = Capabilities{
		Device: found.Name(), Immediate: !found.IWARP(), SendsMax: limits.QPWRMax, ReceivesMax: limits.QPWRMax,
		PartsMax: limits.SGEMax, CompleteMax: limits.CQEMax,
	}
	if err = d.choosePort(limits.PortCount); err != nil {
		return nil, err
	}
	if d.caps.InlineMax, err = d.probeInline(); err != nil {
		return nil, err
	}
	d.events, err = newDescriptor(d.context.AsyncFD(), d.takeEvent)
	return d, err
}

// choosePort finds the port that was asked for, or the first active one, and its GID.
func (d *systemDevice) choosePort(count int) error {
	var reasons error
	which := &d.which
	for number := 1; number <= count; number++ {
		port := uint8(number)
		if which.Port != 0 && which.Port != port {
			continue
		}
		p, err := d.context.QueryPort(port)
		if err == nil && p.State != verbs.PortActive && which.Port == 0 {
			err = errors.New("not active")
		}
		if err == nil {
			d.ethernet = p.LinkLayer == verbs.LinkEthernet
			d.caps.Port, d.caps.LID, d.caps.MTUBytes = port, p.LID, p.MTUActive.Bytes()
			d.gids = p.GIDCount
			d.caps.GIDIndex, d.caps.GID, err = d.chooseGID()
		}
		if err == nil {
			return nil
		}
		reasons = also(reasons, fmt.Errorf("port %d: %w", port, err))
	}
	if reasons == nil {
		return fmt.Errorf("no port %d among %d", which.Port, count)
	}
	return reasons
}

// chooseGID finds the GID that was asked for, or the first of RoCE v2 over IPv4, or
// else GID 0. Each queue pair asks again: an address that left its interface and came
// back has another index. A device that once had IPv4 does not go on with GID 0.
func (d *systemDevice) chooseGID() (int, GID, error) {
	which, port := &d.which, d.caps.Port
	if which.HasGID {
		e, err := d.context.QueryGIDEx(port, which.GIDIndex)
		if err != nil {
			return 0, GID{}, fmt.Errorf("GID %d: %w", which.GIDIndex, err)
		}
		return which.GIDIndex, GID(e.GID), nil
	}
	byAddress := which.GID != GID{}
	for index := range d.gids {
		e, err := d.context.QueryGIDEx(port, index)
		if errors.Is(err, syscall.ENODATA) {
			continue
		}
		if err != nil {
			return 0, GID{}, fmt.Errorf("GID %d: %w", index, err)
		}
		v2 := e.Type == verbs.GIDRoCEv2 || !d.ethernet
		if byAddress && GID(e.GID) == which.GID && v2 || !byAddress && v2 && d.ethernet && isIPv4(GID(e.GID)) {
			return index, GID(e.GID), nil
		}
	}
	if byAddress {
		return 0, GID{}, fmt.Errorf("no GID %v", net.IP(which.GID[:]))
	}
	if d.ethernet && isIPv4(d.caps.GID) {
		return 0, GID{}, fmt.Errorf("no GID of RoCE v2 over IPv4 any more; there was %v", net.IP(d.caps.GID[:]))
	}
	e, err := d.context.QueryGIDEx(port, 0)
	if err != nil {
		return 0, GID{}, fmt.Errorf("no GID of RoCE v2 over IPv4, and GID 0: %w", err)
	}
	return 0, GID(e.GID), nil
}

func isIPv4(g GID) bool { return net.IP(g[:]).To4() != nil }

// probeInline finds out how many bytes go inline: devices do not say, they refuse.
func (d *systemDevice) probeInline() (int, error) {
	domain, err := d.context.AllocPD()
	if err != nil {
		return 0, err
	}
	defer domain.Close()
	queue, err := d.context.CreateCQ(2, 0, nil, 0)
	if err != nil {
		return 0, err
	}
	defer queue.Close()
	for _, size := range []int{512, 256, 128, 64, 0} {
		var pair *verbs.QP
		pair, err = domain.CreateQP(verbs.QPInitAttr{
			SendCQ: queue, RecvCQ: queue,
			Cap: verbs.QPCap{SendWRs: 1, RecvWRs: 1, SendSGEs: 1, RecvSGEs: 1, InlineBytes: size},
		})
		if err == nil {
			defer pair.Close()
			return size, nil
		}
	}
	return 0, err
}

func (d *systemDevice) Capabilities() Capabilities { return d.caps }

// wrap names the device, and tells one that is gone: the kernel answers EIO or ENODEV
// to all that is asked of it.
func (d *systemDevice) wrap(err error) error {
	if err == nil {
		return nil
	}
	if d.gone.Load() || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("%s: %w: %w", d.caps.Device, ErrDeviceGone, err)
	}
	return fmt.Errorf("%s: %w", d.caps.Device, err)
}

// child counts what was opened from the device, and what of that was closed.
func (d *systemDevice) child(change int) {
	d.mu.Lock()
	d.children += change
	d.mu.Unlock()
}

func (d *systemDevice) takeEvent() (err error) {
	d.event, err = d.context.GetAsyncEvent()
	return err
}

func (d *systemDevice) NextEvent() (Event, error) {
	if err := d.events.wait(); err != nil {
		return Event{}, d.wrap(fmt.Errorf("events: %w", err))
	}
	e := &d.event
	defer e.Ack()
	event := Event{Kind: eventKinds[e.Type], Text: e.Type.String()}
	switch event.Kind {
	case EventQueuePair:
		event.Number = e.QPN
	case EventCompletions:
		event.Number = uint32(e.Cookie)
		d.mu.Lock()
		if q := d.queues[event.Number]; q != nil {
			q.overrun.Store(true)
		}
		d.mu.Unlock()
	case EventDeviceFatal:
		d.gone.Store(true)
	}
	return event, nil
}

// eventKinds: what is not here is of no consequence.
var eventKinds = map[verbs.EventType]EventKind{
	verbs.EventCQError: EventCompletions, verbs.EventQPFatal: EventQueuePair, verbs.EventQPRequestError: EventQueuePair,
	verbs.EventQPAccessError: EventQueuePair, verbs.EventPathMigError: EventQueuePair,
	verbs.EventDeviceFatal: EventDeviceFatal, verbs.EventPortError: EventPortDown, verbs.EventPortActive: EventPortUp,
}

func (d *systemDevice) StopEvents() { d.events.wake() }

// rnrCounters are the names that drivers give receiver-not-ready answers, sent or got:
// rxe two, mlx5, bnxt_re.
var rnrCounters = []string{"rcvd_rnr_err", "send_rnr_err", "rnr_nak_retry_err", "rnr_naks_rcvd"}

func (d *systemDevice) RNRCount() (count uint64, known bool) {
	dir := filepath.Join("/sys/class/infiniband", d.caps.Device, "ports", strconv.Itoa(int(d.caps.Port)), "hw_counters")
	for _, name := range rnrCounters {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err == nil {
			count, known = count+n, true
		}
	}
	return count, known
}

func (d *systemDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	if d.children > 0 {
		return fmt.Errorf("%s: close: %d children: %w", d.caps.Device, d.children, ErrInUse)
	}
	d.closed = true
	d.events.close()
	return d.wrap(d.context.Close())
}
