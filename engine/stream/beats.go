package stream

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// heartbeatsKept are those whose sending times are remembered; older echoes prove nothing.
const heartbeatsKept = 64

// Heartbeats are those of a session that we dialed. The peer echoes each, and so proves
// what is known of it as of when that one left.
type Heartbeats struct {
	of     *Outbound
	number uint64 // of the newest
	at     time.Duration
	left   [heartbeatsKept]time.Duration // when each was sent
}

// Due is when the next one leaves.
func (b *Heartbeats) Due() time.Duration {
	if b.of.Phase < PhaseResume {
		return step.Never
	}
	return b.at
}

// Tick sends one, if that is due.
func (b *Heartbeats) Tick() {
	if b.of.own.t.Now.Mono >= b.Due() {
		b.send()
	}
}

// send sends a heartbeat and remembers when.
func (b *Heartbeats) send() {
	o, w := b.of, b.of.own
	now := w.t.Now
	b.number++
	b.left[b.number%heartbeatsKept] = now.Mono
	b.at = now.Mono + w.t.C.HeartbeatEvery
	w.beat = wire.Heartbeat{Clock: uint64(now.Wall.UnixMicro()), LastStamp: w.grown.last, Number: b.number}
	w.ext = w.ext[:0]
	if stopped := len(o.stops); stopped > 0 {
		w.ext = w.ext.AppendStopped(uint32(stopped))
	}
	w.t.E.SendWith(o.Link, o.Session, &w.beat, w.ext)
}

// Echoed takes the answer to a heartbeat.
func (o *Outbound) Echoed(e *wire.HeartbeatEcho) error {
	b, now := &o.Beats, o.own.t.Now.Mono
	if e.Number == 0 || e.Number > b.number {
		return fmt.Errorf("echo of heartbeat %d, sent up to %d: %w", e.Number, b.number, wire.ErrProtocol)
	}
	if b.number-e.Number >= heartbeatsKept {
		return nil
	}
	left := b.left[e.Number%heartbeatsKept]
	o.rtt = max(now-left, time.Microsecond)
	if o.Phase >= PhaseSeek {
		o.proven, o.fresh = max(o.proven, left), true
		o.dials = 0 // only now: a peer that welcomes and then falls is not dialed in a tight loop
	}
	if o.Learner && o.holdsAll() {
		o.full()
	}
	return nil
}
