package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

const (
	// fetchedBytesMax is how much of an answer goes into one frame, and is read at once.
	fetchedBytesMax = 1 << 20
	// grantReadMax is how much of a journal one grant reads at most, however little of
	// it is asked for: what else the link has to carry waits for it.
	grantReadMax = 16 << 20
)

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
	l.source.answers[op.Journal].walk.Ask(&op.Fetch, tail.Position.Seq)
}

// grant sends a piece of what is asked for, and tells the heart how far that went. A
// journal that cannot be read just now ends the link instead: that is no word about a
// log, and the peer asks again on the next.
func (l *peerLink) grant(op *node.Op) error {
	x := &l.source.answers[op.Journal]
	x.walk.Resume()
	sent, read := 0, 0
	for sent < op.Bytes && read < grantReadMax && x.walk.Open() > 0 {
		if id, indexes, size, ok := x.walk.Next(min(op.Bytes-sent, fetchedBytesMax)); ok {
			if err := l.sendFetched(op, x, id, indexes); err != nil {
				return err
			}
			sent += size
			continue
		}
		n, err := x.read(l.e.flusherOf(op.Journal).j)
		if err != nil {
			return fmt.Errorf("answering from the journal: %w", err)
		}
		read += n
	}
	x.done = node.Granted{Link: l.id, Bytes: sent, Ended: x.done.Ended[:0]}
	x.done.Ended, x.done.Open = x.walk.Pause(x.done.Ended)
	if x.done.Open == 0 {
		x.close()
	}
	l.e.step(&x.done)
	return nil
}

// read reads on, from where all questions are served if there are new ones, and returns
// how much was read.
func (x *answers) read(j *journal.Journal) (int, error) {
	if x.reader == nil || x.walk.Anew() {
		return 0, x.place(j)
	}
	refs, err := x.reader.Next(fetchedBytesMax)
	switch {
	case errors.Is(err, journal.ErrDamaged):
		x.walk.Damaged(err)
		return fetchedBytesMax, nil
	case err != nil:
		return 0, err
	case len(refs) == 0:
		x.walk.Drained()
		return 0, nil
	}
	x.refs, x.heads = refs, x.heads[:0]
	n := 0
	for i := range refs {
		x.heads = append(x.heads, refs[i].Header)
		n += len(refs[i].Bytes)
	}
	x.walk.Read(x.heads)
	return n, nil
}

// place puts the reader where all questions are served. Those whose batches are gone end.
func (x *answers) place(j *journal.Journal) error {
	x.close()
	have := func(log wire.LogID) wire.Position {
		tail, _ := j.Tail(log)
		return x.walk.Have(log, tail.Position)
	}
	unit, err := j.SegmentStart(have, nil)
	if errors.Is(err, journal.ErrNotRetained) {
		for _, log := range j.NotRetained(have) {
			x.walk.Refuse(log, wire.RefuseNotRetained, fmt.Sprintf("log %s after %s: %v", log, have(log), err))
		}
		unit, err = j.SegmentStart(have, nil)
	}
	if err == nil {
		x.reader = j.NewReader(unit)
		x.walk.Begin()
	}
	return err
}

// sendFetched sends batches of the last read as a piece of the answer with this id.
func (l *peerLink) sendFetched(op *node.Op, x *answers, id uint64, indexes []int) error {
	parts := append(l.source.parts[:0], nil)
	for _, i := range indexes {
		parts = append(parts, x.refs[i].Bytes)
	}
	l.source.parts = parts
	envelope := op.Envelope
	envelope.Number = id
	return l.sendBatches(envelope)
}
