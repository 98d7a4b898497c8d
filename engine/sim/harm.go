package sim

import (
	"errors"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// harm is what was done to durable batches of a disk. The last good copy of a batch
// is never struck: what no site has, no system gives back.
type harm struct {
	batches map[wire.Chain]wire.BatchHeader // that do not hold, until a repair is durable
	// mended are those that a repair replaced. Where the hole ends is proved by what lies
	// behind it: with that the repair goes, too.
	mended map[wire.Chain]bool
	// doubt is when a young unit was last struck, 0 = never: an opening may take it for
	// a torn tail and cut it, with what was flushed behind it. Till then the disk's
	// copies are not counted upon.
	doubt time.Duration
	// strayed is when a write last went astray. The mark in it, that what lies before
	// it was durable, went with it: so an opening may cut that, too, until a later
	// batch is flushed. An idle journal closes once only.
	strayed time.Duration
	// since is when the oldest batch became durable that was struck since the last
	// opening, if the disk is flipped: only what is younger can lie behind damage.
	since time.Duration
	// unproven was true of the process that died: damage left tails that nothing
	// proves, and a log with such a tail gives nothing back.
	unproven bool
}

// Where flips strike besides batches.
const (
	flipBeforeBytes = 160
	flipHeadBytes   = 1024
)

// strayAlign is where misdirected writes land: media err by whole blocks.
const strayAlign = 4 << 10

// flipsMax is how many places one strike hits at most.
const flipsMax = 4

// flip changes a bit each of some batches in a row that are durable: in the body, or
// in headers of the unit; in the mirror also in the head of the file. The control
// state, which is in the own journal's heads and some units, has no other copy.
func (d *disk) flip(f *plan.Item, from []extent) {
	if len(from) == 0 {
		return
	}
	draw := f.Stream()
	at := draw.IntN(len(from))
	if draw.OneIn(3) {
		at = len(from) - 1 - draw.IntN(min(len(from), flipsMax)) // the newest
	}
	n := 1
	if draw.OneIn(3) {
		n += draw.IntN(flipsMax)
	}
	for _, x := range slices.Clone(from[at:min(at+n, len(from))]) {
		d.flipIn(f, x, draw)
	}
}

// flipIn strikes at a batch, if it can be had from elsewhere.
func (d *disk) flipIn(f *plan.Item, x extent, draw plan.Stream) {
	if state := d.file(x.file); len(state.pending) > 0 || len(state.crashed) > 0 || !d.intact(x.file, x) {
		return
	}
	lo, hi := x.off, x.end()
	if f.Kind == plan.LatentFlip {
		if lo -= flipBeforeBytes; draw.OneIn(8) {
			lo, hi = 0, flipHeadBytes
		}
	} else if x.alone && draw.OneIn(2) {
		lo = x.unit
	} else if lo += wire.BatchHeaderBytes; lo == hi {
		return
	}
	bit := draw.Uint64() % uint64((hi-lo)*8)
	lo += int64(bit / 8)
	struck := d.at(x.file, lo, lo+1)
	if lo < flipHeadBytes {
		struck = d.at(x.file, 0, 1<<62) // the tails of logs may be lost with it
	}
	if d.expendable(struck) && d.provable(struck[0].file) && d.flipBit(x.file, lo, uint8(1)<<(bit%8)) == nil {
		d.harmed(struck)
		d.w.fault(f.Kind)
	}
}

func (d *disk) flipBit(name string, at int64, bit uint8) error {
	file, err := d.mem.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var b [1]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= bit
	if err := file.WriteAt([][]byte{b[:]}, at); err != nil {
		return err
	}
	return file.Sync()
}

// at returns the batches that can not be read where [lo, hi) of a file does not
// hold: one whose body alone is hit, or all in a unit. Of a repair nothing is trusted.
func (d *disk) at(file string, lo, hi int64) []extent {
	var all, struck []extent
	for _, list := range [2][]extent{d.extents, d.ownExtents} {
		for _, x := range list {
			if x.file == file {
				all = append(all, x)
			}
		}
	}
	if strings.HasPrefix(path.Base(file), "repair-") {
		return all
	}
	units := map[int64]bool{}
	for i := range all {
		x := &all[i]
		switch {
		case x.off+wire.BatchHeaderBytes <= lo && hi <= x.end():
			return all[i : i+1]
		case x.unit < hi && lo < (x.end()+strayAlign-1)/strayAlign*strayAlign:
			units[x.unit] = true
		}
	}
	for _, x := range all {
		if units[x.unit] {
			struck = append(struck, x)
		}
	}
	return struck
}

// harmed notes what was struck.
func (d *disk) harmed(struck []extent) {
	for i := range struck {
		h := &struck[i].header
		d.harm.batches[h.Chain] = *h
		at, _ := d.w.check.durableAt(d.site, h)
		if !d.marked(at, d.w.now) {
			d.harm.doubt = d.w.now
		}
		d.flippedFrom(at)
	}
}

// flippedFrom notes damage of what became durable at a moment.
func (d *disk) flippedFrom(at time.Duration) {
	if !d.flipped || at < d.harm.since {
		d.harm.since = at
	}
	d.flipped = true
}

// mayLack says whether damage can be why an opening ends a log before a batch: it was
// struck, now or once, or something was that lies before it.
func (d *disk) mayLack(x batchEnd) bool {
	_, struck := d.harm.batches[x.chain]
	return d.flipped && (struck || d.harm.mended[x.chain] || x.at >= d.harm.since)
}

// marked says whether what became durable at a moment was below a mark at another one.
func (d *disk) marked(at, now time.Duration) bool {
	return at >= d.harm.strayed && d.w.copyOf(d.site).ran(at, now) >= markedAfter
}

// remarked: a batch was flushed, whose unit has a mark over what was durable long before.
func (d *disk) remarked() {
	if d.w.copyOf(d.site).ran(d.harm.strayed, d.w.now) >= markedAfter {
		d.harm.strayed = 0
	}
}

// expendable says whether other disks have all batches of struck, and, where an
// opening may cut what is struck like a torn tail, everything behind it.
func (d *disk) expendable(struck []extent) bool {
	c, youngest := d.w.check, time.Duration(-1)
	for i := range struck {
		h := &struck[i].header
		at, there := c.durableAt(d.site, h)
		if !there || !c.elsewhere(d.site, h.Log(), h.Incarnation, h.LastSeq()) {
			return false
		}
		if !d.marked(at, d.w.now) && (youngest < 0 || at < youngest) {
			youngest = at
		}
	}
	if len(struck) == 0 || youngest < 0 {
		return len(struck) > 0
	}
	for which, book := range c.ledgers[d.site] {
		if inMirror := path.Dir(struck[0].file) == mirrorDir; inMirror != (node.Journal(which) == node.Mirror) {
			continue
		}
		for log, l := range book {
			for _, end := range slices.Backward(l.ends) {
				if end.at < youngest {
					break
				}
				if !c.elsewhere(d.site, log, l.incarnation, end.seq) {
					return false
				}
			}
		}
	}
	return true
}

// counted says whether the disk's copies are counted upon.
func (d *disk) counted() bool {
	s := d.w.copyOf(d.site)
	return d.harm.doubt == 0 || s.p != nil && s.ran(d.harm.doubt, d.w.now) > markedAfter
}

// provable says whether other sites have all that a mirror ends with: damage may leave
// its tails unproven, and who could prove them is not to wait for them itself.
func (d *disk) provable(file string) bool {
	if path.Dir(file) != mirrorDir {
		return true
	}
	c := d.w.check
	for log, l := range c.ledgers[d.site][node.Mirror] {
		if end := l.tail(); end.seq != 0 && !c.elsewhere(d.site, log, l.incarnation, end.seq) {
			return false
		}
	}
	return true
}

// unproven says whether damage leaves, or may leave at the next opening, tails of the
// mirror that nothing proves.
func (s *site) unproven() bool {
	if s.p == nil || s.disk.flipped {
		return s.disk.flipped || s.disk.harm.unproven
	}
	return slices.ContainsFunc(s.p.mirror.j.Holes(), func(h journal.Hole) bool { return h.To.Seq == 0 })
}

// durableAt returns since when a site's medium has a batch.
func (c *checker) durableAt(site int, h *wire.BatchHeader) (time.Duration, bool) {
	l := c.ledgers[site][c.journalOf(site, h.Log())][h.Log()]
	if _, found := l.find(h.Incarnation, h.LastSeq()); !found {
		return 0, false
	}
	i, _ := slices.BinarySearchFunc(l.ends, h.LastSeq(), batchEnd.reaches)
	return l.ends[i].at, true
}

// journalOf is the journal in which a site has a log.
func (c *checker) journalOf(site int, log wire.LogID) node.Journal {
	if log.Site == c.w.copyOf(site).id {
		return node.Own
	}
	return node.Mirror
}

// elsewhere says whether another site has a good copy of the batch that ends at seq.
func (c *checker) elsewhere(site int, log wire.LogID, incarnation wire.Incarnation, seq wire.Seq) bool {
	for _, s := range c.w.sites {
		if s.index == site || s.lost || !s.disk.counted() {
			continue
		}
		chain, there := c.ledgers[s.index][c.journalOf(s.index, log)][log].hasBytes(incarnation, seq)
		if _, bad := s.disk.harm.batches[chain]; there && !bad {
			return true
		}
	}
	return false
}

// spares says whether an old image of a site, in its place, leaves a good copy of
// every batch that other disks have lost.
func (c *checker) spares(s *site, i *image) bool {
	for _, other := range c.w.sites {
		if other == s {
			continue
		}
		if !other.disk.counted() || other.unproven() {
			return false
		}
		for chain, h := range other.disk.harm.batches {
			_, bad := i.harm.batches[chain]
			_, there := i.books[c.journalOf(s.index, h.Log())][h.Log()].find(h.Incarnation, h.LastSeq())
			if (bad || !there) && !c.elsewhere(s.index, h.Log(), h.Incarnation, h.LastSeq()) {
				return false
			}
		}
	}
	return true
}

// stray says whether a write gets lost, and where it lands instead; below 0 it
// lands nowhere. The system is told that all is well, and the ledger believes it
// until the journal is opened the next time: so only the mirror is struck, and only
// with what others have.
func (d *disk) stray(f *diskFile, found []extent, off int64) (to int64, lost bool) {
	if len(d.astray) == 0 || path.Dir(f.name) != mirrorDir || off == 0 || !d.provable(f.name) {
		return 0, false
	}
	size := int64(strayAlign)
	for i := range found {
		h := &found[i].header
		if !d.w.check.elsewhere(d.site, h.Log(), h.Incarnation, h.LastSeq()) {
			return 0, false
		}
		size = max(size, found[i].end()-off)
	}
	fault := d.astray[0]
	d.astray = d.astray[1:]
	to = -1
	// Behind the head and before its place: over what lies there.
	if blocks := (off - flipHeadBytes) / strayAlign; fault.Kind == plan.MisdirectedWrite && blocks >= 2 {
		to = (1 + int64(fault.Draw%uint64(blocks-1))) * strayAlign
		struck := d.at(f.name, to, to+size)
		if len(struck) > 0 && !d.expendable(struck) {
			to = -1
		} else {
			d.harmed(struck)
		}
	}
	for i := range found {
		found[i].gone = true
	}
	d.flippedFrom(d.w.now)
	d.harm.strayed = d.w.now
	d.w.fault(fault.Kind)
	return to, true
}

// fuseMax is after how many changes of the medium, at most, a process dies that is
// opening its journals.
const fuseMax = 24

var errBlown = errors.New("killed while opening")

// burn counts one change of the medium towards the end of who is opening it. Then
// nothing changes any more.
func (d *disk) burn() error {
	switch {
	case d.blown:
		return errBlown
	case d.fuse == 0:
		return nil
	}
	d.fuse--
	d.blown = d.fuse == 0
	if d.blown {
		return errBlown
	}
	return nil
}

// defuse ends the opening, and says whether the process died of it.
func (d *disk) defuse() bool {
	blown := d.blown
	d.fuse, d.blown = 0, false
	return blown
}

// cutWhileOpening ends a process that did not come up, as the item says, and starts
// the next one.
func (s *site) cutWhileOpening() {
	f := s.opening
	s.opening = nil
	s.w.step(s.index, "cut while opening", uint64(s.starts), 0)
	s.w.fault(f.Kind)
	s.w.mark(f.Kind.String() + " while opening")
	if f.Kind == plan.Kill && !s.disk.lied() {
		s.disk.processKilled()
	} else {
		s.disk.crash(f.Stream())
	}
	s.w.after(f.Span, s.start)
}

// struckOnce counts a spell that makes calls fail, at the first of them.
func (d *disk) struckOnce(kind plan.Kind) {
	if !d.paid[kind] {
		d.paid[kind] = true
		d.w.fault(kind)
	}
}

// ReadAt fails in spells of readErrors.
func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.unreadable > 0 && len(p) > 0 {
		f.d.struckOnce(plan.ReadErrors)
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}
