package stream

// Batches on their way to a peer:
//
//  1. read asks for the next ones, while the window takes any; readOn after a flush.
//  2. ReadDone passes them through the Sender; ship cuts frames of what the peer is missing.
//  3. Acked moves cursors and reads on; BatchRefused takes a log out.

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

const (
	readErrorMax    = 16        // errors of a reader in a row before its link is closed
	frameBatchesMax = 1<<16 - 1 // in one frame
)

// reader is what the session's reader of the own journal does.
type reader uint8

const (
	readerStopped reader = iota // nothing is asked for: no session, or the window is full
	readerReads                 // a read is under way
	readerAgain                 // so it is, and the end moved meanwhile
	readerAtEnd                 // it stands at the end
	readerSeeks                 // it is being placed again, in a live session
)

// busy says that a read is under way.
func (r reader) busy() bool { return r == readerReads || r == readerAgain || r == readerSeeks }

// reading is the session's reader.
//
//	reader == readerStopped while Phase is PhaseResume or PhaseSeek
type reading struct {
	reader    reader
	readErrs  int        // in a row
	readStamp wire.Stamp // first stamp of the batch that the reader passed last in this session
	backlog   int64      // bytes of the own journal that the reader has before it, if measured
	measured  bool
	again     bool // it is to be placed again, before a START that the peer is ready for now
}

// read asks for the next batches, if the window takes any.
func (o *Outbound) read() {
	t := o.own.t
	if o.Phase != PhaseLive || o.reader.busy() || o.Sender.Free() <= 0 ||
		o.Sender.Busy() && t.C.Chance(step.PointWindowOfOne) {
		return
	}
	if o.again {
		o.seekAgain()
		return
	}
	o.reader = readerReads
	t.E.Ops = append(t.E.Ops, step.Op{Kind: step.OpRead, Link: o.Link, Bytes: t.C.FrameBytesMax})
}

// seekAgain has the reader of a live session placed again: no read is under way.
func (o *Outbound) seekAgain() {
	o.followed()
	o.again, o.reader = false, readerSeeks
	o.seek(o.Sender.Sent)
}

// readOn wakes a reader that stood at the end. One that is just looking may
// find the end as it was before: it looks again.
func (o *Outbound) readOn() {
	switch o.reader {
	case readerReads:
		o.reader = readerAgain
	case readerAtEnd:
		o.reader = readerStopped // Where the window is full, the next ack reads on.
		o.read()
	}
}

// ReadDone ships what the peer is missing of what was read.
func (o *Outbound) ReadDone(in *step.ReadDone) {
	if o.Phase != PhaseLive || !o.reader.busy() || o.reader == readerSeeks {
		return
	}
	again := o.reader == readerAgain
	o.reader = readerStopped
	if in.Err != nil {
		o.readFailed(in.Err)
		return
	}
	o.readErrs, o.backlog, o.measured = 0, in.Backlog, true
	o.ship(in.Headers)
	if count := len(in.Headers); count > 0 {
		o.readStamp = in.Headers[count-1].FirstStamp // what follows may be stamped before its last
	} else if !again {
		o.reader = readerAtEnd
		return
	}
	o.read()
}

// readFailed reports damage. The reader stands behind it, so reading on is
// right: logs that miss a batch leave the session when their next one comes.
func (o *Outbound) readFailed(err error) {
	t := o.own.t
	t.Tell(&event.OwnUnreadable{Place: event.Place{Peer: o.Site}, Site: t.C.Site, Err: err})
	o.readErrs++
	if o.readErrs >= readErrorMax {
		o.own.heart.Refuse(o.Link, wire.RefuseInternal, o.own.unreadable(err))
		return
	}
	o.read()
}

// ship puts the batches that the peer is missing into frames.
func (o *Outbound) ship(headers []wire.BatchHeader) {
	t := o.own.t
	lo := t.E.Mark()
	size := 0
	for i := range headers {
		h := &headers[i]
		if !o.own.holds(h.Log()) || h.Kind == wire.BatchControl {
			continue
		}
		last := o.own.count(h.Shard, h.End())
		first := last - wire.Seq(h.Count) + 1
		if last >= wire.Seq(h.Count) {
			o.durable.Passed(h.Shard, first, last, h.FirstStamp)
			o.applied.Passed(h.Shard, first, last, h.FirstStamp)
		}
		if !o.leads(h) {
			continue
		}
		unproven := o.Sender.Unproven(h.Shard)
		ship, why := o.Sender.Pass(h)
		if why != nil {
			o.outOfSession(h.Shard, why)
			continue
		}
		if unproven && !o.Sender.Unproven(h.Shard) {
			o.proved(h.Shard)
		}
		if !ship {
			continue
		}
		count := t.E.Mark() - lo
		if count > 0 && (size+h.Bytes() > t.C.FrameBytesMax || count == frameBatchesMax ||
			t.C.Chance(step.PointBatchAFrame)) {
			o.shipFrame(lo)
			lo, size, count = t.E.Mark(), 0, 0
		}
		if count == 0 {
			o.Sender.Open()
		}
		o.Sender.Add(h)
		o.entries += int64(h.Count)
		t.E.Pick(i)
		size += h.Bytes()
	}
	if t.E.Mark() > lo {
		o.shipFrame(lo)
	}
}

// shipFrame sends the batches whose indexes begin at lo.
func (o *Outbound) shipFrame(lo int) {
	t := o.own.t
	batches := t.E.Picked(lo)
	number, size := o.Sender.Close(t.Now.Mono)
	o.frames++
	o.bytes += size
	t.E.Ops = append(t.E.Ops, step.Op{
		Kind: step.OpShip, Link: o.Link, Batches: batches,
		Envelope: wire.Envelope{
			Kind: wire.FrameBatches, BatchCount: uint16(len(batches)),
			WireBytes: uint32(size), PlainBytes: uint32(size),
			Session: o.Session, Number: number,
		},
	})
}

// Acked moves cursors.
func (o *Outbound) Acked(a *wire.Ack) error {
	now := o.own.t.Now.Mono
	if a.Level == wire.LevelReceived {
		ends, err := o.Sender.Received(a.Number)
		for i := range ends {
			if o.Sender.In(ends[i].Shard) {
				o.progress(wire.LevelReceived, ends[i].Shard, ends[i].Position)
			}
		}
		return err
	}
	if err := o.Sender.Durable(a.Number); err != nil {
		return err
	}
	used := o.Sender.Used()
	for {
		ends, ok := o.Sender.Next(now)
		if !ok {
			break
		}
		for i := range ends {
			if o.Sender.In(ends[i].Shard) || plant.AckOverRefusal {
				o.Confirm(ends[i].Shard, ends[i].Position)
			}
		}
	}
	o.pace.Confirmed(now, used-o.Sender.Used())
	o.Ready()
	if o.reader != readerAtEnd {
		o.read()
	}
	return nil
}

// observe counts an entry that became durable at since, 0 = not known, and is confirmed now.
func (o *Outbound) observe(level wire.AckLevel, since time.Duration) {
	o.acks.Observe(level, o.own.t.Now.Mono, since)
}

// BatchRefused takes a log out of frame acks. Where the peer holds another
// history, the log stops here too.
func (o *Outbound) BatchRefused(r *wire.BatchRefusal) error {
	if !o.own.holds(r.Log) {
		return fmt.Errorf("refusal of log %s, which is not ours: %w", r.Log, wire.ErrProtocol)
	}
	why := &step.Stop{Code: r.Code, Text: r.Text}
	if r.Code == wire.RefuseChain || r.Code == wire.RefuseUnknownIncarnation {
		o.Diverged(r.Log.Shard, why)
	} else {
		o.TakeOut(r.Log.Shard, why)
	}
	return nil
}
