package ends

import "slices"

// apply takes the next entry of one log into the Store.
func (m *model) apply(w *State, x, _, l int) bool {
	s, e := &w.sites[x], &m.at[x]
	q := s.count(l) + 1
	if s.tail[l] < q || s.low[l] >= q || s.torn || s.spooled || w.past(s, e) {
		return false
	}
	again := !m.has(SkipClosed) && s.walked
	closed := w.logs[l].epoch < s.epoch
	own := w.logs[l].epoch.holder() == x && s.epoch.holder() != x
	switch {
	case e.Bound[l] && q > e.End[l] && !again,
		w.logs[l].epoch < w.storeEpoch(s) && !again,
		own && closed && !e.Bound[l] && m.has(HoldOwn),
		q == 1 && !m.standsAt(w, s, &w.logs[l]):
		return false
	}
	if e.Bound[l] && q > e.End[l] {
		m.bad = "an entry beyond its end was applied"
	}
	if own && closed && !e.Bound[l] {
		w.logs[l].late = q
	}
	s.applied[s.n] = uint8(l)<<2 | q
	s.n++
	return true
}

// standsAt: each row's cursor is there exactly, and no other is above zero.
func (m *model) standsAt(w *State, s *site, i *incarnation) bool {
	for writer, r := range i.rows {
		l, c := w.cursor(s, writer)
		if l+1 != int(r.log) || c != r.seq {
			return false
		}
	}
	return true
}

// save keeps the orphan list of one closed log equal to what lies beyond its end.
func (m *model) save(w *State, x, _, l int) bool {
	s, e := &w.sites[x], &m.at[x]
	if !e.Bound[l] || w.logs[l].epoch >= s.epoch {
		return false
	}
	want := uint8(0)
	if s.tail[l] > e.End[l] {
		want = e.End[l] + 1
	}
	switch {
	case want == s.file[l], !m.has(Rise) && s.file[l] > 0 && (want == 0 || want > s.file[l]):
		return false
	case want > 0 && s.low[l] >= want && (s.file[l] == 0 || s.file[l] > want):
		if w.logs[l].epoch.holder() == x && w.imageOf == 0 && m.Images+m.Wipes+m.Discards == 0 {
			m.bad = "batches that became orphans had been given back"
			return true
		}
		want = s.low[l] + 1 // what lost disks, or the operator, cost: the rest is kept
		if s.file[l] > 0 {
			want = s.file[l]
		}
		if want > s.tail[l] {
			want = 0
		}
		if want == s.file[l] {
			return false
		}
	}
	s.file[l] = want
	return true
}

// spoolView: the whole view of a site that stands at the ends is complete in a file.
func (m *model) spoolView(w *State, x, y, _ int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if x == y || s.epoch == 0 || s.epoch != o.epoch || s.spooled || o.torn || o.spooled || o.learner {
		return false
	}
	if !s.torn && !m.needs(w, x, y) || m.refuses(w, x, o.applied[:o.n]) ||
		w.past(o, &m.at[y]) {
		return false
	}
	if !m.has(Spool) && !s.torn { // pieces are applied as they come
		s.torn = true
		return true
	}
	s.spooled, s.spoolN, s.spool = true, o.n, o.applied
	return true
}

// replay: nobody stands at the ends, and the own journals hold all that survives: the view is empty.
func (m *model) replay(w *State, x, _, _ int) bool {
	s, e := &w.sites[x], &m.at[x]
	if s.spooled || !m.amended(EmptyView) || !s.torn && !w.past(s, e) || !m.has(Spool) {
		return false
	}
	for l := range w.logs[:w.nLogs] {
		if e.End[l] > 0 && (s.low[l] > 0 || s.tail[l] < e.End[l]) {
			return false
		}
	}
	for y := range m.Sites {
		o := &w.sites[y]
		source := !o.torn && !o.learner && !w.past(o, &m.at[y]) && !m.refuses(w, x, o.applied[:o.n])
		if o.epoch != s.epoch || y != x && (o.spooled || source) {
			return false
		}
	}
	s.spooled = true
	return true
}

// needs: the Store is past an end, or what it waits for is in nobody's journals.
func (m *model) needs(w *State, x, y int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if w.past(s, &m.at[x]) {
		return true
	}
	for l := range w.logs[:w.nLogs] {
		at, there := s.count(l), o.count(l)
		if there > at && (s.low[l] > at || o.low[l] > s.tail[l]) && there >= min(s.low[l], m.at[x].End[l]) {
			return true
		}
	}
	return false
}

// mend: checked against every end, torn, pieces, checked again, cursors.
func (m *model) mend(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	switch {
	case !s.spooled:
		return false
	case m.refuses(w, x, s.spool[:s.spoolN]):
		s.spooled = false
	case !s.torn:
		s.torn = true
		return true
	default:
		s.n, s.applied = s.spoolN, s.spool
		s.torn, s.spooled = false, false
		m.adopt(s)
	}
	s.spoolN, s.spool = 0, [maxApplied]uint8{}
	return true
}

// adopt sets the tails below the view to it: covered, but no source below.
func (m *model) adopt(s *site) {
	for _, a := range s.applied[:s.n] {
		l, q := a>>2, a&3
		if s.tail[l] < q {
			s.tail[l], s.low[l] = q, q
		}
		if m.has(AdoptRows) {
			s.known |= 1 << l
		}
	}
}

// join: a learner covers what the holder shows, and its Store is equal to its own journals' ends.
func (m *model) join(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if !s.learner || s.epoch == 0 || s.torn || s.spooled || w.past(s, &m.at[x]) {
		return false
	}
	holder := s.epoch.holder()
	for y := range m.Sites {
		o := &w.sites[y]
		if y == x || holder != x && y != holder {
			continue
		}
		if o.epoch != s.epoch {
			return false
		}
		for l := range w.logs[:w.nLogs] {
			if m.shown(w, y, l) > s.tail[l] && !(m.at[x].Bound[l] && m.at[x].End[l] <= s.tail[l]) {
				return false
			}
		}
		if holder != x && !slices.Equal(o.applied[:o.n], s.applied[:s.n]) {
			return false
		}
	}
	if holder == x && !m.ready(w, x) {
		return false
	}
	s.learner = false
	return true
}

// ready: the Store stands at every end that the site knows.
func (m *model) ready(w *State, x int) bool {
	s := &w.sites[x]
	rows := m.rows(w, s, &m.at[x])
	for writer, r := range rows {
		if l, c := w.cursor(s, writer); l+1 != int(r.log) || c != r.seq {
			return false
		}
	}
	return !s.torn && !s.spooled
}

// release gives back the batches of a closed log: everybody covers its end, the own Store too, and
// the orphans are saved.
func (m *model) release(w *State, x, _, l int) bool {
	s, e := &w.sites[x], &m.at[x]
	if w.releases == 0 || s.discard > 0 || !e.Bound[l] || w.logs[l].epoch >= s.epoch || s.low[l] == s.tail[l] ||
		s.count(l) < e.End[l] || s.torn {
		return false
	}
	own, held := w.logs[l].epoch.holder() == x, w.ownLog(x)
	if own && s.count(l) != e.End[l] || m.has(SaveFirst) && s.tail[l] > e.End[l] && s.file[l] != e.End[l]+1 {
		return false
	}
	for y := range m.Sites {
		o := &w.sites[y]
		if o.tail[l] < e.End[l] || m.amended(FloorBinds) && (held < 0 || o.known>>held&1 == 0) {
			return false
		}
	}
	w.releases--
	s.low[l] = s.tail[l]
	if !m.has(KeepRows) {
		s.known &^= 1 << l
	}
	return true
}
