package verify

import (
	"context"
	"errors"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// scanBytesMax is how much of a journal is read between two rests.
const scanBytesMax = 1 << 20

// logScan is what a reading of the stored bytes found of one log.
type logScan struct {
	from wire.Seq // the first that is kept; 0 = nothing is
	end  wire.Position
	bad  wire.Seq // the first that does not hold; 0 = none
}

// follow takes the next batch that was read: one that leaves a gap, or goes on
// from another history, shows where the stored bytes do not hold (I9).
func (l *logScan) follow(h *wire.BatchHeader) {
	switch fit := l.end.Fit(h); {
	case l.from == 0:
		l.from = h.FirstSeq
	case fit.Holds() || fit == wire.FitFork:
		return
	case l.bad != 0:
	case fit == wire.FitGap:
		l.bad = l.end.Seq + 1
	case fit == wire.FitParts || fit == wire.FitStraddles:
		l.bad = h.FirstSeq
	}
	l.end = h.End()
}

// named is a journal with what people call it.
type named struct {
	*journal.Journal
	name string
}

// journals are both journals of this site.
func (v *Verifier) journals() []named {
	const nobody wire.SiteID = 0
	return []named{
		{v.Site.Journal(wire.LogID{Site: v.ID}), "own"},
		{v.Site.Journal(wire.LogID{Site: nobody}), "mirror"},
	}
}

// scanJournals reads the stored bytes of both journals, up to what is durable when
// it begins, and checks every digest and chain of them.
func (v *Verifier) scanJournals(ctx context.Context, p *pace) (map[wire.LogID]*logScan, string, error) {
	scans := make(map[wire.LogID]*logScan)
	damage := ""
	for _, j := range v.journals() {
		text, err := scanJournal(ctx, j, scans, p)
		if err != nil {
			return nil, "", err
		}
		if damage == "" {
			damage = text
		}
	}
	return scans, damage, nil
}

func scanJournal(ctx context.Context, j named, scans map[wire.LogID]*logScan, p *pace) (string, error) {
	tails, last := j.Positions(), j.Durable()
	r := j.NewReader(1)
	defer r.Close()
	r.FromFiles()
	damage := ""
	for r.Unit() < last {
		var refs []wire.BatchRef
		err := p.work(ctx, func() (err error) {
			refs, err = r.Next(scanBytesMax)
			for i := range refs {
				h := &refs[i].Header
				if scans[h.Log()] == nil {
					scans[h.Log()] = new(logScan)
				}
				scans[h.Log()].follow(h)
			}
			return err
		})
		switch {
		case errors.Is(err, journal.ErrDamaged):
			if damage == "" {
				damage = j.name + " journal: " + err.Error()
			}
			for _, h := range r.Lost() { // a repair may be here before the reader goes on
				if scans[h.Log] == nil {
					scans[h.Log] = new(logScan)
				}
				if l := scans[h.Log]; l.bad == 0 {
					l.bad = h.From.Seq + 1
				}
			}
			continue
		case err != nil:
			return "", err
		}
		if len(refs) == 0 {
			break
		}
	}
	for log, tail := range tails {
		if l := scans[log]; l != nil && l.bad == 0 && tail.Beyond(l.end) {
			l.bad = l.end.Seq + 1
		}
	}
	return damage, nil
}

// positionsAt finds where the logs of one journal stood at the given seqs, which
// lie at or below their durable tails: only those with a batch that ends there.
func positionsAt(ctx context.Context, j *journal.Journal, seqs map[wire.LogID]wire.Position) (
	map[wire.LogID]wire.Position, error) {
	found := make(map[wire.LogID]wire.Position)
	note := func(log wire.LogID, at wire.Position) {
		if want, ok := seqs[log]; ok && want.Seq == at.Seq && want.Incarnation == at.Incarnation {
			found[log] = at
		}
	}
	have := j.Positions() // of the others nothing is needed
	for log, at := range have {
		note(log, at)
	}
	for log, at := range seqs {
		have[log] = at
	}
	last := j.Durable()
	r, tails, _, err := j.ReadBeyond(func(log wire.LogID) wire.Position { return have[log] })
	if err != nil {
		r = j.NewReader(1) // another history may be what was asked for
	}
	defer r.Close()
	for _, end := range tails {
		note(end.Log, end.Position)
	}
	var p pace
	for len(found) < len(seqs) && r.Unit() < last {
		var refs []wire.BatchRef
		err := p.work(ctx, func() (err error) {
			refs, err = r.Next(scanBytesMax)
			return err
		})
		if errors.Is(err, journal.ErrDamaged) {
			continue
		}
		if err != nil || len(refs) == 0 {
			return found, err
		}
		for i := range refs {
			note(refs[i].Header.Log(), refs[i].Header.End())
		}
	}
	return found, nil
}
