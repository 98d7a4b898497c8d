package sim

import (
	"errors"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// hostLog is the log of a host like Raft, in the worlds that have one: it outlives
// the processes, gives each entry a rising index, and feeds the engine again from
// wherever it believes after a crash. The engine never applies the primary's own
// entries then; what it holds already it must not take twice (I2).
type hostLog struct {
	l      *load
	shards []hostShard
}

type hostShard struct {
	ops  []int  // index i+1 is op ops[i]
	fed  int    // how many of them this process was given
	held uint64 // LastIndex, as the engine told it at admission
}

// hostBacklogMax is how many entries of a shard the host takes while the engine
// takes none.
const hostBacklogMax = 64

// hostAgain is how far behind what the engine has the host begins at most.
const hostAgain = 4

func newHostLog(l *load) *hostLog {
	if !l.w.plan.HostLog {
		return nil
	}
	return &hostLog{l: l, shards: make([]hostShard, l.w.plan.Shards)}
}

// add takes an op into the host's log, and feeds it.
func (h *hostLog) add(shard wire.Shard, n int) {
	h.shards[shard].ops = append(h.shards[shard].ops, n)
	h.feed(shard)
}

func (h *hostLog) full(shard wire.Shard) bool {
	s := &h.shards[shard]
	return len(s.ops)-s.fed >= hostBacklogMax
}

// admitted begins again a little behind what the engine says it holds.
func (h *hostLog) admitted(shard wire.Shard, lastIndex uint64) {
	s := &h.shards[shard]
	if lastIndex > uint64(len(s.ops)) {
		h.l.w.fail("I2", "shard %d: the engine holds index %d, the host gave it %d", shard, lastIndex, len(s.ops))
	}
	s.held = lastIndex
	s.fed = max(0, int(lastIndex)-h.l.w.writer().draw.IntN(hostAgain))
	h.feed(shard)
}

// feed gives the engine what it takes.
func (h *hostLog) feed(shard wire.Shard) {
	p := h.l.w.writer().p
	s := &h.shards[shard]
	for p != nil && !p.dead && !p.site.paused() && p.admitted[shard] && s.fed < len(s.ops) {
		n, index := s.ops[s.fed], uint64(s.fed)+1
		o := &h.l.ops[n]
		if index <= s.held {
			s.fed++
			h.l.w.mark("entry held by its index")
			h.l.w.check.ackedLocal(o)
			if !o.local {
				o.local = true
				h.l.acked++
			}
			continue
		}
		ref, err := p.writer.Append(shard, o.entry, index)
		switch {
		case errors.Is(err, writer.ErrFull):
			h.l.w.mark("writer full")
			return
		case err != nil:
			if p.own.j.Err() == nil {
				h.l.w.fail("world", "append of index %d to shard %d: %v", index, shard, err)
			}
			return
		}
		s.fed++
		o.ref = ref
		h.l.placed(p.site, n)
	}
}

// feedAll goes on where the writer was full, or the process stood still.
func (h *hostLog) feedAll() {
	for shard := range h.shards {
		h.feed(wire.Shard(shard))
	}
}

// waiting counts what the engine has not been given.
func (h *hostLog) waiting() (n int) {
	for i := range h.shards {
		n += len(h.shards[i].ops) - h.shards[i].fed
	}
	return n
}

// hostHas tells the heart that the host needs nothing of its own logs up to here:
// it applied them from its own log.
func (p *process) hostHas(cursors []wire.Cursor) {
	p.step(&node.Applied{Cursors: cursors}, "host applied", uint64(len(cursors)), 0)
	p.step(&node.StoreDurable{Cursors: cursors}, "host durable", uint64(len(cursors)), 0)
}

// hostApplied does so after a flush.
func (p *process) hostApplied(headers []wire.BatchHeader) {
	var moved []wire.Cursor
	for i := range headers {
		moved = append(moved, wire.Cursor{Log: headers[i].Log(), Position: headers[i].End()})
	}
	p.hostHas(apply.LastOfEach(moved))
}

// hosted says whether this process's own entries are the host's to apply.
func (p *process) hosted() bool { return p.site.w.plan.HostLog && p.writes() }

// ownTails is where the own logs end.
func ownTails(j *journal.Journal) (ends []wire.Cursor) {
	for _, end := range j.Tails() {
		ends = append(ends, wire.Cursor{Log: end.Log, Position: end.Position})
	}
	return ends
}
