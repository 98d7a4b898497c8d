package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// shardState is what appends and waits need to know of a shard's own log: its
// watermarks. They only rise, but for those of a peer that lost what it had, and
// whoever raises one wakes those it serves; so a waiter is woken once, and nobody
// else with it.
type shardState struct {
	open  atomic.Bool   // admission says that the log takes appends; to be read without mu
	index atomic.Uint64 // last durable host index; written under mu

	mu          sync.Mutex
	admission   node.Admission
	refusal     error            // why the log takes no appends, with AdmitRefused
	incarnation wire.Incarnation // may be behind the writer's
	local       wire.Seq
	applied     wire.Seq
	shown       wire.Position // what the own Store shows of the log, whichever incarnation that is of
	stopped     error         // why the own applier stopped
	paused      bool          // appends wait for a switchover
	fence       error         // what entries of fenced that reached no level wait in vain for
	fenced      wire.Incarnation
	peers       []peerMark // by slot; may be short
	first       *waiter
}

// peerMark is how far one peer has confirmed the log.
type peerMark struct{ durable, applied wire.Seq }

// waiter is one goroutine that waits for a shard. Waiters are pooled, so that
// waiting allocates nothing.
type waiter struct {
	next  *waiter
	of    wire.Incarnation // zero: of none
	seq   wire.Seq
	level Level
	ready chan struct{} // capacity 1
}

// newWaiter fills the engine's pool.
func newWaiter() any { return &waiter{ready: make(chan struct{}, 1)} }

// goesOn notes the incarnation that the log is in: watermarks of another one say nothing
// about its seqs.
func (s *shardState) goesOn(in wire.Incarnation) {
	if in == (wire.Incarnation{}) { // nothing is known of the log
		return
	}
	if s.incarnation != in && s.incarnation != (wire.Incarnation{}) {
		s.local, s.applied = 0, 0
		clear(s.peers)
	}
	s.incarnation = in
	s.applied = max(s.applied, s.shown.SeqIn(in))
}

// follows says whether watermarks of an incarnation count for a shard's log. The writer
// begins a log, and readers see it, before its first flush tells which one it is. s.mu is
// held.
func (e *Engine) follows(s *shardState, shard wire.Shard, in wire.Incarnation) bool {
	if s.incarnation != in && in != (wire.Incarnation{}) && e.writer.Load() != nil {
		if written, _ := e.writer.Load().Tail(shard); written == in {
			s.goesOn(in)
		}
	}
	return s.incarnation == in
}

// reached says whether seq of an incarnation is at level, or will never be.
func (s *shardState) reached(of wire.Incarnation, seq wire.Seq, level Level) (bool, error) {
	if is, err := s.at(of, seq, level); is || s.fence == nil || of != s.fenced || of == (wire.Incarnation{}) {
		return is, err
	}
	return true, s.fence
}

// at is reached, but for the end of an epoch.
func (s *shardState) at(of wire.Incarnation, seq wire.Seq, level Level) (bool, error) {
	if of != s.incarnation && of != (wire.Incarnation{}) {
		return true, fmt.Errorf("the log has incarnation %s, the entry was put into %s: %w",
			s.incarnation, of, ErrStopped)
	}
	switch level.kind {
	case levelAsync:
		return true, nil
	case levelLocal:
		return seq <= s.local, nil
	case levelDurable:
		return seq <= s.local && s.peersAt(seq, level) >= level.sites, nil
	case levelApplied:
		return seq <= s.local && s.peersAt(seq, level) >= level.sites, nil
	case levelHandover:
		return seq <= s.local && level.sites < len(s.peers) && seq <= s.peers[level.sites].applied, nil
	case levelAppliedHere:
		if seq > s.applied && s.stopped != nil {
			return true, fmt.Errorf("%w: %w", ErrStopped, s.stopped)
		}
		return seq <= s.applied, nil
	}
	return s.admission != node.AdmitWaiting && !s.paused, nil
}

// peersAt counts the peers that have confirmed seq at level.
func (s *shardState) peersAt(seq wire.Seq, level Level) int {
	count := 0
	for i := range s.peers {
		mark := s.peers[i].durable
		if level.kind == levelApplied {
			mark = s.peers[i].applied
		}
		if seq <= mark {
			count++
		}
	}
	return count
}

// wake tells every waiter that has what it waits for. s.mu is held.
func (s *shardState) wake() {
	s.wakeIf(func(w *waiter) bool {
		reached, _ := s.reached(w.of, w.seq, w.level)
		return reached
	})
}

// wakeIf tells every waiter that over is true of. s.mu is held.
func (s *shardState) wakeIf(over func(*waiter) bool) {
	for at := &s.first; *at != nil; {
		w := *at
		if !over(w) {
			at = &w.next
			continue
		}
		*at = w.next
		w.next = nil
		w.ready <- struct{}{}
	}
}

// wait returns when seq of an incarnation is at level, or why it will not be. s.mu is held, and is
// held again when wait returns.
func (e *Engine) wait(
	ctx context.Context, s *shardState, of wire.Incarnation, seq wire.Seq, level Level,
) error {
	if reached, err := s.reached(of, seq, level); reached {
		return err
	}
	w := e.waiters.Get().(*waiter)
	w.of, w.seq, w.level, w.next = of, seq, level, s.first
	s.first = w
	s.mu.Unlock()
	var ended error
	select {
	case <-w.ready:
	case <-ctx.Done():
		ended = ctx.Err()
	case <-e.done:
		ended = e.stoppedError()
	}
	s.mu.Lock()
	if ended != nil && !s.forget(w) {
		<-w.ready // It was woken at the same moment.
	}
	e.waiters.Put(w)
	if reached, err := s.reached(of, seq, level); reached {
		return err
	}
	if ended == nil { // woken: a peer lost the entry at the same moment, or was given up
		ended = e.checkLevel(level)
	}
	return ended
}

// forget takes a waiter off the list; false if it was woken already.
func (s *shardState) forget(w *waiter) bool {
	for at := &s.first; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			w.next = nil
			return true
		}
	}
	return false
}

// stoppedError is what calls return once the engine has stopped.
func (e *Engine) stoppedError() error {
	if err := e.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// Wait waits until ref is at level. A level that this engine can never reach is
// ErrOptions. ErrDurability and ErrClosed leave the outcome unknown.
func (e *Engine) Wait(ctx context.Context, ref Ref, level Level) error {
	if err := e.checkLevel(level); err != nil {
		return err
	}
	if ref.Log.Site != e.id.site || int64(ref.Log.Shard) >= int64(len(e.shards)) {
		return fmt.Errorf("log %s is not one of site %s: %w", ref.Log, e.id.siteName, ErrOptions)
	}
	if ref.Incarnation == (wire.Incarnation{}) && level.kind != levelAsync {
		return fmt.Errorf("log %s: the ref names no incarnation, so no entry: %w", ref.Log, ErrOptions)
	}
	if level.kind != levelAsync && e.orphans.Has(ref) {
		return fmt.Errorf("log %s, seq %d: not in epoch %s: %w", ref.Log, ref.Seq, e.epoch.Load().at, ErrOrphaned)
	}
	return e.await(ctx, ref, level)
}

// await is Wait for an entry of this site and a level that was checked.
func (e *Engine) await(ctx context.Context, ref Ref, level Level) error {
	if level.kind == levelAsync {
		return nil
	}
	s := &e.shards[ref.Log.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.follows(s, ref.Log.Shard, ref.Incarnation) {
		return fmt.Errorf("log %s has incarnation %s, the entry was put into %s: %w",
			ref.Log, s.incarnation, ref.Incarnation, ErrStopped)
	}
	return e.wait(ctx, s, ref.Incarnation, ref.Seq, level)
}

// checkLevel refuses what would wait without end.
func (e *Engine) checkLevel(level Level) error {
	switch {
	case level.kind == levelHandover:
	case level.sites < 0 || level.sites > len(e.routes()):
		return fmt.Errorf("level of %d other sites: site %s has %d peers: %w",
			level.sites, e.id.siteName, len(e.routes()), ErrOptions)
	case level.kind == levelAppliedHere && e.o.AppendAt:
		return fmt.Errorf("level AppliedHere: with AppendAt the host applies its own entries itself: %w", ErrOptions)
	}
	return nil
}

// ownDurable raises the local watermarks to what a flush made durable.
func (e *Engine) ownDurable(headers []wire.BatchHeader) {
	for i := range headers {
		h := &headers[i]
		if h.Site != e.id.site || int64(h.Shard) >= int64(len(e.shards)) {
			continue // The node's control batches.
		}
		s := &e.shards[h.Shard]
		s.mu.Lock()
		s.goesOn(h.Incarnation)
		s.local = h.LastSeq()
		s.index.Store(max(s.index.Load(), h.LastIndex))
		s.wake()
		s.mu.Unlock()
	}
}

// ownApplied raises the watermark of what the own Store shows.
func (e *Engine) ownApplied(log wire.LogID, position wire.Position) {
	s := &e.shards[log.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = position
	if e.follows(s, log.Shard, position.Incarnation) {
		s.applied = max(s.applied, position.Seq)
	}
	s.wake()
}

// ownStopped tells those who wait for the own Store that they wait in vain.
func (e *Engine) ownStopped(log wire.LogID, err error) {
	s := &e.shards[log.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = err
	s.wake()
}

// progress raises what a peer has confirmed.
func (e *Engine) progress(p *node.Progress) {
	r := e.routeTo(p.Peer)
	if r == nil || p.Log.Site != e.id.site || int64(p.Log.Shard) >= int64(len(e.shards)) {
		return
	}
	s := &e.shards[p.Log.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.peers) <= r.slot { // taken in since Open
		s.peers = append(s.peers, peerMark{})
	}
	mark := &s.peers[r.slot]
	if p.Lost { // later calls get the error; earlier answers were true
		*mark = peerMark{}
		return
	}
	if s.incarnation == (wire.Incarnation{}) { // an ack may arrive before the flush is reported
		s.incarnation = p.Position.Incarnation
	}
	if !e.follows(s, p.Log.Shard, p.Position.Incarnation) {
		return
	}
	switch p.Level {
	case wire.LevelReceived:
		if plant.DurableByReceived {
			mark.durable = max(mark.durable, p.Position.Seq)
		}
	case wire.LevelDurable:
		mark.durable = max(mark.durable, p.Position.Seq)
	case wire.LevelApplied:
		mark.applied = max(mark.applied, p.Position.Seq)
	}
	s.wake()
}

// roomWaiters are the appends that found the writer full. Each flush lets all of
// them try again.
type roomWaiters struct {
	mu    sync.Mutex
	flush chan struct{} // closed by the next flush; nil while nobody waits
}

// next returns what the next flush closes.
func (r *roomWaiters) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flush == nil {
		r.flush = make(chan struct{})
	}
	return r.flush
}

// flushed lets the waiting appends try again.
func (r *roomWaiters) flushed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flush != nil {
		close(r.flush)
		r.flush = nil
	}
}

// Ready waits until the shard's log takes appends and the Store shows every
// entry that the log has, those that a peer gave back included. A host that
// validates against its Store before it appends asks it for each shard after
// Open: what Open still redoes would contradict what was validated without it.
// Errors are those of Append.
func (e *Engine) Ready(ctx context.Context, shard Shard) error {
	if int64(shard) >= int64(len(e.shards)) {
		return fmt.Errorf("shard %d: the engine has %d: %w", shard, len(e.shards), ErrOptions)
	}
	if err := e.admit(ctx, shard); err != nil || e.o.AppendAt {
		return err
	}
	s := &e.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.wait(ctx, s, s.incarnation, s.local, AppliedHere)
}
