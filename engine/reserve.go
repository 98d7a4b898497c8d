package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/store/writer"
)

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
		place, err := e.writer.Reserve(shard, entry, payloadBytes)
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
	case errors.Is(err, writer.ErrFull):
		return e.awaitRoom(ctx)
	case errors.Is(err, writer.ErrReserved):
		return e.awaitTurn(ctx, shard)
	}
	return e.writerError(err)
}

// awaitTurn waits for the end of a reservation.
func (e *Engine) awaitTurn(ctx context.Context, shard Shard) error {
	turn := e.writer.Turn(shard)
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
