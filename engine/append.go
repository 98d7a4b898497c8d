package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// Append puts e into this site's log of shard and waits for level. e's slices
// are the caller's again when it returns. An error, or a crash before it
// returns, leaves the outcome unknown, except ErrStandby, ErrOptions, ErrBusy,
// ErrUnavailable and wire.ErrLimit, which mean that nothing was done. With a
// Ref other than zero, the entry has its place, and Wait may be asked again.
func (e *Engine) Append(ctx context.Context, shard Shard, entry *Entry, level Level) (Ref, error) {
	if e.o.AppendAt {
		return Ref{}, fmt.Errorf("Append on an engine with Options.AppendAt: use AppendAt: %w", ErrOptions)
	}
	ref, err := e.put(ctx, shard, entry, 0, level)
	if err != nil {
		return Ref{}, err
	}
	return ref, e.await(ctx, ref, level)
}

// AppendAt is Append for a host with its own log (Raft): index is the host's
// index of the entry and rises. An index at or below LastIndex is not appended
// again: held is true, and ref names the last durable entry. One that is behind
// an entry still under way is ErrOptions.
func (e *Engine) AppendAt(ctx context.Context, shard Shard, index uint64, entry *Entry, level Level) (
	ref Ref, held bool, err error) {
	switch {
	case !e.o.AppendAt:
		return Ref{}, false, fmt.Errorf("AppendAt on an engine without Options.AppendAt: %w", ErrOptions)
	case index == 0:
		return Ref{}, false, fmt.Errorf("index 0: the host's indexes begin at 1: %w", ErrOptions)
	}
	if ref, held = e.held(shard, index); held {
		return ref, true, e.Wait(ctx, ref, level)
	}
	ref, err = e.put(ctx, shard, entry, index, level)
	if errors.Is(err, writer.ErrIndex) {
		// Restored entries may have arrived while it waited for its admission.
		if ref, held = e.held(shard, index); held {
			return ref, true, e.Wait(ctx, ref, level)
		}
		return Ref{}, false, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err != nil {
		return Ref{}, false, err
	}
	return ref, false, e.await(ctx, ref, level)
}

// held says whether the log has index durably, and where it ends.
func (e *Engine) held(shard Shard, index uint64) (Ref, bool) {
	if int64(shard) >= int64(len(e.shards)) {
		return Ref{}, false
	}
	s := &e.shards[shard]
	if index > s.index.Load() {
		return Ref{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Ref{Log: wire.LogID{Site: e.id.site, Shard: shard}, Incarnation: s.incarnation, Seq: s.local}, true
}

// LastIndex is the last durable host index of the shard; the host keeps its own
// log from there on. Before the shard is admitted it may still rise by what a
// peer gives back.
func (e *Engine) LastIndex(shard Shard) uint64 {
	if int64(shard) >= int64(len(e.shards)) {
		return 0
	}
	return e.shards[shard].index.Load()
}

// put gives the entry its place in the log, as soon as the log takes appends
// and the writer has room.
func (e *Engine) put(ctx context.Context, shard Shard, entry *Entry, index uint64, level Level) (Ref, error) {
	if err := e.mayPut(ctx, shard, level); err != nil {
		return Ref{}, err
	}
	for {
		if e.closing.Load() {
			return Ref{}, ErrClosed
		}
		ref, err := e.writer.Load().Append(shard, entry, index)
		if err == nil {
			e.own.wakeUp()
			return ref, nil
		}
		if err := e.mayRetry(ctx, shard, err); err != nil {
			return Ref{}, err
		}
	}
}

// mayPut checks the arguments of an append and waits for its shard's admission.
func (e *Engine) mayPut(ctx context.Context, shard Shard, level Level) error {
	if int64(shard) >= int64(len(e.shards)) {
		return fmt.Errorf("shard %d: the engine has %d: %w", shard, len(e.shards), ErrOptions)
	}
	if err := e.checkLevel(level); err != nil {
		return err
	}
	return e.admit(ctx, shard)
}

// admit waits until the shard's log takes appends.
func (e *Engine) admit(ctx context.Context, shard Shard) error {
	s := &e.shards[shard]
	if s.open.Load() {
		return nil
	}
	s.mu.Lock()
	err := e.wait(ctx, s, wire.Incarnation{}, 0, Level{kind: levelAdmission})
	admission, refusal := s.admission, s.refusal
	s.mu.Unlock() // before the heart is asked why
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("shard %d waits: %s: %w: %w", shard, e.withheld(), ErrUnavailable, err)
		}
		return err
	}
	switch admission {
	case node.AdmitStandby:
		return fmt.Errorf("%w: site %q does, this is %q", ErrStandby, e.epoch.Load().name, e.id.siteName)
	case node.AdmitRefused:
		return fmt.Errorf("shard %d: %w: %w", shard, ErrStopped, refusal)
	}
	return nil
}

// awaitRoom waits for the next flush, unless there is room again already.
func (e *Engine) awaitRoom(ctx context.Context) error {
	flushed := e.room.next() // Before looking again, so that no flush is missed.
	e.own.wakeUp()
	if e.writer.Load().PendingBytes() < e.o.PendingBytesMax/2 {
		return nil
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d bytes wait to be flushed: %w: %w", e.writer.Load().PendingBytes(), ErrBusy, ctx.Err())
	case <-e.done:
		return e.stoppedError()
	}
}

// writerError puts a failed Stage into the class of the engine's own errors.
func (e *Engine) writerError(err error) error {
	if errors.Is(err, journal.ErrPoisoned) || errors.Is(err, journal.ErrClosed) || errors.Is(err, journal.ErrOrder) {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	switch {
	case errors.Is(err, writer.ErrClosed) && !e.closing.Load():
		return fmt.Errorf("nothing was done: %w", ErrFenced)
	case errors.Is(err, writer.ErrClosed):
		return ErrClosed
	}
	return err
}

// Reservation is the place of one entry in a shard's log, with room for its
// payload where the journal writes it from. Fill Payload, then Commit, or Abort:
// one of them, once, else the shard takes no other entry and Close waits. It is
// one goroutine's at a time.
type Reservation struct {
	Payload []byte // its content is unspecified; not to be touched after Commit or Abort

	e     *Engine
	place writer.Reservation
}

// Reserve is Append for a host that can write its payload straight into the
// batch: entry.Payload is empty, and payloadBytes says how long it will be. Until
// Commit or Abort the tail of the shard is the caller's: other appends to the
// shard wait, and what was appended before it in the same batch is not flushed;
// other shards go on. Errors are those of Append, and mean that nothing was done.
func (e *Engine) Reserve(ctx context.Context, shard Shard, entry *Entry, payloadBytes int) (Reservation, error) {
	if e.o.AppendAt {
		return Reservation{}, fmt.Errorf("Reserve on an engine with Options.AppendAt: use AppendAt: %w", ErrOptions)
	}
	if err := e.mayPut(ctx, shard, Async); err != nil {
		return Reservation{}, err
	}
	for {
		if e.closing.Load() {
			return Reservation{}, ErrClosed
		}
		place, err := e.writer.Load().Reserve(shard, entry, payloadBytes)
		if err == nil {
			return Reservation{Payload: place.Payload, e: e, place: place}, nil
		}
		if err := e.mayRetry(ctx, shard, err); err != nil {
			return Reservation{}, err
		}
	}
}

// Commit appends the entry and waits for level, as Append does. A level that this
// engine can never reach is ErrOptions, and the reservation is aborted.
func (r *Reservation) Commit(ctx context.Context, level Level) (Ref, error) {
	e := r.e
	if e != nil {
		if err := e.checkLevel(level); err != nil {
			r.Abort()
			return Ref{}, err
		}
	}
	ref, err := r.place.Commit() // Asserts that r is in use.
	r.Payload = nil
	if err != nil {
		e.own.wakeUp()
		return Ref{}, e.writerError(err)
	}
	e.own.wakeUp()
	return ref, e.await(ctx, ref, level)
}

// Abort gives the place up; nothing was done.
func (r *Reservation) Abort() {
	r.place.Abort() // Asserts that r is in use.
	r.Payload = nil
	r.e.own.wakeUp()
	r.e.room.flushed()
}

// mayRetry waits for what keeps the writer from taking an entry; an error is
// final.
func (e *Engine) mayRetry(ctx context.Context, shard Shard, err error) error {
	switch {
	case errors.Is(err, writer.ErrPaused), errors.Is(err, writer.ErrClosed) && !e.closing.Load(): // an epoch ends
		return e.admit(ctx, shard)
	case errors.Is(err, writer.ErrFull):
		return e.awaitRoom(ctx)
	case errors.Is(err, writer.ErrReserved):
		return e.awaitTurn(ctx, shard)
	}
	return e.writerError(err)
}

// awaitTurn waits for the end of a reservation.
func (e *Engine) awaitTurn(ctx context.Context, shard Shard) error {
	turn := e.writer.Load().Turn(shard)
	if turn == nil {
		return nil
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shard %d: its tail is reserved: %w: %w", shard, ErrBusy, ctx.Err())
	case <-e.done:
		return e.stoppedError()
	}
}
