package writer

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// Reservation is the place of one entry whose payload the caller writes where it
// lies. It ends with Commit or Abort, once; then Payload must not be touched any
// more. It may go from goroutine to goroutine, one at a time.
type Reservation struct {
	Payload []byte // in the batch itself; its content is unspecified

	w     *Writer
	shard wire.Shard
	token uint64
}

// Reserve places e as the next entry of its shard's log, with room for
// payloadBytes; e.Payload is empty. Until Commit or Abort the shard takes no
// other entry (ErrReserved), and a Flush leaves its open batch out. Errors are
// those of Append.
func (w *Writer) Reserve(shard wire.Shard, e *wire.Entry, payloadBytes int) (Reservation, error) {
	if err := wire.CheckEntry(e); err != nil {
		return Reservation{}, err
	}
	switch {
	case len(e.Payload) != 0:
		return Reservation{}, fmt.Errorf("entry to reserve has a payload of %d bytes already: %w",
			len(e.Payload), wire.ErrProtocol)
	case payloadBytes < 0 || payloadBytes > wire.EntryPayloadBytesMax:
		return Reservation{}, fmt.Errorf("entry: payload of %d bytes, limit %d: %w",
			payloadBytes, wire.EntryPayloadBytesMax, wire.ErrLimit)
	case int64(shard) >= int64(len(w.logs)):
		return Reservation{}, fmt.Errorf("shard %d of %d: %w", shard, len(w.logs), wire.ErrLimit)
	}
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	p, payload, err := w.place(l, shard, e, payloadBytes, 0)
	if err != nil {
		return Reservation{}, err
	}
	l.placed = p
	l.reserved = true
	l.token++
	return Reservation{Payload: payload, w: w, shard: shard, token: l.token}, nil
}

// Turn returns what is closed when the shard's reservation ends; nil if there is
// none.
func (w *Writer) Turn(shard wire.Shard) <-chan struct{} {
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.reserved {
		return nil
	}
	if l.turn == nil {
		l.turn = make(chan struct{})
	}
	return l.turn
}

// Commit gives the entry its place in the log. After a failed Flush it returns
// that error, and the entry is dropped.
func (r *Reservation) Commit() (wire.Ref, error) {
	w := r.w
	l := r.end()
	defer l.mu.Unlock()
	if failure := w.failure.Load(); failure != nil {
		w.takeBack(l, r.shard)
		return wire.Ref{}, *failure
	}
	ref := w.commit(l, r.shard, l.placed)
	w.openHeld(l)
	return ref, nil
}

// Abort gives the place up: nothing of the entry was done.
func (r *Reservation) Abort() {
	w := r.w
	l := r.end()
	defer l.mu.Unlock()
	w.takeBack(l, r.shard)
	w.openHeld(l)
}

// end lets the shard take other entries. It returns with l.mu held. A
// reservation that has ended is the caller's mistake, and so is a copy of it.
func (r *Reservation) end() *shardLog {
	if r.w == nil {
		panic("writer: a reservation that was never made, or has ended, is used")
	}
	l := &r.w.logs[r.shard]
	l.mu.Lock()
	if !l.reserved || l.token != r.token {
		l.mu.Unlock()
		panic(fmt.Sprintf("writer: a reservation of shard %d is used after its end", r.shard))
	}
	l.reserved = false
	if l.turn != nil {
		close(l.turn)
		l.turn = nil
	}
	r.Payload, r.w = nil, nil
	return l
}

// takeBack removes the placed entry, and its batch if it is the only one there.
// A START batch that it brought stays. l.mu is held.
func (w *Writer) takeBack(l *shardLog, shard wire.Shard) {
	l.bytes = l.bytes[:l.placed.at]
	if l.placed.at == wire.BatchHeaderBytes || w.failure.Load() != nil { // nobody flushes it any more
		l.take().Release()
	}
	if l.open != nil || l.first != nil {
		w.mark(l, shard)
	}
}
