package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// examine finds out what damage that a reader has met took from a segment of a
// running journal, by the recovery's own replay of it:
//
//	table of tails ─▶ the segment's units, read from its file ─▶ table of tails
//	where it begins                                              behind it, or those now
//
// The tables are those in memory, so nothing becomes suspect. version is what the
// reader knows of the segment's damages; changed: there is more to know now. The
// reader pins the segment. Nothing is read under the journal's lock.
func (j *Journal) examine(s *segment, version int) (changed bool, err error) {
	found, changed, err := j.find(s, version)
	if len(found) > 0 && j.o.Damaged != nil {
		j.o.Damaged(found)
	}
	return changed, err
}

func (j *Journal) find(s *segment, version int) (found []Damage, changed bool, err error) {
	j.mend.Lock()
	defer j.mend.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil, false, ErrClosed
	}
	if s.version != version {
		j.mu.Unlock()
		return nil, true, nil // another reader was here meanwhile
	}
	copied := *s
	copied.damages = nil
	behind := j.tailsBehind(s)
	j.mu.Unlock()

	r := newRecovery(&j.o)
	r.running = true
	defer r.close()
	if err := r.examine(&copied, behind); err != nil {
		return nil, false, err
	}
	j.mu.Lock()
	found, junk := j.learn(s, r.damages)
	j.mu.Unlock()
	for _, name := range junk {
		_ = j.o.FS.Remove(j.o.path(name)) // else the next Open does
	}
	return found, len(found) > 0, nil
}

// tailsBehind is the table of tails where a segment ends. The lock is held.
func (j *Journal) tailsBehind(s *segment) []headLog {
	if i := slices.Index(j.segs, s) + 1; i < len(j.segs) {
		return j.segs[i].tails
	}
	return tableOf(j.logs)
}

// examine replays one segment between two tables. What it finds is in r.damages.
func (r *recovery) examine(s *segment, behind []headLog) error {
	if err := r.look(s.name); err != nil {
		return err
	}
	r.enterTable(s, s.tails, nil)
	h, err := readHead(&r.w)
	if err == nil {
		err = r.checkHead(h, s.number)
	}
	switch {
	case errors.Is(err, wire.ErrCorrupt), errors.Is(err, wire.ErrProtocol):
		d := &damage{seg: s, Damage: Damage{File: r.o.path(s.name), Reason: err.Error()}}
		if s.tailsKnown || s.bare {
			r.add(d)
		} else {
			r.hide(d)
		}
		r.trust(s.bare && !s.tailsKnown)
	case err != nil:
		return fmt.Errorf("%s: %w", r.o.path(s.name), err)
	}
	end, last := s.end, s.last
	if err := r.replaySegment(&segmentFile{seg: s}, last, last); err != nil {
		return err
	}
	r.enterTable(s, behind, &Damage{File: r.o.path(s.name), Offset: end, Unit: last})
	return nil
}

// learn takes over what was found in a segment: damages in place of the old ones,
// but holes that were known stay what they are. It returns what is new, and the
// repairs that fit in no hole any more. The lock is held.
func (j *Journal) learn(s *segment, found []*damage) (fresh []Damage, junk []string) {
	known := map[Hole]*hole{}
	for _, d := range s.damages {
		for _, h := range d.holes {
			known[h.Hole] = h
			if h.repair != nil {
				refill(found, h.repair)
			}
		}
	}
	for _, d := range found {
		isNew := func(h *hole) bool { return known[h.Hole] == nil }
		if !slices.ContainsFunc(s.damages, d.same) || slices.ContainsFunc(d.holes, isNew) {
			fresh = append(fresh, d.Damage)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	for _, d := range found {
		d.seg = s
		d.hides = slices.ContainsFunc(s.damages, func(o *damage) bool { return o.hides && o.overlaps(d) })
		for i, h := range d.holes {
			at := h.Hole
			if old := known[at]; old != nil {
				d.holes[i], old.damage = old, d
				delete(known, at)
				continue
			}
			j.holes = append(j.holes, h)
		}
	}
	for _, h := range known {
		if name := j.outdate(h, found); name != "" {
			junk = append(junk, name)
		}
	}
	j.replaceDamages(s, found)
	return fresh, junk
}

// refill puts a repair where it belongs in what was found again.
func refill(found []*damage, rf *repairFile) {
	for _, d := range found {
		for _, h := range d.holes {
			if h.covers(rf) {
				h.fill(rf)
				return
			}
		}
	}
}

// outdate gives up a hole that is a part of others now, or none; a log's unknown end
// moves to the damage that is in its place. It returns the name of a repair that
// fills nothing any more. The lock is held.
func (j *Journal) outdate(h *hole, found []*damage) (repair string) {
	if h.Open() {
		i := slices.IndexFunc(found, h.damage.overlaps)
		if i >= 0 {
			h.damage = found[i]
			found[i].holes = append(found[i].holes, h)
		}
		return ""
	}
	h.damage = nil
	j.holes = slices.DeleteFunc(j.holes, func(o *hole) bool { return o == h })
	if h.repair != nil {
		repair, h.repair = h.repair.name, nil
	}
	return repair
}

// replaceDamages puts what was found into the segment's list, beside what no replay
// of its units finds. The next unit begins a segment, whose head proves the tails
// and the control state that the journal knows: the next Open finds the same holes.
// The lock is held.
func (j *Journal) replaceDamages(s *segment, found []*damage) {
	for _, d := range s.damages {
		d.holes = slices.DeleteFunc(slices.Clone(d.holes), func(h *hole) bool { return h.damage != d })
		again := slices.ContainsFunc(found, d.same)
		if len(d.holes) > 0 || d.end <= d.Offset && !again {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, (*damage).compare)
	s.damages = found
	s.version++
	newest := j.segs[len(j.segs)-1]
	j.renew = j.renew || newest.last >= newest.first
}

// distrust gives up a repair that went bad, so that its hole is fetched again.
func (j *Journal) distrust(h *hole, rf *repairFile, why error) {
	if j.giveUp(h, rf) && j.o.Damaged != nil {
		j.o.Damaged([]Damage{{File: j.o.path(rf.name), Reason: why.Error()}})
	}
}

func (j *Journal) giveUp(h *hole, rf *repairFile) bool {
	j.mend.Lock()
	defer j.mend.Unlock()
	j.mu.Lock()
	bad := h.repair == rf
	if bad {
		h.repair = nil
	}
	j.mu.Unlock()
	if bad {
		_ = j.o.FS.Remove(j.o.path(rf.name)) // else the next Open does
	}
	return bad
}
