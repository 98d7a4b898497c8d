package sim

import (
	"errors"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	simstream "github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// answers is what a link's other end asks for of one journal, and the walk that answers
// it, from grant to grant.
type answers struct {
	walk simstream.Answer
	r    *journal.Reader
	refs []wire.BatchRef // of the last read
}

func (x *answers) close() {
	if x.r != nil {
		x.r.Close()
		x.r = nil
	}
}

// answering names the answers to a link from a journal.
type answering struct {
	link  node.LinkID
	which node.Journal
}

func (p *process) answersOf(o *node.Op) *answers {
	name := answering{o.Link, o.Journal}
	if p.answering[name] == nil {
		p.answering[name] = &answers{}
	}
	return p.answering[name]
}

func (p *process) journal(which node.Journal) *journal.Journal {
	if which == node.Own {
		return p.own.j
	}
	return p.mirror.j
}

// answer takes a question, or drops all.
func (p *process) answer(o *node.Op) {
	if o.Fetch.ID == 0 {
		p.answersOf(o).close()
		delete(p.answering, answering{o.Link, o.Journal})
		return
	}
	tail, _ := p.journal(o.Journal).Tail(o.Fetch.Log)
	p.answersOf(o).walk.Ask(&o.Fetch, tail.Position.Seq)
}

// grant sends a piece of what a link's other end asks for.
func (p *process) grant(e *end, o *node.Op) {
	x := p.answersOf(o)
	in := &node.Granted{Link: o.Link}
	x.walk.Resume()
	for in.Bytes < o.Bytes && x.walk.Open() > 0 {
		if id, indexes, size, ok := x.walk.Next(o.Bytes - in.Bytes); ok {
			p.site.w.mark("fetch answered")
			var picked []wire.BatchRef
			for _, i := range indexes {
				picked = append(picked, x.refs[i])
			}
			p.sendBatches(e, &wire.Envelope{Kind: wire.FrameFetched, Session: o.Envelope.Session, Number: id}, picked)
			in.Bytes += size
			continue
		}
		if err := x.read(p, p.journal(o.Journal)); err != nil { // no word about the log: the peer asks again
			p.site.w.mark("answer not read")
			p.site.w.net.broken(e, err)
			return
		}
	}
	in.Ended, in.Open = x.walk.Pause(nil)
	if in.Open == 0 {
		x.close()
	} else if in.Bytes > 0 {
		p.site.w.mark("answer in more than one grant")
	}
	p.later(phaseAny, cpuTime, func() { p.step(in, "granted", uint64(in.Link), uint64(in.Bytes)) })
}

// read reads on, from where all questions are served if there are new ones.
func (x *answers) read(p *process, j *journal.Journal) error {
	if x.r == nil || x.walk.Anew() {
		return x.place(j)
	}
	refs, err := x.r.Next(p.site.plan().feedBytes)
	switch {
	case errors.Is(err, journal.ErrDamaged):
		p.site.w.mark("answer met damage")
		x.walk.Damaged(err)
		return nil
	case err != nil:
		return err
	case len(refs) == 0:
		x.walk.Drained()
		return nil
	}
	x.refs = refs
	heads := make([]wire.BatchHeader, len(refs))
	for i := range refs {
		heads[i] = refs[i].Header
	}
	x.walk.Read(heads)
	return nil
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
			x.walk.Refuse(log, wire.RefuseNotRetained, err.Error())
		}
		unit, err = j.SegmentStart(have, nil)
	}
	if err == nil {
		x.r = j.NewReader(unit)
		x.walk.Begin()
	}
	return err
}
