package journal

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// Where the logs of a journal end, and where a reader has to begin for somebody who has
// some of them, is decided here, for everybody who runs a journal.

// LogEnd is where a log ends.
type LogEnd struct {
	Log wire.LogID
	Tail
	Epoch wire.Epoch // of the incarnation; 0 = not asked for
}

// Tails returns where the logs end durably, sorted by log, control log excluded.
func (j *Journal) Tails() []LogEnd {
	logs := j.Logs()
	if plant.TailUnlisted && len(logs) > 1 {
		logs = logs[:len(logs)-1]
	}
	tails := make([]LogEnd, 0, len(logs))
	for _, log := range logs {
		t, _ := j.Tail(log)
		tails = append(tails, LogEnd{log, t, j.EpochOf(log, t.Position.Incarnation)})
	}
	return tails
}

// Suspects lists the logs, sorted, of which nothing proves where they end, control log excluded.
func (j *Journal) Suspects() (logs []wire.LogID) {
	for _, log := range j.Logs() {
		j.mu.Lock()
		if l := j.logs[log]; l != nil && l.suspect {
			logs = append(logs, log)
		}
		j.mu.Unlock()
	}
	return logs
}

// End is where a log ends durably; zero if the journal has nothing of it.
func (j *Journal) End(log wire.LogID) wire.Position {
	t, _ := j.Tail(log)
	return t.Position
}

// Positions returns the same by log: what a reader has that needs nothing.
func (j *Journal) Positions() map[wire.LogID]wire.Position {
	tails := j.Tails()
	positions := make(map[wire.LogID]wire.Position, len(tails))
	for i := range tails {
		positions[tails[i].Log] = tails[i].Position
	}
	return positions
}

// ReadBeyond opens a reader that meets every batch beyond have(log), of every log of the
// journal; have may call the journal, and answers with the zero Position for "nothing".
// It returns, sorted by log, where each log ends at the place where the reader begins: a
// chain to compare with for logs that have nothing beyond it. ErrNotRetained: batches are
// gone that somebody with have needs, and gone names their logs, sorted. Between the
// choice of the place and the reader's pin no segment is given back. Close the reader.
func (j *Journal) ReadBeyond(have func(wire.LogID) wire.Position) (
	r *Reader, tails []LogEnd, gone []wire.LogID, err error) {
	r, rows, err := j.readerFor(have)
	if err != nil {
		if errors.Is(err, ErrNotRetained) {
			gone = j.NotRetained(have)
		}
		return nil, nil, gone, err
	}
	for i := range rows {
		if rows[i].log.Shard != wire.ShardControl {
			tails = append(tails, LogEnd{Log: rows[i].log, Tail: rows[i].tail})
		}
	}
	return r, tails, nil, nil
}

// ReadRetained is ReadBeyond for a reader that goes on without some logs: those whose
// next batch is gone are passed to gone, each once, sorted, and count as had to their
// tails from then on. Whatever have answers for them later does not matter.
func (j *Journal) ReadRetained(have func(wire.LogID) wire.Position, gone func(wire.LogID, error)) (*Reader, error) {
	var passed map[wire.LogID]bool
	begin := func(log wire.LogID) wire.Position {
		if passed[log] {
			t, _ := j.Tail(log)
			return t.Position
		}
		return have(log)
	}
	for {
		r, _, err := j.readerFor(begin)
		if !errors.Is(err, ErrNotRetained) {
			return r, err
		}
		logs := j.NotRetained(begin)
		if passed == nil {
			passed = make(map[wire.LogID]bool)
		}
		for _, log := range logs {
			err := fmt.Errorf("log %s after %s: %w", log, begin(log), ErrNotRetained)
			passed[log] = true
			gone(log, err)
		}
		if len(logs) == 0 {
			return nil, err
		}
	}
}

// readerFor opens a reader where SegmentStart says, under one lock, and returns a copy of
// the table of its segment.
func (j *Journal) readerFor(have func(wire.LogID) wire.Position) (*Reader, []headLog, error) {
	said, err := j.ask(have)
	if err != nil {
		return nil, nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, nil, ErrClosed
	}
	first, rows, err := j.startFor(said)
	if err != nil {
		return nil, nil, err
	}
	return j.newReader(first), rows, nil
}
