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
		ref, err := e.writer.Append(shard, entry, index)
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
	err := e.wait(ctx, s, 0, Level{kind: levelAdmission})
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
		return fmt.Errorf("%w: site %q does, this is %q", ErrStandby, e.o.Primary, e.id.siteName)
	case node.AdmitRefused:
		return fmt.Errorf("shard %d: %w: %w", shard, ErrStopped, refusal)
	}
	return nil
}

// awaitRoom waits for the next flush, unless there is room again already.
func (e *Engine) awaitRoom(ctx context.Context) error {
	flushed := e.room.next() // Before looking again, so that no flush is missed.
	e.own.wakeUp()
	if e.writer.PendingBytes() < e.o.PendingBytesMax/2 {
		return nil
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d bytes wait to be flushed: %w: %w", e.writer.PendingBytes(), ErrBusy, ctx.Err())
	case <-e.done:
		return e.stoppedError()
	}
}

// writerError puts a failed Stage into the class of the engine's own errors.
func (e *Engine) writerError(err error) error {
	if errors.Is(err, journal.ErrPoisoned) || errors.Is(err, journal.ErrClosed) || errors.Is(err, journal.ErrOrder) {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	if errors.Is(err, writer.ErrClosed) {
		return ErrClosed
	}
	return err
}
