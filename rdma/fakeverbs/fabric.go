package fakeverbs

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/claudefs/repl/rdma"
)

// Options configures a Fabric. The zero value is ready to use.
type Options struct {
	// Devices are their names; none means "fake0". All of them reach each other.
	Devices []string
	// NoImmediate: devices refuse OpWriteImm, as iWARP does.
	NoImmediate bool
	// InlineMax, SendsMax and PartsMax bound what a queue pair may ask for; 0 means
	// 256 bytes, 1024 entries, 16 parts. InlineMax below 0 means none.
	InlineMax, SendsMax, PartsMax int
	// PinnedBytesMax bounds the memory that is registered at a time, over all
	// devices, as RLIMIT_MEMLOCK does; 0 means no bound.
	PinnedBytesMax int
	// Shuffle lets completions of different queue pairs overtake one another in
	// their completion queue, by Seed.
	Shuffle bool
	Seed    uint64
}

// Objects counts what is open.
type Objects struct {
	Devices, Domains, Regions, CompletionQueues, QueuePairs int
	PinnedBytes                                             int
}

// Counts of what the fabric carried since New.
type Counts struct {
	Writes, WriteImms, Sends uint64 // executed
	Signalled, Inline        uint64 // of those
	Bytes                    uint64
	RNRs                     uint64 // a receive was asked for and none was posted
}

// Fabric is devices and what joins them. It implements rdma.Verbs. Its methods,
// and those of all it opens, may be called by any goroutine.
type Fabric struct {
	o Options

	mu      sync.Mutex // everything below, and all objects
	hosts   map[string]*host
	pairs   map[uint32]*queuePair
	regions map[uint32]*region // by remote key
	objects Objects
	counts  Counts
	faults  []*Fault
	random  *rand.Rand
	numbers uint32 // last queue pair, completion queue or key given out
	address uint64 // next region's
}

// host is a device as the machine has it, opened or not.
type host struct {
	name     string
	gid      rdma.GID
	gone     bool
	portDown bool
	open     map[*device]bool
}

var _ rdma.Verbs = (*Fabric)(nil)

// New returns a fabric with its devices up.
func New(o Options) *Fabric {
	if len(o.Devices) == 0 {
		o.Devices = []string{"fake0"}
	}
	o.InlineMax = max(0, cmp.Or(o.InlineMax, 256))
	o.SendsMax = cmp.Or(o.SendsMax, 1024)
	o.PartsMax = cmp.Or(o.PartsMax, 16)
	f := &Fabric{
		o: o, hosts: make(map[string]*host), pairs: make(map[uint32]*queuePair),
		regions: make(map[uint32]*region), random: rand.New(rand.NewPCG(o.Seed, 1)),
		numbers: 0x100, address: 1 << 32,
	}
	for i, name := range o.Devices {
		gid := rdma.GID{10: 0xff, 11: 0xff, 12: 10, 13: 0, 14: 0, 15: byte(i + 1)}
		f.hosts[name] = &host{name: name, gid: gid, open: make(map[*device]bool)}
	}
	return f
}

// Devices implements rdma.Verbs.
func (f *Fabric) Devices() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, h := range f.hosts {
		if !h.gone {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Open implements rdma.Verbs.
func (f *Fabric) Open(which rdma.DeviceName) (rdma.Device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fault(CallOpen); err != nil {
		return nil, err
	}
	for _, name := range f.o.Devices {
		h := f.hosts[name]
		named := which.Device == name || which.Device == "" && !h.portDown
		if h.gone || !named || which.GID != (rdma.GID{}) && which.GID != h.gid {
			continue
		}
		if which.Port > 1 || which.HasGID && which.GIDIndex != 0 {
			return nil, fmt.Errorf("device %s has port 1 with GID 0 alone: %w", name, rdma.ErrUnsupported)
		}
		d := &device{f: f, host: h, events: make(chan rdma.Event, eventsMax), stopped: make(chan struct{})}
		h.open[d] = true
		f.objects.Devices++
		return d, nil
	}
	return nil, fmt.Errorf("no device like %+v: %w", which, rdma.ErrUnsupported)
}

// Objects returns what is open.
func (f *Fabric) Objects() Objects {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects
}

// Counts returns what was carried.
func (f *Fabric) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// Remove takes a device away: a fatal event, all its queue pairs dead, every call
// but Close refused with ErrDeviceGone.
func (f *Fabric) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[name]
	h.gone = true
	for _, p := range f.sorted() {
		if p.domain.device.host == h {
			p.fail()
		}
	}
	for d := range h.open {
		d.tell(rdma.Event{Kind: rdma.EventDeviceFatal, Text: "device fatal"})
	}
	for _, p := range f.sorted() {
		p.completions.notify() // who waits there finds the device gone
	}
}

// Restore brings a removed device back; who had it open opens it again.
func (f *Fabric) Restore(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.hosts[name]
	f.hosts[name] = &host{name: name, gid: old.gid, open: make(map[*device]bool)}
}

// SetPort takes a device's port down, so that what is sent waits, or up again.
func (f *Fabric) SetPort(name string, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[name]
	h.portDown = !up
	event := rdma.Event{Kind: rdma.EventPortDown, Text: "port down"}
	if up {
		event = rdma.Event{Kind: rdma.EventPortUp, Text: "port up"}
	}
	for d := range h.open {
		d.tell(event)
	}
	for _, p := range f.sorted() {
		p.advance()
	}
}

// FailQueuePairs moves every queue pair of a device to ERR, as a fault of the
// device's does.
func (f *Fabric) FailQueuePairs(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.sorted() {
		if p.domain.device.host == f.hosts[name] {
			p.fail()
			p.tellFatal()
		}
	}
}

// Overrun kills the completion queues of a device, as one completion too many does.
func (f *Fabric) Overrun(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.sorted() {
		if p.domain.device.host == f.hosts[name] {
			p.completions.overrun()
		}
	}
}

// sorted lists the queue pairs by number, so that a run repeats itself.
func (f *Fabric) sorted() []*queuePair {
	pairs := make([]*queuePair, 0, len(f.pairs))
	for _, p := range f.pairs {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b *queuePair) int { return cmp.Compare(a.number, b.number) })
	return pairs
}

// number gives out one that no other object has.
func (f *Fabric) number() uint32 {
	f.numbers += 1 + f.random.Uint32N(7)
	return f.numbers
}
