package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// heart is the node under its mutex. Effects are handed on under the same mutex,
// in the order of the steps that asked for them: into the journals' open units,
// the links' queues and the waiters' watermarks. None of that blocks; what does,
// is done by the goroutine that owns it.
type heart struct {
	mu      sync.Mutex
	node    *node.Node
	effects node.Effects
	next    []node.Input // answers that came up while effects were handed on
	wake    time.Duration
	// recorded is for who waits for control records; something of them was written.
	recorded *sync.Cond
}

// frameBatches is what the input of a step came with: the batches of a frame, whose
// memory a journal may borrow.
type frameBatches struct {
	refs  []wire.BatchRef
	frame *link.Frame
}

// now is the heart's time.
func (e *Engine) now() node.Now {
	wall := time.Now()
	return node.Now{Mono: wall.Sub(e.opened), Wall: wall}
}

// step tells the heart what happened.
func (e *Engine) step(in node.Input) { e.stepWith(in, frameBatches{}) }

// stepWith is step for an input that batches came with.
func (e *Engine) stepWith(in node.Input, b frameBatches) {
	h := &e.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	h.effects.Reset()
	h.node.Step(e.now(), in, &h.effects)
	e.carryOut(&h.effects, b)
	switch in.(type) {
	case *node.Persisted, *node.JournalDown:
		h.recorded.Broadcast()
	}
	for len(h.next) > 0 {
		in := h.next[0]
		h.next = append(h.next[:0], h.next[1:]...)
		h.effects.Reset()
		h.node.Step(e.now(), in, &h.effects)
		e.carryOut(&h.effects, frameBatches{})
	}
	if earlier := h.effects.Wake != 0 && (h.wake == 0 || h.effects.Wake < h.wake); earlier {
		e.clock.wakeUp()
	}
	h.wake = h.effects.Wake
}

// carryOut hands on what a step asked for. The order of kinds matters where one
// kind prepares another: tails are cleared before batches are staged behind
// them, and a shard is admitted only when its waiters may see its tail.
func (e *Engine) carryOut(effects *node.Effects, b frameBatches) {
	for _, c := range effects.Clears {
		e.flusherOf(c.Journal).j.Clear(c.Log)
	}
	for i := range effects.Stages {
		e.stage(&effects.Stages[i], b)
	}
	for _, log := range effects.Adopts {
		e.journalOf(log.ID).j.Adopt(log.ID, tailOf(&log))
	}
	e.found(effects)
	for i := range effects.Persists {
		e.persist(&effects.Persists[i])
	}
	for i := range effects.Ops {
		e.operate(&effects.Ops[i])
	}
	for i := range effects.Progress {
		e.progress(&effects.Progress[i])
	}
	for i := range effects.Admits {
		e.admission(&effects.Admits[i])
	}
	for i := range effects.Opens {
		e.openLog(&effects.Opens[i])
	}
	for _, j := range effects.Reclaim {
		e.housework.retain(j)
	}
	for i := range effects.Events {
		e.nodeEvent(effects.Events[i])
	}
	for i := range effects.Asked {
		e.verifier.Asked(&effects.Asked[i])
	}
	for i := range effects.Told {
		e.verifier.Told(&effects.Told[i])
	}
	if effects.Raise != 0 {
		e.wantEpoch(effects.Raise)
	}
}

func (e *Engine) flusherOf(j node.Journal) *flusher {
	if j == node.Own {
		return e.own
	}
	return e.mirror
}

// stage puts batches of the frame at hand into a journal; the frame's memory is
// lent to it until the flush.
func (e *Engine) stage(s *node.Stage, b frameBatches) {
	f := e.mirror
	switch s.Kind {
	case node.StageRepair:
		e.gather(s, b)
		return
	case node.StageRestore:
		f = e.own
	}
	f.staging = f.staging[:0]
	for _, i := range s.Batches {
		f.staging = append(f.staging, b.refs[i])
	}
	b.frame.Retain()
	unit, err := f.j.Stage(f.staging, b.frame)
	if err != nil {
		e.heart.next = append(e.heart.next, &node.StageFailed{Ticket: s.Ticket, Err: err})
		return
	}
	f.await(ticket{number: s.Ticket, unit: unit})
}

// persist puts control records into the own journal.
func (e *Engine) persist(p *node.Persist) {
	records := make([]journal.ControlRecord, 0, len(p.Peers))
	for _, site := range p.Forget {
		records = append(records, journal.ControlRecord{RemovePeer: site})
	}
	for i := range p.Removed {
		records = append(records, journal.ControlRecord{Removed: &p.Removed[i]})
	}
	for i := range p.Sites {
		records = append(records, journal.ControlRecord{Site: &p.Sites[i]})
	}
	for i := range p.Peers {
		records = append(records, journal.ControlRecord{Peer: &p.Peers[i]})
	}
	unit, err := e.own.j.StageControl(records, wire.StampOf(time.Now()))
	if err != nil {
		e.heart.next = append(e.heart.next, &node.Persisted{Ticket: p.Ticket, Err: err})
		return
	}
	e.own.awaitPersist(ticket{number: p.Ticket, unit: unit})
}

// tailOf is the end of a log as journals and writers know it.
func tailOf(l *node.Log) journal.Tail {
	return journal.Tail{Position: l.Tail, LastStamp: l.LastStamp, LastIndex: l.LastIndex}
}

// admission lets a shard's log take appends, or not.
func (e *Engine) admission(a *node.Admit) {
	s := &e.shards[a.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	tail := a.Tail
	if e.writer.Load().GoOn(a.Shard, tailOf(&tail), tail.Epoch) {
		s.goesOn(tail.Tail.Incarnation)
		s.local = tail.Tail.Seq
		s.index.Store(max(s.index.Load(), tail.LastIndex))
	}
	if a.Open != nil {
		e.openLog(a.Open)
	}
	s.admission, s.refusal = a.Admission, a.Err
	s.open.Store(s.takes() && !s.paused)
	s.wake()
}

// openLog has an own log go on in a new incarnation.
func (e *Engine) openLog(o *node.Open) {
	err := e.writer.Load().Open(&writer.Opening{
		Shard: o.Shard, Epoch: o.Epoch, Ends: o.Rows, GoesOn: o.GoesOn, After: o.After,
	})
	if errors.Is(err, writer.ErrBegun) {
		return
	}
	if err != nil {
		e.heart.next = append(e.heart.next, &node.JournalDown{
			Journal: node.Own, Err: fmt.Errorf("opening epoch %d of shard %d: %w", o.Epoch, o.Shard, err),
		})
		return
	}
	e.own.wakeUp()
}

// operate puts an operation into its link's queue.
func (e *Engine) operate(op *node.Op) {
	if op.Kind == node.OpDial {
		e.dialPeer(op.Peer)
		return
	}
	if l := e.links.get(op.Link); l != nil {
		l.push(op)
	}
}

// ticket is something that is answered when its unit is durable, in order.
type ticket struct {
	number uint64
	unit   journal.UnitNumber
}

// repair is a stretch of a log that is to be written in the place of damage.
type repair struct {
	log    wire.LogID
	refs   []wire.BatchRef
	ticket uint64 // of its last piece
}

// gather keeps a repair's piece; the last one has all of them written, by the
// house-keeping goroutine, because that waits for the disk.
func (e *Engine) gather(s *node.Stage, b frameBatches) {
	var refs []wire.BatchRef
	for _, i := range s.Batches {
		refs = append(refs, b.refs[i])
	}
	if whole := e.housework.pieces.Add(s.Log, s.From, refs, s.Last); s.Last {
		e.housework.repair(&repair{s.Log, whole, s.Ticket})
	}
}

// clock is the engine's one timer: the heart's next tick, the journals' closing
// units, the Store's next Sync. With nothing due it does not run.
type clock struct {
	kick chan struct{} // capacity 1
	quit chan struct{}

	mu      sync.Mutex
	syncDue time.Duration // Mono; 0 = nothing was applied since the last Sync
	e       *Engine
}

func (c *clock) open(e *Engine) {
	c.e, c.kick, c.quit = e, make(chan struct{}, 1), make(chan struct{})
}

func (c *clock) wakeUp() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// applied has the Store made durable in a while.
func (c *clock) applied() {
	c.mu.Lock()
	first := c.syncDue == 0
	if first {
		c.syncDue = c.e.now().Mono + syncEvery
	}
	c.mu.Unlock()
	if first {
		c.wakeUp()
	}
}

func (c *clock) end() { close(c.quit) }

// run ticks until end.
func (c *clock) run() {
	defer c.e.workers.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if due := c.next(); due == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, due-c.e.now().Mono))
		}
		select {
		case <-timer.C:
			c.tick()
		case <-c.kick:
		case <-c.quit:
			return
		}
	}
}

// next is when the first thing is due; 0 = nothing is.
func (c *clock) next() time.Duration {
	c.e.heart.mu.Lock()
	due := c.e.heart.wake
	c.e.heart.mu.Unlock()
	earlier := func(at time.Duration) {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	for _, f := range c.e.journals() {
		earlier(f.restDue())
	}
	c.mu.Lock()
	earlier(c.syncDue)
	c.mu.Unlock()
	return due
}

// tick does what is due.
func (c *clock) tick() {
	now := c.e.now().Mono
	c.e.heart.mu.Lock()
	wake := c.e.heart.wake
	c.e.heart.mu.Unlock()
	if wake != 0 && wake <= now {
		c.e.step(&node.Tick{Receiving: c.e.links.receiving(now, c.e.o.HeartbeatTimeout/2)})
	}
	for _, f := range c.e.journals() {
		if due := f.restDue(); due != 0 && due <= now {
			f.atRest()
		}
	}
	c.mu.Lock()
	sync := c.syncDue != 0 && c.syncDue <= now
	if sync {
		c.syncDue = 0
	}
	c.mu.Unlock()
	if sync {
		c.e.housework.syncStore()
	}
}
