package sim

import (
	"errors"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
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
	p.answersOf(o).walk.Ask(&o.Fetch, o.Until, tail.Position)
}

// answerFrameMax is how much of an answer goes into one frame, and grantReadMax how much
// of a journal one grant reads: as much smaller than the engine's as segments are.
const (
	answerFrameMax = 64 << 10
	grantReadMax   = 256 << 10
)

// grant sends a piece of what a link's other end asks for.
func (p *process) grant(e *end, o *node.Op) {
	x := p.answersOf(o)
	in := &node.Granted{Link: o.Link}
	x.walk.Resume()
	limits := simstream.AnswerLimits{FrameBytes: answerFrameMax, ReadBytes: grantReadMax}
	sent, err := x.walk.Serve(o.Bytes, limits, grant{p, e, x, o})
	if err != nil { // no word about the log: the peer asks again
		p.site.w.mark("answer not read")
		p.site.w.net.broken(e, err)
		return
	}
	in.Bytes = sent
	in.Ended, in.Open = x.walk.Pause(nil)
	if in.Open == 0 {
		x.close()
	} else if in.Bytes > 0 {
		p.site.w.mark("answer in more than one grant")
	}
	p.later(plan.PhaseAny, cpuTime, func() { p.step(in, "granted", uint64(in.Link), uint64(in.Bytes)) })
}

// grant is one on its way: simstream.AnswerSource.
type grant struct {
	p *process
	e *end
	x *answers
	o *node.Op
}

// Place puts the reader where all questions are served.
func (g grant) Place(have func(wire.LogID, wire.Position) wire.Position, gone func(wire.LogID, error)) (err error) {
	g.x.close()
	j := g.p.journal(g.o.Journal)
	g.x.r, err = j.ReadRetained(func(log wire.LogID) wire.Position {
		tail, _ := j.Tail(log)
		return have(log, tail.Position)
	}, gone)
	return err
}

// Read reads on.
func (g grant) Read() (headers []wire.BatchHeader, bytes int, damage, err error) {
	refs, err := g.x.r.Next(g.p.site.plan().FeedBytes)
	if errors.Is(err, journal.ErrDamaged) {
		g.p.site.w.mark("answer met damage")
		return nil, 0, err, nil
	}
	g.x.refs = refs
	for i := range refs {
		headers = append(headers, refs[i].Header)
		bytes += len(refs[i].Bytes)
	}
	return headers, bytes, nil, err
}

// Rows reads a START.
func (g grant) Rows(index int) []wire.LogEnd {
	rows, _ := wire.DecodeStart(g.x.refs[index].Body(), nil)
	return rows
}

// Send sends batches of the last read as a piece of the answer with this id.
func (g grant) Send(id uint64, indexes []int) error {
	g.p.site.w.mark("fetch answered")
	var picked []wire.BatchRef
	for _, i := range indexes {
		picked = append(picked, g.x.refs[i])
	}
	envelope := g.o.Envelope
	envelope.Number = id
	g.p.sendBatches(g.e, &envelope, picked)
	return nil
}
