package journal

import (
	"slices"

	"github.com/claudefs/repl/wire"
)

// damage is what the journal remembers of one place that does not hold.
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

// hole is what a damage took from one log: the batches behind from, up to to.
type hole struct {
	log    wire.LogID
	from   wire.Position
	to     wire.Position // zero: nothing proves where it ends (a suspect log)
	damage *damage
	repair *repairFile
}

func (h *hole) open() bool { return h.to == (wire.Position{}) }

// addHole records that batches of log between two positions are gone. Holes
// that touch are one.
func (d *damage) addHole(log wire.LogID, from, to wire.Position) {
	if log.Shard == wire.ShardControl {
		return // nobody else has it
	}
	for _, h := range d.holes {
		if h.log == log && h.to == from {
			h.to = to
			return
		}
	}
	d.holes = append(d.holes, &hole{log: log, from: from, to: to, damage: d})
}

// filled says whether repairs fill all that is known to be lost.
func (d *damage) filled() bool {
	return len(d.holes) > 0 && !slices.ContainsFunc(d.holes, func(h *hole) bool { return h.repair == nil })
}

// worse says whether a readable unit, read again, lacks more than its holes: it
// went on rotting since Open.
func (d *damage) worse(u *verdict, v *verifier) bool {
	if !u.holds {
		return true
	}
	for i := range v.refs {
		h := &v.refs[i].Header
		if v.bad[i] && h.Kind != wire.BatchControl && !slices.ContainsFunc(d.holes, func(x *hole) bool {
			return x.log == h.Log() && x.from.Seq < h.FirstSeq && h.LastSeq() <= x.to.Seq
		}) {
			return true
		}
	}
	return false
}
