package journal

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// A START above the first epoch says where older logs of its shard end, for as long as anybody
// may ask, which is longer than its batch is kept. So heads have what STARTs said beside the
// tails:
//
//	START durable ─▶ kept ─▶ in every later head ─▶ read back from any of them,
//	                  ▲                             and from the batches behind it
//	                  └── its own batch, until its segment goes

// StartFixedBytes is what a START takes in a head before its rows, which follow as in its batch.
const StartFixedBytes = 8 + 16 + 8 + 40

// starts are what a journal keeps of STARTs.
type starts struct {
	kept    map[wire.Shard][]wire.Start // of each, rising by epoch
	arrived []wire.Start                // the same, in the order in which they were added
	bytes   int                         // in a head
}

// compareStarts orders by shard, then epoch.
func compareStarts(s, o *wire.Start) int {
	if s.Log.Shard != o.Log.Shard {
		return int(int64(s.Log.Shard) - int64(o.Log.Shard))
	}
	switch {
	case s.Epoch < o.Epoch:
		return -1
	case s.Epoch > o.Epoch:
		return 1
	}
	return 0
}

// startSize is how many bytes a START takes in a head.
func startSize(s *wire.Start) int { return StartFixedBytes + wire.StartBodyBytes(len(s.Rows)) }

// add keeps a START. One that is known stays as it is: an epoch has one in each shard, and a
// second one is refused by who judges it.
func (k *starts) add(s wire.Start) {
	of := k.kept[s.Log.Shard]
	i, found := slices.BinarySearchFunc(of, s, func(a, b wire.Start) int { return compareStarts(&a, &b) })
	if !found {
		if k.kept == nil {
			k.kept = make(map[wire.Shard][]wire.Start)
		}
		k.kept[s.Log.Shard] = slices.Insert(of, i, s)
		k.arrived = append(k.arrived, s)
		k.bytes += startSize(&s)
	}
}

// fold keeps a batch if it is a START above the first epoch, whose log ended at before. Its body
// was checked by who received or wrote it; one that does not hold is kept by another copy.
func (k *starts) fold(b *wire.BatchRef, before wire.Position) {
	if !b.Header.OpensEpoch() {
		return
	}
	if s, err := wire.StartOf(b); err == nil {
		s.Before = before
		k.add(s)
	}
}

// of returns those of a shard, rising by epoch; shared.
func (k *starts) of(shard wire.Shard) []wire.Start { return k.kept[shard] }

// sorted returns a copy of all, by shard, then epoch.
func (k *starts) sorted() []wire.Start {
	all := slices.Clone(k.arrived)
	slices.SortFunc(all, func(a, b wire.Start) int { return compareStarts(&a, &b) })
	return all
}

// cameBefore says whether a log was in one incarnation before it was in another one.
func (k *starts) cameBefore(log wire.LogID, older, younger wire.Incarnation) bool {
	of := k.of(log.Shard)
	for range of { // each step goes to an older one
		i := slices.IndexFunc(of, func(s wire.Start) bool { return s.Log == log && s.Incarnation == younger })
		if i < 0 {
			return false
		}
		if younger = of[i].Before.Incarnation; younger == older {
			return true
		}
	}
	return false
}

// Starts returns what this journal keeps of STARTs above the first epoch whose batches are or
// were durable here, sorted by shard, then epoch.
func (j *Journal) Starts() []wire.Start {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.starts.sorted()
}

// StartCount is how many STARTs are kept; it only grows. A START counts before its batch can be
// read.
func (j *Journal) StartCount() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.starts.arrived)
}

// StartsBeyond returns those that are kept beyond the first n, in the order in which they came.
func (j *Journal) StartsBeyond(n int) []wire.Start {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.starts.arrived[min(n, len(j.starts.arrived)):])
}

// StartsOf returns those of Starts that batches with these headers opened, in their order; nil
// if there are none, which is told from the headers alone.
func (j *Journal) StartsOf(headers []wire.BatchHeader) (opened []wire.Start) {
	for i := range headers {
		h := &headers[i]
		if !h.OpensEpoch() {
			continue
		}
		j.mu.Lock()
		for _, s := range j.starts.of(h.Shard) {
			if s.Log == h.Log() && s.Incarnation == h.Incarnation {
				opened = append(opened, s)
			}
		}
		j.mu.Unlock()
	}
	return opened
}

// EpochOf is the epoch of an incarnation of a log that this journal holds: that of its START,
// or the first.
func (j *Journal) EpochOf(log wire.LogID, in wire.Incarnation) wire.Epoch {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.starts.of(log.Shard) {
		if s.Log == log && s.Incarnation == in {
			return s.Epoch
		}
	}
	return wire.FirstEpoch
}

// roomForStart says whether a START fits in a head beside those that are kept, those that are
// staged, and the control state, with which they share the room. The lock is held.
func (j *Journal) roomForStart(h *wire.BatchHeader) error {
	size, limit := StartFixedBytes+int(h.BodyBytes), j.o.headShareMax()
	taken := j.starts.bytes + j.startsStaged
	if j.o.Kind == Own {
		taken += j.control.bytes() + j.controlStaged()
	}
	if int64(taken+size) > limit {
		return fmt.Errorf("log %s: START of epoch %d: the head of a segment of %d bytes has room for %d bytes "+
			"of STARTs and control state, %d are taken: larger segments have more: %w",
			h.Log(), h.Epoch, j.o.SegmentBytes, limit, taken, wire.ErrLimit)
	}
	j.startsStaged += size
	return nil
}

// follows says whether a START comes behind what it says of its own log, which ends at staged:
// what was to be staged before it may have failed. The lock is held.
func (j *Journal) follows(b *wire.BatchRef, staged wire.Position) error {
	s, err := wire.StartOf(b)
	if err != nil {
		return err
	}
	if staged.Seq == 0 {
		return nil
	}
	for i := range s.Rows {
		row := &s.Rows[i]
		if row.Log != s.Log || j.ended(s.Log, row.End.Incarnation, staged).Covers(row.End) {
			continue
		}
		return fmt.Errorf("log %s: START of epoch %d names its end %s, the tail is %s: %w",
			s.Log, s.Epoch, row.End, staged, ErrOrder)
	}
	return nil
}

// ended is where a log ends in an incarnation, if it is in it now, at staged, or was before.
func (j *Journal) ended(log wire.LogID, in wire.Incarnation, staged wire.Position) wire.Position {
	if staged.Incarnation == in {
		return staged
	}
	for _, s := range j.starts.of(log.Shard) {
		if s.Log == log && s.Before.Incarnation == in {
			return s.Before
		}
	}
	return wire.Position{}
}

// controlStaged is by how much what is staged makes the control state grow, at most. The lock
// is held.
func (j *Journal) controlStaged() (grows int) {
	for _, u := range j.pending {
		grows += u.grows
	}
	for _, f := range j.flights {
		grows += f.unit.grows
	}
	return grows
}

// encode appends what is kept to a head.
func (k *starts) encode(b []byte) []byte {
	if plant.StartsUnkept {
		return b
	}
	le := binary.LittleEndian
	all := k.sorted()
	for i := range all {
		s := &all[i]
		b = le.AppendUint32(b, uint32(s.Log.Site))
		b = le.AppendUint32(b, uint32(s.Log.Shard))
		b = append(b, s.Incarnation[:]...)
		b = le.AppendUint64(b, uint64(s.Epoch))
		b = append(b, s.Before.Incarnation[:]...)
		b = append(b, s.Before.Chain[:]...)
		b = le.AppendUint64(b, uint64(s.Before.Seq))
		b, _ = wire.AppendStart(b, s.Rows) // decoded from a body
	}
	return b
}

// decodeStarts reads what encode wrote.
func decodeStarts(b []byte) (k starts, err error) {
	le := binary.LittleEndian
	for len(b) > 0 {
		if len(b) < StartFixedBytes+2 {
			return k, fmt.Errorf("head: START in %d bytes: %w", len(b), wire.ErrProtocol)
		}
		s := wire.Start{
			Log:         wire.LogID{Site: wire.SiteID(le.Uint32(b)), Shard: wire.Shard(le.Uint32(b[4:]))},
			Incarnation: wire.Incarnation(b[8:24]), Epoch: wire.Epoch(le.Uint64(b[24:])),
		}
		s.Before = wire.Position{
			Incarnation: wire.Incarnation(b[32:48]), Chain: wire.Chain(b[48:64]), Seq: wire.Seq(le.Uint64(b[64:])),
		}
		b = b[StartFixedBytes:]
		n := wire.StartBodyBytes(int(le.Uint16(b)))
		if n > len(b) {
			return k, fmt.Errorf("head: START of log %s: rows of %d bytes in %d: %w",
				s.Log, n, len(b), wire.ErrProtocol)
		}
		if s.Rows, err = wire.DecodeStart(b[:n], nil); err != nil {
			return k, fmt.Errorf("head: START of log %s: %w", s.Log, err)
		}
		if l := len(k.arrived); s.Epoch <= wire.FirstEpoch || l > 0 && compareStarts(&k.arrived[l-1], &s) >= 0 {
			return k, fmt.Errorf("head: START of log %s, epoch %d: out of order: %w", s.Log, s.Epoch, wire.ErrProtocol)
		}
		k.add(s)
		b = b[n:]
	}
	return k, nil
}
