package journal

import (
	"cmp"
	"slices"

	"github.com/claudefs/repl/wire"
)

// damage is what the journal remembers of one place that does not hold. Only its
// holes change, under the journal's lock.
type damage struct {
	Damage
	seg      *segment
	end      int64      // behind the bytes that do not hold
	last     UnitNumber // the last unit in them
	readable bool       // the unit's headers hold; the reader reads around what is bad
	hides    bool       // batches that nobody knows of may be lost
	// remembered: not found in any file, but a head says that a log is suspect; it
	// takes no bytes, and only marks where a repair is read.
	remembered bool
	holes      []*hole
}

func (d *damage) compare(other *damage) int {
	return cmp.Or(cmp.Compare(d.Offset, other.Offset), cmp.Compare(d.end, other.end))
}

// same says whether both are the same bytes, judged the same way.
func (d *damage) same(other *damage) bool {
	return d.Offset == other.Offset && d.end == other.end && d.readable == other.readable
}

// overlaps says whether both are of the same place.
func (d *damage) overlaps(other *damage) bool { return d.takes(other.Offset) || other.takes(d.Offset) }

// takes says whether a reader at off stands before the damage or in it.
func (d *damage) takes(off int64) bool { return d.Offset == off || d.Offset < off && off < d.end }

// passed says whether it lies behind a reader at off of a segment that it has
// begun to read.
func (d *damage) passed(off int64) bool {
	return d.Offset < off && d.end <= off && off > d.seg.headBytes
}

// shows says whether it is worth telling: not if it took no byte and all that was
// missing there is repaired.
func (d *damage) shows() bool { return d.hides || d.end > d.Offset || !d.filled() }

// hole is what a damage took from one log, and the repair that fills it.
type hole struct {
	Hole
	damage *damage
	repair *repairFile
}

// contains says whether a batch lies in the hole.
func (h *hole) contains(b *wire.BatchHeader) bool { return h.Log == b.Log() && h.Contains(b.End()) }

// covers says whether a repair fills the hole or a part of it. A position does not say of
// which log it is: a hole without an end contains those of all others.
func (h *hole) covers(rf *repairFile) bool {
	to := rf.to.Position
	return h.Log == rf.log && h.repair == nil && h.TakesNext(rf.from.Position) && (to == h.To || h.TakesNext(to))
}

// addHole records that batches of log between two positions are gone. Holes
// that touch are one.
func (d *damage) addHole(log wire.LogID, from, to wire.Position) {
	if log.Shard == wire.ShardControl {
		return // nobody else has it
	}
	if from.Incarnation == to.Incarnation && from.Covers(to) {
		return // more was found than was known of
	}
	for _, h := range d.holes {
		if h.Log == log && h.To == from {
			h.To = to
			return
		}
	}
	d.holes = append(d.holes, &hole{Hole: Hole{log, from, to}, damage: d})
}

// fill puts a repair of a part of h in its place. What it leaves of the hole, before
// and behind, become holes of their own, which are returned.
func (h *hole) fill(rf *repairFile) (rest []*hole) {
	d := h.damage
	i := slices.Index(d.holes, h)
	if before := rf.from.Position; before != h.From {
		rest = append(rest, &hole{Hole: Hole{h.Log, h.From, before}, damage: d})
		d.holes = slices.Insert(d.holes, i, rest[0])
		h.From = before
		i++
	}
	if behind := rf.to.Position; behind != h.To {
		next := &hole{Hole: Hole{h.Log, behind, h.To}, damage: d}
		rest, d.holes = append(rest, next), slices.Insert(d.holes, i+1, next)
		h.To = behind
	}
	h.repair = rf
	return rest
}

// show puts a remembered damage that got a repair where readers meet it. The lock is
// held.
func (d *damage) show() {
	s := d.seg
	if !d.remembered || slices.Contains(s.damages, d) {
		return
	}
	s.damages = append(slices.Clone(s.damages), d)
	slices.SortStableFunc(s.damages, (*damage).compare)
	s.version++
}

// remembered stands for damages in segments that are gone.
func (o *Options) remembered(s *segment, off int64, unit UnitNumber) *damage {
	return &damage{seg: s, end: off, remembered: true, Damage: Damage{
		File: o.path(s.name), Offset: off, Unit: unit, Reason: "suspect since damage in an older segment"}}
}

// filled says whether repairs fill all that is known to be lost.
func (d *damage) filled() bool {
	return len(d.holes) > 0 && !slices.ContainsFunc(d.holes, func(h *hole) bool { return h.repair == nil })
}

// worse says whether a readable unit, read again, lacks more than its holes: it
// went on rotting.
func (d *damage) worse(u *verdict, v *verifier) bool {
	if !u.holds {
		return true
	}
	for i := range v.refs {
		h := &v.refs[i].Header
		if v.bad[i] && h.Kind != wire.BatchControl &&
			!slices.ContainsFunc(d.holes, func(x *hole) bool { return x.contains(h) }) {
			return true
		}
	}
	return false
}
