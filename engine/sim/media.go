package sim

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// What befalls a journal's directory and takes no batch: a bit of a segment's head, a
// lack of descriptors, a copy that nobody flushed.

// flipHead changes a bit in the head of a segment, if no other head of that journal is
// damaged: what it said is there twice.
func (d *disk) flipHead(f *plan.Item) {
	draw := f.Stream()
	dir := [2]string{ownDir, mirrorDir}[draw.IntN(2)]
	names := d.mem.Names(dir + "/segment-")
	if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return d.heads[name] }) {
		return
	}
	name := names[len(names)-1] // the newest, unless
	if draw.OneIn(2) {
		name = names[draw.IntN(len(names))]
	}
	if state := d.file(name); len(state.pending) > 0 || len(state.crashed) > 0 {
		return
	}
	bit := draw.IntN(flipHeadBytes * 8)
	if d.flipBit(name, int64(bit/8), uint8(1)<<(bit%8)) == nil {
		d.heads[name] = true
		d.w.fault(f.Kind)
	}
}

// struckHeads are the files of a journal with a bit flipped in their head.
func (d *disk) struckHeads(dir string) (names []string) {
	for _, name := range d.mem.Names(dir + "/segment-") {
		if d.heads[name] {
			names = append(names, name)
		}
	}
	return names
}

// headsTold: an opening must tell every head that does not hold (I9).
func (d *disk) headsTold(struck []string, found []journal.Damage) {
	for _, name := range struck {
		if !slices.ContainsFunc(found, func(x journal.Damage) bool { return x.File == name }) {
			d.w.fail("I9", "%s opened, and says nothing of a bit that flipped in the head of %s",
				siteNames[d.site], name)
		}
	}
}

// repaired notes what a repair put in place: until bytes are struck again, no opening may
// lack it.
func (d *disk) repaired(refs []wire.BatchRef) {
	for i := range refs {
		h := &refs[i].Header
		if _, bad := d.harm.batches[h.Chain]; !bad {
			d.inPlace[h.Chain] = *h
		}
	}
}

// repairsStay: what was repaired before is not a hole again (I1).
func (d *disk) repairsStay(holes []journal.Hole) {
	if d.flipped {
		clear(d.inPlace)
	}
	for _, hole := range holes {
		for _, h := range d.inPlace {
			if h.Log() == hole.Log && h.FirstSeq > hole.From.Seq && h.LastSeq() <= hole.To.Seq {
				d.w.fail("I1", "%s had log %s seq %d repaired, and lacks it again",
					siteNames[d.site], hole.Log, h.FirstSeq)
			}
		}
	}
}

// lacksFiles says whether there is no descriptor for another file.
func (d *disk) lacksFiles() error {
	if d.noFiles == 0 {
		return nil
	}
	d.struckOnce(plan.NoFiles)
	return syscall.EMFILE
}

// copyBack kills the process, and has the next one find a copy of the directories that
// nobody flushed.
func (s *site) copyBack(f *plan.Item) {
	if s.p == nil || s.disk.lied() {
		return
	}
	s.die(false, f.Span, f.Stream())
	s.disk.mem, s.disk.loose = s.disk.mem.Copy(), true
	s.w.fault(f.Kind)
}

// waits goes on after a segment that found no descriptor: the unit waits, and its flush
// is begun again.
func (f *flusher) waits(err error) bool {
	if !errors.Is(err, journal.ErrExhausted) {
		return false
	}
	f.p.site.w.mark("segment waited for descriptors")
	f.p.later(plan.PhaseAny, 20*time.Millisecond, f.kick)
	return true
}
