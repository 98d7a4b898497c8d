package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

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
