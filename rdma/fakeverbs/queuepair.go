package fakeverbs

import (
	"fmt"
	"syscall"
	"time"

	"github.com/claudefs/repl/rdma"
)

type state uint8

const (
	stateInit state = iota
	stateReceive
	stateSend
	stateError
)

var stateNames = [...]string{"INIT", "RTR", "RTS", "ERR"}

type queuePair struct {
	domain      *domain
	completions *completionQueue
	o           rdma.QueuePairOptions
	number      uint32
	state       state
	peer        rdma.Identity
	closed      bool

	// Sends are numbered from 1. What is polled of them gives their entries back.
	sends             []send // posted, not yet executed
	posted, reclaimed uint64
	receives          []rdma.Receive
	stalled           *time.Timer // the first of sends waits for the peer
	stalledFor        stall
}

type send struct {
	rdma.Send
	number uint64
}

// stall is why an entry cannot go on for now.
type stall uint8

const (
	stallNone stall = iota
	stallRNR
	stallSilence // the peer's queue pair is not there, not ready, or cut off
)

func (d *domain) OpenQueuePair(o rdma.QueuePairOptions) (rdma.QueuePair, error) {
	f := d.device.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := d.device.ready(CallQueuePair); err != nil {
		return nil, err
	}
	q, ok := o.Completions.(*completionQueue)
	if !ok || q.closed || q.device != d.device {
		return nil, fmt.Errorf("queue pair: not a completion queue of this device: %w", syscall.EINVAL)
	}
	c := d.device.Capabilities()
	if o.SendsMax < 1 || o.SendsMax > c.SendsMax || o.ReceivesMax < 1 || o.ReceivesMax > c.ReceivesMax ||
		o.PartsMax < 1 || o.PartsMax > c.PartsMax || o.InlineBytes > c.InlineMax || o.PSN >= 1<<24 {
		return nil, fmt.Errorf("queue pair: more than the device has: %+v: %w", o, syscall.EINVAL)
	}
	p := &queuePair{domain: d, completions: q, o: o, number: f.number()}
	d.children++
	q.pairs[p] = true
	f.pairs[p.number] = p
	f.objects.QueuePairs++
	return p, nil
}

func (p *queuePair) fabric() *Fabric { return p.domain.device.f }

func (p *queuePair) Identity() rdma.Identity {
	c := p.domain.device.Capabilities()
	return rdma.Identity{QPN: p.number, PSN: p.o.PSN, GID: c.GID, LID: c.LID, MTUBytes: c.MTUBytes}
}

func (p *queuePair) Inline() int { return p.o.InlineBytes }

func (p *queuePair) ReadyToReceive(peer rdma.Identity) error {
	return p.move(CallReadyToReceive, stateInit, stateReceive, func() { p.peer = peer })
}

func (p *queuePair) ReadyToSend() error {
	return p.move(CallReadyToSend, stateReceive, stateSend, func() {})
}

func (p *queuePair) move(call Call, from, to state, also func()) error {
	f := p.fabric()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := p.domain.device.ready(call); err != nil {
		return err
	}
	if p.state != from {
		return fmt.Errorf("queue pair %d: %s in %s: %w", p.number, call, stateNames[p.state], rdma.ErrState)
	}
	also()
	p.state = to
	p.wakePeer()
	return nil
}

// wakePeer lets the peer go on with what waited for this end.
func (p *queuePair) wakePeer() {
	if peer := p.fabric().pairs[p.peer.QPN]; peer != nil && peer.peer.QPN == p.number {
		peer.advance()
	}
}

func (p *queuePair) PostSends(list []rdma.Send) (int, error) {
	f := p.fabric()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := p.domain.device.ready(CallPostSends); err != nil {
		return 0, err
	}
	for i := range list {
		if err := p.accept(&list[i]); err != nil {
			return i, fmt.Errorf("queue pair %d: post send %d of %d: %w", p.number, i+1, len(list), err)
		}
	}
	return len(list), nil
}

// accept queues one entry, or completes it as flushed.
func (p *queuePair) accept(w *rdma.Send) error {
	size := 0
	for _, part := range w.Parts {
		size += len(part.Bytes)
	}
	switch {
	case p.closed || p.state < stateSend:
		return rdma.ErrState
	case p.posted-p.reclaimed >= uint64(p.o.SendsMax):
		return rdma.ErrFull
	case w.Op == rdma.OpWriteImm && p.fabric().o.NoImmediate:
		return rdma.ErrNoImmediate
	case w.Op < rdma.OpWrite || w.Op > rdma.OpSend:
		return fmt.Errorf("operation %d: %w", w.Op, syscall.EINVAL)
	case len(w.Parts) > p.o.PartsMax || w.Inline && size > p.o.InlineBytes:
		return fmt.Errorf("%d parts, %d bytes, inline %v: %w", len(w.Parts), size, w.Inline, syscall.EINVAL)
	}
	p.posted++
	s := send{Send: *w, number: p.posted}
	if p.state == stateError {
		p.complete(&s, rdma.StatusFlushed)
		return nil
	}
	p.sends = append(p.sends, s)
	p.advance()
	if n := len(p.sends); n > 0 {
		p.sends[n-1].keep()
	}
	return nil
}

// keep makes a send that has to wait independent of the caller's lists.
func (s *send) keep() {
	if !s.Inline {
		s.Parts = append([]rdma.SGE(nil), s.Parts...)
		return
	}
	var bytes []byte
	for _, part := range s.Parts {
		bytes = append(bytes, part.Bytes...)
	}
	s.Parts = []rdma.SGE{{Bytes: bytes}}
}

func (p *queuePair) PostReceives(list []rdma.Receive) (int, error) {
	f := p.fabric()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := p.domain.device.ready(CallPostReceives); err != nil {
		return 0, err
	}
	for i, r := range list {
		switch {
		case p.closed:
			return i, rdma.ErrState
		case p.state == stateError:
			p.completions.add(p.entry(rdma.Completion{ID: r.ID, Status: rdma.StatusFlushed}, 0))
		case len(p.receives) >= p.o.ReceivesMax:
			return i, fmt.Errorf("queue pair %d: post receive %d of %d: %w", p.number, i+1, len(list), rdma.ErrFull)
		default:
			p.receives = append(p.receives, r)
		}
	}
	p.wakePeer()
	return len(list), nil
}

func (p *queuePair) entry(c rdma.Completion, sends uint64) entry {
	c.QPN = p.number
	return entry{Completion: c, pair: p, sends: sends}
}

// complete tells how a send ended. f.mu is held.
func (p *queuePair) complete(s *send, status rdma.Status) {
	if status == rdma.StatusSuccess && !s.Signalled {
		return
	}
	p.completions.add(p.entry(rdma.Completion{ID: s.ID, Status: status, Kind: rdma.CompletedSend}, s.number))
}

// Fail implements rdma.QueuePair.
func (p *queuePair) Fail() error {
	f := p.fabric()
	f.mu.Lock()
	defer f.mu.Unlock()
	p.fail()
	return nil
}

// fail moves to ERR and flushes. f.mu is held.
func (p *queuePair) fail() {
	if p.state == stateError || p.closed {
		return
	}
	p.state = stateError
	p.unstall()
	for i := range p.sends {
		p.complete(&p.sends[i], rdma.StatusFlushed)
	}
	for _, r := range p.receives {
		p.completions.add(p.entry(rdma.Completion{ID: r.ID, Status: rdma.StatusFlushed}, 0))
	}
	p.sends, p.receives = nil, nil
}

func (p *queuePair) tellFatal() {
	p.domain.device.tell(rdma.Event{Kind: rdma.EventQueuePair, Number: p.number, Text: "QP fatal"})
}

func (p *queuePair) unstall() {
	if p.stalled != nil {
		p.stalled.Stop()
		p.stalled, p.stalledFor = nil, stallNone
	}
}

func (p *queuePair) Close() error {
	f := p.fabric()
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.closed {
		return nil
	}
	p.fail()
	p.closed = true
	p.completions.drop(p)
	delete(p.completions.pairs, p)
	delete(f.pairs, p.number)
	p.domain.children--
	f.objects.QueuePairs--
	return nil
}
