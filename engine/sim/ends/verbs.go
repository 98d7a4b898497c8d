package ends

import "slices"

// open writes START in front of the first batch, or admits a shard that has no history here.
func (m *model) open(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if !m.mayOpen(w, x) || s.admitted {
		return false
	}
	if !w.history(s) {
		s.admitted = true
		return true
	}
	if !m.ready(w, x) {
		return false
	}
	m.start(w, x)
	return true
}

func (m *model) mayOpen(w *State, x int) bool {
	s := &w.sites[x]
	return s.epoch > 0 && s.epoch.holder() == x && s.verified && !s.learner && w.ownLog(x) < 0 &&
		w.nLogs < maxLogs && !w.past(s, &m.at[x]) && !s.torn
}

func (m *model) start(w *State, x int) {
	s := &w.sites[x]
	for l := range w.logs[:w.nLogs] {
		if w.logs[l].epoch == s.epoch && m.copies(w, l) {
			m.bad = "one epoch has two incarnations"
		}
	}
	n := w.nLogs
	w.nLogs++
	w.logs[n] = incarnation{epoch: s.epoch, rows: m.rows(w, s, &m.at[x])}
	gone := m.discarded(w, s)
	s.tail[n], s.low[n], s.discard = 1, 0, 0
	s.known |= 1 << n
	for l := range w.logs[:n] { // what this opening reached stays; the rest of what was promised is its tail
		reached := s.tail[l]
		for y := range m.Sites {
			if s.filled>>y&1 == 1 {
				reached = max(reached, w.sites[y].tail[l])
			}
		}
		if gone>>l&1 == 1 {
			reached = 0
		}
		w.logs[l].safe = min(w.logs[l].safe, reached)
	}
	s.filled = 0
}

func (m *model) copies(w *State, l int) bool {
	for y := range m.Sites {
		if w.sites[y].tail[l] > 0 || int(w.sites[y].staged>>2) == l && w.sites[y].staged > 0 {
			return true
		}
	}
	return false
}

// openOnPage: a peer's page shows a log of a shard where the writer has none.
func (m *model) openOnPage(w *State, x, y, _ int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if x == y || !m.has(StartOnPage) || !s.admitted || !m.mayOpen(w, x) || o.epoch != s.epoch || !w.history(o) {
		return false
	}
	m.start(w, x)
	return true
}

func (m *model) append(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if s.epoch == 0 || s.epoch.holder() != x || !s.verified || s.learner || s.torn || w.past(s, &m.at[x]) {
		return false
	}
	l := w.ownLog(x)
	if l < 0 {
		if !s.admitted || !m.mayOpen(w, x) {
			return false
		}
		m.start(w, x)
		return true
	}
	if int(s.tail[l]) > m.Appends {
		return false
	}
	s.tail[l]++
	for y := range m.Sites {
		o := &w.sites[y]
		if y != x && (o.tail[l] >= s.tail[l] || o.staged == uint8(l)<<2|s.tail[l]) {
			m.bad = "one seq was written twice"
		}
	}
	return true
}

// promote: the operator names x; y is the highest epoch that x heard for it.
func (m *model) promote(w *State, x, y, _ int) bool {
	s := &w.sites[x]
	heard := w.sites[y].epoch
	for z := range y {
		if w.sites[z].epoch == heard {
			return false // the same again
		}
	}
	if w.promotions == 0 || !m.promotable(w, x) || heard < s.epoch || s.epoch.holder() == x {
		return false
	}
	w.promotions--
	m.grant(w, x, heard)
	return true
}

func (m *model) promotable(w *State, x int) bool {
	s := &w.sites[x]
	return s.epoch > 0 && !s.learner && !s.torn && !s.spooled && !w.past(s, &m.at[x]) && w.nLogs > 0
}

func (m *model) grant(w *State, x int, heard Epoch) {
	m.land(w, x)
	if m.amended(ClockEpoch) {
		for l := range w.logs[:w.nLogs] {
			if w.logs[l].epoch.holder() == x {
				heard = max(heard, w.logs[l].epoch)
			}
		}
	}
	m.setEpoch(w, x, next(heard, x))
	w.sites[x].verified = true
}

// giveUp: the last copy of a log is gone, says the operator; x opens without it.
func (m *model) giveUp(w *State, x, _, l int) bool {
	s := &w.sites[x]
	if w.discards == 0 || w.promotions == 0 || !m.promotable(w, x) || s.epoch.holder() == x || s.count(l) > 0 ||
		s.tail[l] == 0 {
		return false
	}
	given := *s
	given.discard = uint8(l) + 1
	e := m.ends(w, &given)
	for k := range w.logs[:w.nLogs] {
		gone := e.Bound[k] && e.End[k] == 0
		if m.amended(DiscardAbove) && (gone && s.count(k) > 0 || !gone && s.low[k] > s.count(k)) {
			return false // what would survive instead is no longer held here, or the Store has what would go
		}
	}
	w.discards--
	w.promotions--
	m.grant(w, x, s.epoch)
	s.discard = uint8(l) + 1
	w.logs[l].safe = 0
	return true
}

// accept: the operator tells a fresh disk the epoch of the one peer that answers.
func (m *model) accept(w *State, x, y, _ int) bool {
	s := &w.sites[x]
	if w.accepts == 0 || s.epoch > 0 || w.sites[y].epoch == 0 {
		return false
	}
	w.accepts--
	m.setEpoch(w, x, w.sites[y].epoch)
	return true
}

// restart is a kill and the next opening: what was not durable is gone.
func (m *model) restart(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if w.crashes == 0 || s.epoch == 0 {
		return false
	}
	w.crashes--
	m.forget(s)
	if !m.has(Persist) {
		s.epoch = next(0, 0)
		for l := range w.logs[:w.nLogs] {
			if s.tail[l] > 0 {
				s.epoch = max(s.epoch, w.logs[l].epoch)
			}
		}
	}
	return true
}

func (m *model) forget(s *site) {
	s.verified, s.admitted, s.staged, s.filled = false, false, 0, 0
	s.walked = !m.has(SkipClosed)
}

func (m *model) wipe(w *State, x, _, _ int) bool {
	if w.wipes == 0 || w.sites[x].epoch == 0 || !w.history(&w.sites[x]) {
		return false
	}
	w.wipes--
	w.sites[x] = site{learner: true}
	m.lost(w, x)
	return true
}

func (m *model) takeImage(w *State, x, _, _ int) bool {
	if w.images == 0 || w.imageOf > 0 || w.sites[x].epoch == 0 {
		return false
	}
	w.images--
	w.imageOf, w.image = uint8(x)+1, w.sites[x]
	m.forget(&w.image)
	return true
}

func (m *model) restore(w *State, x, _, _ int) bool {
	if int(w.imageOf) != x+1 || w.sites[x].tail == w.image.tail && w.sites[x].epoch == w.image.epoch {
		return false
	}
	w.sites[x], w.imageOf, w.image = w.image, 0, site{}
	m.lost(w, x)
	return true
}

// lost lowers what was promised to what is still held anywhere.
func (m *model) lost(w *State, disk int) {
	for x := range m.Sites {
		w.sites[x].filled &^= 1 << disk
	}
	for l := range w.logs[:w.nLogs] {
		most := uint8(0)
		for x := range m.Sites {
			most = max(most, w.sites[x].tail[l])
		}
		w.logs[l].safe = min(w.logs[l].safe, most)
	}
}

func equalStores(a, b *site) bool { return slices.Equal(a.applied[:a.n], b.applied[:b.n]) }
