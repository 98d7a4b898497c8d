package engine

// Batches from the own journal to a link, on the link's sending goroutine:
//
//  1. seek places a reader where the peer is missing something, and steps Sought.
//  2. read reads the next batches, passes over damage, and steps ReadDone with their headers.
//  3. ship packs those that the heart picked into a frame. A link that takes loans gets the
//     bytes where they lie, and gives them back when it is done.
//  4. end gives the reader's pin back.

import (
	"errors"
	"slices"
	"sync"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// source is what a link's sender reads the journals with, kept from frame to
// frame.
type source struct {
	reader   *journal.Reader
	refs     []wire.BatchRef // of the last read, borrowed from the reader
	headers  []wire.BatchHeader
	parts    [][]byte
	envelope []byte
	readDone node.ReadDone
	lending  link.LendingConn // nil = the link takes nothing on loan
	lent     shipments
	answers  [node.Mirror + 1]answers
}

// end gives all pins back: the link is gone.
func (s *source) end() {
	s.close()
	for i := range s.answers {
		s.answers[i].close()
	}
}

// close gives the shipping reader's pin back.
func (s *source) close() {
	if s.reader != nil {
		s.reader.Close()
		s.reader = nil
	}
}

// seek places the link's reader so that it meets everything beyond have.
func (l *peerLink) seek(have []wire.Cursor) {
	s := &l.source
	s.close()
	s.refs = nil
	done := node.Sought{Link: l.id}
	byLog := func(c wire.Cursor, log wire.LogID) int { return c.Log.Compare(log) }
	find := func(log wire.LogID) wire.Position {
		at, found := slices.BinarySearchFunc(have, log, byLog)
		if !found {
			return wire.Position{}
		}
		return have[at].Position
	}
	reader, tails, gone, err := l.e.own.j.ReadBeyond(find)
	s.reader, done.NotRetained, done.Err = reader, gone, err
	for _, end := range tails {
		done.Tails = append(done.Tails, wire.Cursor{Log: end.Log, Position: end.Position})
	}
	l.e.step(&done)
}

// read reads the next batches and tells the heart their headers.
func (l *peerLink) read(bytes int) {
	s := &l.source
	s.readDone = node.ReadDone{Link: l.id}
	if s.reader == nil {
		s.readDone.Err = errors.New("read before seek")
	} else {
		s.refs, s.readDone.Err = s.reader.Next(bytes)
		for errors.Is(s.readDone.Err, journal.ErrDamaged) { // the reader goes on behind it
			s.refs, s.readDone.Err = s.reader.Next(bytes)
		}
		s.readDone.Backlog = s.reader.Backlog()
	}
	s.headers = s.headers[:0]
	for i := range s.refs {
		s.headers = append(s.headers, s.refs[i].Header)
	}
	s.readDone.Headers = s.headers
	l.e.step(&s.readDone)
}

// ship sends batches of the last read, from where they were read.
func (l *peerLink) ship(op *node.Op) error {
	s := &l.source
	s.parts = append(s.parts[:0], nil)
	for _, i := range op.Batches {
		s.parts = append(s.parts, s.refs[i].Bytes)
	}
	if s.lending != nil {
		if keep := s.reader.Keep(); keep != nil {
			return l.lendBatches(op.Envelope, keep)
		}
	}
	return l.sendBatches(op.Envelope)
}

// lendBatches is sendBatches where the link takes them from where they lie, and gives
// back when it is done with them: by keep.
func (l *peerLink) lendBatches(envelope wire.Envelope, keep func()) error {
	s := &l.source
	h := s.lent.take(keep)
	h.envelope = wire.Pack(&envelope, h.envelope, s.parts)
	err := s.lending.SendLent(s.parts, h.end)
	clear(s.parts)
	return err
}

// shipment is a frame on loan to a link: its envelope, and who gets the batches back.
type shipment struct {
	of       *shipments
	envelope []byte
	keep     func()
	end      func() // over, bound once
}

// shipments keeps ended ones for reuse: never more than were under way at a time.
type shipments struct {
	mu   sync.Mutex
	idle []*shipment
}

func (x *shipments) take(keep func()) *shipment {
	x.mu.Lock()
	defer x.mu.Unlock()
	var h *shipment
	if n := len(x.idle); n > 0 {
		h, x.idle = x.idle[n-1], x.idle[:n-1]
	} else {
		h = &shipment{of: x}
		h.end = h.over
	}
	h.keep = keep
	return h
}

func (h *shipment) over() {
	h.keep()
	h.keep = nil
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.of.idle = append(h.of.idle, h)
}

// sendBatches sends s.parts[1:] behind an envelope for them.
func (l *peerLink) sendBatches(envelope wire.Envelope) error {
	s := &l.source
	s.envelope = wire.Pack(&envelope, s.envelope, s.parts)
	err := l.conn.Send(s.parts)
	clear(s.parts)
	return err
}
