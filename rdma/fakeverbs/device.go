package fakeverbs

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"github.com/claudefs/repl/rdma"
)

// eventsMax bounds the events that nobody has taken yet; later ones are dropped.
const eventsMax = 256

type device struct {
	f        *Fabric
	host     *host
	children int
	closed   bool
	events   chan rdma.Event
	stopped  chan struct{}
	stopOnce sync.Once
}

func (d *device) Capabilities() rdma.Capabilities {
	return rdma.Capabilities{
		Device: d.host.name, Port: 1, GID: d.host.gid, MTUBytes: 4096, Immediate: !d.f.o.NoImmediate,
		InlineMax: d.f.o.InlineMax, SendsMax: d.f.o.SendsMax, ReceivesMax: 4096, PartsMax: d.f.o.PartsMax,
		CompleteMax: 1 << 16,
	}
}

// ready says whether a call may go on. f.mu is held.
func (d *device) ready(call Call) error {
	if d.host.gone {
		return fmt.Errorf("%s: %s: %w", d.host.name, call, rdma.ErrDeviceGone)
	}
	if err := d.f.fault(call); err != nil {
		return fmt.Errorf("%s: %s: %w", d.host.name, call, err)
	}
	return nil
}

func (d *device) OpenDomain() (rdma.Domain, error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if err := d.ready(CallOpenDomain); err != nil {
		return nil, err
	}
	d.children++
	d.f.objects.Domains++
	return &domain{device: d}, nil
}

func (d *device) OpenCompletionQueue(capacity int) (rdma.CompletionQueue, error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if err := d.ready(CallCompletionQueue); err != nil {
		return nil, err
	}
	if capacity < 1 {
		return nil, fmt.Errorf("completion queue of %d entries: %w", capacity, syscall.EINVAL)
	}
	d.children++
	d.f.objects.CompletionQueues++
	return &completionQueue{
		device: d, number: d.f.number(), capacity: capacity, notified: make(chan struct{}, 1),
		woken: make(chan struct{}), pairs: make(map[*queuePair]bool),
	}, nil
}

func (d *device) NextEvent() (rdma.Event, error) {
	select {
	case <-d.stopped:
		return rdma.Event{}, fmt.Errorf("%s: events: %w", d.host.name, net.ErrClosed)
	case e := <-d.events:
		return e, nil
	}
}

func (d *device) StopEvents() { d.stopOnce.Do(func() { close(d.stopped) }) }

func (d *device) tell(e rdma.Event) {
	select {
	case d.events <- e:
	default:
	}
}

func (d *device) RNRCount() (uint64, bool) { return d.f.Counts().RNRs, true }

func (d *device) Close() error {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if d.closed {
		return nil
	}
	if d.children > 0 {
		return fmt.Errorf("%s: close: %d children: %w", d.host.name, d.children, rdma.ErrInUse)
	}
	d.closed = true
	delete(d.host.open, d)
	d.f.objects.Devices--
	return nil
}

type domain struct {
	device   *device
	children int
	closed   bool
}

func (d *domain) Register(memory []byte, access rdma.Access) (rdma.Region, error) {
	f := d.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := d.device.ready(CallRegister); err != nil {
		return nil, err
	}
	if len(memory) == 0 || access&rdma.RemoteWrite != 0 && access&rdma.LocalWrite == 0 {
		return nil, fmt.Errorf("register %d bytes with access %d: %w", len(memory), access, syscall.EINVAL)
	}
	if limit := f.o.PinnedBytesMax; limit > 0 && f.objects.PinnedBytes+len(memory) > limit {
		return nil, fmt.Errorf("register %d bytes, %d of %d are pinned: %w", len(memory), f.objects.PinnedBytes,
			limit, syscall.ENOMEM)
	}
	r := &region{domain: d, memory: memory, access: access, key: f.number(), address: f.address}
	// A page is left free between two, so that who writes beyond one meets nothing.
	f.address += uint64(len(memory)+8191) &^ 4095
	f.regions[r.key] = r
	d.children++
	f.objects.Regions++
	f.objects.PinnedBytes += len(memory)
	return r, nil
}

func (d *domain) Close() error {
	f := d.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.closed {
		return nil
	}
	if d.children > 0 {
		return fmt.Errorf("domain: close: %d children: %w", d.children, rdma.ErrInUse)
	}
	d.closed = true
	d.device.children--
	f.objects.Domains--
	return nil
}

type region struct {
	domain  *domain
	memory  []byte
	access  rdma.Access
	key     uint32
	address uint64
	closed  bool
}

// LocalKey and RemoteKey are one number, as many devices have it.
func (r *region) LocalKey() uint32  { return r.key }
func (r *region) RemoteKey() uint32 { return r.key }
func (r *region) Address() uint64   { return r.address }

func (r *region) Close() error {
	f := r.domain.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	delete(f.regions, r.key)
	r.domain.children--
	f.objects.Regions--
	f.objects.PinnedBytes -= len(r.memory)
	return nil
}

// covers says whether b lies in the region.
func (r *region) covers(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	// Unsafe rule 2 (Pointer to uintptr, not back): addresses are only compared.
	lo, at := uintptr(unsafe.Pointer(&r.memory[0])), uintptr(unsafe.Pointer(&b[0]))
	return at >= lo && at+uintptr(len(b)) <= lo+uintptr(len(r.memory))
}

// remote returns the memory that a write by this key, address and size names, or
// nil where the key, the rights or the bounds do not allow it. f.mu is held.
func (f *Fabric) remote(key uint32, address uint64, size int, target *queuePair) []byte {
	r := f.regions[key]
	if r == nil || r.domain != target.domain || r.access&rdma.RemoteWrite == 0 {
		return nil
	}
	offset := address - r.address
	if address < r.address || offset > uint64(len(r.memory)) || uint64(size) > uint64(len(r.memory))-offset {
		return nil
	}
	return r.memory[offset:][:size]
}
