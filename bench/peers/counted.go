package main

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// counted judges the goals that count instead of racing: P12 to P14.
func (r *results) counted() (all []verdict) {
	none := &goal{name: "P12-allocations-per-entry", atMost: true, target: 0}
	for _, ours := range engines {
		if !r.ran("stream-256B") {
			break
		}
		v := verdict{goal: none, shards: shardsOf(ours)}
		each := r.of(pinned, "stream-256B", ours)
		n := medianOf(each, func(m *measure) float64 { return float64(m.Mallocs) / float64(m.Records) })
		switch {
		case n != n:
			v.void = r.missing(pinned, "stream-256B", ours, ours)
		default:
			// What is left of sessions, flushes and the clock is not per entry.
			v.ratio = float64(int(n*100+0.5)) / 100
		}
		all = append(all, v)
	}
	if r.ran(ringRow) {
		all = append(all, r.ringGoals()...)
	}
	if !r.everything {
		return all
	}
	one, err := overhead(1, 64<<10)
	all = append(all, wireVerdict("P13-overhead-one-64KiB-entry", one, 0.004, 0.0035, err))
	many, err := overhead(1000, 256)
	all = append(all, wireVerdict("P13-overhead-1000-entries-of-256B", many, 0.15, 0.10, err))
	return all
}

// ringGoals count the system calls of an engine that streams 64 KiB batches, links
// and journal together, for 10^6 bytes, and the wakes of its flushers.
func (r *results) ringGoals() (all []verdict) {
	perMB := func(of func(*measure) uint64) metric {
		return func(m *measure) float64 { return float64(of(m)) / (float64(m.Bytes) / 1e6) }
	}
	for _, c := range []struct {
		goal goal
		by   metric
	}{
		{goal{name: "P14-enters-per-MB-sender", atMost: true, target: 20, stretch: 6},
			perMB(func(m *measure) uint64 { return m.Ring.Enters })},
		{goal{name: "P14-enters-per-MB-receiver", atMost: true, target: 15, stretch: 6},
			perMB(func(m *measure) uint64 { return m.FarRing.Enters })},
		{goal{name: "P14-wakes-per-MB", atMost: true, target: 4},
			perMB(func(m *measure) uint64 { return max(m.Ring.Wakes, m.FarRing.Wakes) })},
	} {
		for _, ours := range engines {
			each := values(r.of(pinned, ringRow, ours), c.by)
			v := verdict{goal: &c.goal, shards: shardsOf(ours), ratio: median(each)}
			switch {
			case len(each) == 0:
				v.void = r.missing(pinned, ringRow, ours)
			case v.ratio == 0 && c.goal.target > 4:
				v.void = "no ring here"
			}
			all = append(all, v)
		}
	}
	return all
}

const ringRow = "stream-64KiB"

func wireVerdict(name string, share, target, stretch float64, err error) verdict {
	v := verdict{goal: &goal{name: name, atMost: true, target: target, stretch: stretch}, ratio: share}
	if err != nil {
		v.void = err.Error()
	}
	return v
}

// overhead is what a frame with one batch of such entries costs on a link beyond
// their keys and payloads, as a share of those; encoded, not calculated.
func overhead(count, payloadBytes int) (float64, error) {
	const keyBytes = 16
	e := wire.Entry{Op: 1, Keys: [][]byte{make([]byte, keyBytes)}, Payload: make([]byte, payloadBytes)}
	if err := wire.CheckEntry(&e); err != nil {
		return 0, err
	}
	stamp := wire.Stamp(1 << 12)
	b := make([]byte, wire.BatchHeaderBytes)
	for i := range count {
		b = wire.AppendEntry(b, stamp, stamp+wire.Stamp(i), &e)
	}
	h := wire.BatchHeader{
		Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: uint32(count),
		FirstSeq: 2, FirstStamp: stamp, LastStamp: stamp + wire.Stamp(count-1), Prev: wire.Chain{1},
	}
	wire.CloseBatch(b, &h)
	if err := wire.DecodeBatchHeader(b, &h); err != nil {
		return 0, fmt.Errorf("a batch of %d entries: %w", count, err)
	}
	frame := wire.AppendBatchesEnvelope(nil, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(b)), Session: 1, Number: 1,
	})
	data := count * (keyBytes + payloadBytes)
	return float64(len(frame)+len(b)-data) / float64(data), nil
}
