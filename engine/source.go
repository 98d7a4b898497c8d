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
	"fmt"
	"slices"
	"sync"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/stream"
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

// answerLimits: an answer goes, and is read, in frames of 1 MiB; what else the link has
// to carry waits for 16 MiB of reading at most.
var answerLimits = stream.AnswerLimits{FrameBytes: 1 << 20, ReadBytes: 16 << 20}

// answers is what a link's other end asks for of one journal, and the walk that answers
// it, from grant to grant.
type answers struct {
	walk   stream.Answer
	reader *journal.Reader
	refs   []wire.BatchRef // of the last read, borrowed from the reader
	heads  []wire.BatchHeader
	done   node.Granted
}

// close gives the reader's pin back.
func (x *answers) close() {
	if x.reader != nil {
		x.reader.Close()
		x.reader, x.refs = nil, nil
	}
}

// answer takes a question, or drops all.
func (l *peerLink) answer(op *node.Op) {
	if op.Fetch.ID == 0 {
		l.source.answers[op.Journal].close()
		l.source.answers[op.Journal].walk = stream.Answer{}
		return
	}
	tail, _ := l.e.flusherOf(op.Journal).j.Tail(op.Fetch.Log)
	l.source.answers[op.Journal].walk.Ask(&op.Fetch, op.Until, tail.Position)
}

// grant sends a piece of what is asked for, and tells the heart how far that went. A
// journal that cannot be read just now ends the link instead: that is not a word about a
// log, and the peer asks again on the next.
func (l *peerLink) grant(op *node.Op) error {
	x := &l.source.answers[op.Journal]
	x.walk.Resume()
	sent, err := x.walk.Serve(op.Bytes, answerLimits, answering{l, x, op.Journal, op.Envelope})
	if err != nil {
		return err
	}
	x.done = node.Granted{Link: l.id, Bytes: sent, Ended: x.done.Ended[:0]}
	x.done.Ended, x.done.Open = x.walk.Pause(x.done.Ended)
	if x.done.Open == 0 {
		x.close()
	}
	l.e.step(&x.done)
	return nil
}

// answering is a grant on its way: stream.AnswerSource.
type answering struct {
	l        *peerLink
	x        *answers
	which    node.Journal
	envelope wire.Envelope
}

// Place puts the reader where all questions are served.
func (a answering) Place(have func(wire.LogID, wire.Position) wire.Position, gone func(wire.LogID, error)) (err error) {
	a.x.close()
	j := a.l.e.flusherOf(a.which).j
	a.x.reader, err = j.ReadRetained(func(log wire.LogID) wire.Position {
		tail, _ := j.Tail(log)
		return have(log, tail.Position)
	}, gone)
	if err != nil {
		return fmt.Errorf("answering from the journal: %w", err)
	}
	return nil
}

// Read reads on.
func (a answering) Read() (headers []wire.BatchHeader, bytes int, damage, err error) {
	x := a.x
	refs, err := x.reader.Next(answerLimits.FrameBytes)
	switch {
	case errors.Is(err, journal.ErrDamaged):
		return nil, answerLimits.FrameBytes, err, nil
	case err != nil:
		return nil, 0, nil, fmt.Errorf("answering from the journal: %w", err)
	}
	x.refs, x.heads = refs, x.heads[:0]
	for i := range refs {
		x.heads = append(x.heads, refs[i].Header)
		bytes += len(refs[i].Bytes)
	}
	return x.heads, bytes, nil, nil
}

// Rows reads a START.
func (a answering) Rows(index int) []wire.LogEnd {
	rows, _ := wire.DecodeStart(a.x.refs[index].Body(), nil)
	return rows
}

// Send sends batches of the last read as a piece of the answer with this id.
func (a answering) Send(id uint64, indexes []int) error {
	parts := append(a.l.source.parts[:0], nil)
	for _, i := range indexes {
		parts = append(parts, a.x.refs[i].Bytes)
	}
	a.l.source.parts = parts
	envelope := a.envelope
	envelope.Number = id
	return a.l.sendBatches(envelope)
}
