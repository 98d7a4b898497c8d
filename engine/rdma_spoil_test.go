package engine_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
)

// spoiler are verbs that spoil a frame under way when they are told to, on a real
// device as on the fake one.
type spoiler struct {
	rdma.Verbs

	mu     sync.Mutex
	after  int // so many lists of writes from now; 0 = none
	damage damage
}

type damage int

const (
	// wrongKey writes with a key that the peer never gave.
	wrongKey damage = iota + 1
	// cutShort fails the queue pair between two entries of a frame, or behind its
	// only one.
	cutShort
)

// spoil arms the spoiler, for one list of writes.
func (s *spoiler) spoil(after int, d damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after, s.damage = after, d
}

// left is how many lists are waited for still.
func (s *spoiler) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after
}

// due says what is to be done to a list.
func (s *spoiler) due(list []rdma.Send) damage {
	if !slices.ContainsFunc(list, func(e rdma.Send) bool { return e.Op != rdma.OpSend }) {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after == 0 {
		return 0
	}
	if s.after--; s.after > 0 {
		return 0
	}
	return s.damage
}

func (s *spoiler) Open(which rdma.DeviceName) (rdma.Device, error) {
	d, err := s.Verbs.Open(which)
	if err != nil {
		return nil, err
	}
	return &spoiledDevice{d, s}, nil
}

type spoiledDevice struct {
	rdma.Device
	s *spoiler
}

func (d *spoiledDevice) OpenDomain() (rdma.Domain, error) {
	domain, err := d.Device.OpenDomain()
	if err != nil {
		return nil, err
	}
	return &spoiledDomain{domain, d.s}, nil
}

type spoiledDomain struct {
	rdma.Domain
	s *spoiler
}

func (d *spoiledDomain) OpenQueuePair(o rdma.QueuePairOptions) (rdma.QueuePair, error) {
	pair, err := d.Domain.OpenQueuePair(o)
	if err != nil {
		return nil, err
	}
	return &spoiledPair{pair, d.s}, nil
}

type spoiledPair struct {
	rdma.QueuePair
	s *spoiler
}

func (p *spoiledPair) PostSends(list []rdma.Send) (int, error) {
	switch p.s.due(list) {
	case wrongKey:
		list = slices.Clone(list)
		for i := range list {
			list[i].RemoteKey ^= 0x5a5a
		}
	case cutShort:
		half := max(1, len(list)/2)
		n, err := p.QueuePair.PostSends(list[:half])
		if err != nil {
			return n, err
		}
		if err := p.Fail(); err != nil {
			return n, err
		}
		rest, err := p.QueuePair.PostSends(list[half:]) // they complete as flushed
		return n + rest, err
	}
	return p.QueuePair.PostSends(list)
}

// On every device, real ones too: a frame that the peer's keys refuse, and one whose
// queue pair dies in the midst of it, are lost with their link and come by the next.
func TestRDMASpoiledFramesArriveOnce(t *testing.T) { // I2, I3
	p := newRDMAPair(t)
	for i, d := range []damage{wrongKey, cutShort, wrongKey, cutShort, cutShort} {
		p.put(20)
		p.carried("rdma", "")
		p.while(func() { p.fabric.spoiler.spoil(1+i%2, d) })
		require.Zero(t, p.fabric.spoiler.left(), "it was not done")
	}
	p.carried("rdma", "")
	p.exact()
	require.GreaterOrEqual(t, p.a.Counters().RDMA.Links, uint64(6), "each has cost a link")
}
