package ends

// A rule of the protocol, or something that happens to it: tried for each x, y, l that it reads.
// It changes w and says true, or leaves w alone.
type rule struct {
	name   string
	system bool // the sites do it by themselves; what is not is load, fault or operator
	y, l   bool // which arguments it reads
	try    func(m *model, w *State, x, y, l int) bool
}

// A model is a bound and what is computed once per state.
type model struct {
	Bound
	at  []Ends // of each site in the state under way
	bad string // what the step under way broke
}

func newModel(b Bound) *model { return &model{Bound: b, at: make([]Ends, b.Sites)} }

func (m *model) has(r Rule) bool { return m.Without&r == 0 }

func (m *model) amended(a Amendment) bool { return m.Literal&a == 0 }

func (m *model) first() *State {
	w := &State{
		promotions: uint8(m.Promotions), crashes: uint8(m.Crashes), wipes: uint8(m.Wipes), images: uint8(m.Images),
		releases: uint8(m.Releases), discards: uint8(m.Discards), accepts: uint8(m.Accepts),
	}
	for x := range m.Sites {
		w.sites[x] = site{epoch: next(0, 0), verified: x == 0, admitted: x == 0}
	}
	return w
}

// prepare computes what all rules of one state read.
func (m *model) prepare(w *State) {
	m.bad = ""
	for x := range m.Sites {
		m.at[x] = m.ends(w, &w.sites[x])
	}
}

var rules = []rule{
	{"raise", true, true, false, (*model).raise},
	{"hear-all", true, false, false, (*model).hearAll},
	{"verify", true, false, false, (*model).verify},
	{"flush", true, false, false, (*model).flush},
	{"push", true, true, false, (*model).push},
	{"pull", true, true, true, (*model).pull},
	{"page", true, true, false, (*model).takePage},
	{"apply", true, false, true, (*model).apply},
	{"save", true, false, true, (*model).save},
	{"spool", true, true, false, (*model).spoolView},
	{"replay", true, false, false, (*model).replay},
	{"mend", true, false, false, (*model).mend},
	{"join", true, false, false, (*model).join},
	{"filled", true, true, false, (*model).setFilled},
	{"open", true, false, false, (*model).open},
	{"open-page", true, true, false, (*model).openOnPage},
	{"append", false, false, false, (*model).append},
	{"promote", false, true, false, (*model).promote},
	{"discard", false, false, true, (*model).giveUp},
	{"accept", false, true, false, (*model).accept},
	{"restart", false, false, false, (*model).restart},
	{"wipe", false, false, false, (*model).wipe},
	{"image", false, false, false, (*model).takeImage},
	{"restore", false, false, false, (*model).restore},
	{"release", false, false, true, (*model).release},
}

// A Step is one rule with its arguments.
type Step struct{ Rule, X, Y, L uint8 }

// each calls yield with every step that is possible in w and the state behind it, until it says
// false. m.bad is what that step broke, if it did.
func (m *model) each(w *State, yield func(Step, *State) bool) {
	m.prepare(w)
	after := *w
	for r := range rules {
		rule := &rules[r]
		ys, ls := 1, 1
		if rule.y {
			ys = m.Sites
		}
		if rule.l {
			ls = int(w.nLogs)
		}
		for i := range m.Sites * ys * ls {
			x, y, l := i/(ys*ls), i/ls%ys, i%ls
			if !rule.try(m, &after, x, y, l) {
				continue
			}
			if !yield(Step{uint8(r), uint8(x), uint8(y), uint8(l)}, &after) {
				return
			}
			after, m.bad = *w, ""
		}
	}
}

// take carries out one step that each has named.
func (m *model) take(w *State, s Step) {
	m.prepare(w)
	rules[s.Rule].try(m, w, int(s.X), int(s.Y), int(s.L))
}

// raise: a session takeover. The link of the old writer is closed, what is staged is flushed, the
// epoch is durable, and only then the positions are told.
func (m *model) raise(w *State, x, y, _ int) bool {
	s := &w.sites[x]
	if s.epoch == 0 || s.epoch >= w.sites[y].epoch {
		return false
	}
	if m.has(Drain) {
		m.land(w, x)
	}
	m.setEpoch(w, x, w.sites[y].epoch)
	return true
}

func (m *model) setEpoch(w *State, x int, e Epoch) {
	s := &w.sites[x]
	for y := range m.Sites {
		w.sites[y].filled &^= 1 << x
	}
	s.epoch, s.filled, s.discard = e, 0, 0
	s.verified, s.admitted = false, false
	s.page = [maxLogs]uint8{}
}

// hearAll: a fresh disk persists no epoch before it heard every peer.
func (m *model) hearAll(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if s.epoch > 0 {
		return false
	}
	highest := Epoch(0)
	for y := range m.Sites {
		if y != x {
			highest = max(highest, w.sites[y].epoch)
		}
	}
	if highest == 0 {
		return false
	}
	for y := range m.Sites {
		m.land(w, y)
	}
	m.setEpoch(w, x, highest)
	return true
}

// verify: a writer that restarted has heard every peer and holds what each of them has of its log.
func (m *model) verify(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if s.verified || s.epoch == 0 || s.epoch.holder() != x || s.torn {
		return false
	}
	for y := range m.Sites {
		o := &w.sites[y]
		if y == x || !m.has(Verify) {
			continue
		}
		if o.epoch != s.epoch {
			return false
		}
		for l := range w.logs[:w.nLogs] {
			if w.logs[l].epoch == s.epoch && m.position(o, l) > s.tail[l] {
				return false
			}
		}
	}
	s.verified = true
	return true
}

// position is how far a site may come to be in one log by what it holds now.
func (m *model) position(s *site, l int) uint8 {
	at := s.tail[l]
	if s.staged > 0 && int(s.staged>>2) == l {
		at = max(at, s.staged&3)
	}
	for _, a := range s.spool[:s.spoolN] {
		if int(a>>2) == l && m.amended(ViewCounts) {
			at = max(at, a&3)
		}
	}
	return at
}

// land flushes what is staged; nobody hears of it.
func (m *model) land(w *State, x int) (l int, ok bool) {
	s := &w.sites[x]
	if s.staged == 0 {
		return 0, false
	}
	l, q := int(s.staged>>2), s.staged&3
	s.staged = 0
	if s.tail[l] != q-1 {
		return l, false
	}
	s.tail[l] = q
	if q == 1 {
		s.known |= 1 << l
	}
	return l, true
}

func (m *model) flush(w *State, x, _, _ int) bool {
	s := &w.sites[x]
	if s.staged == 0 {
		return false
	}
	l, ok := m.land(w, x)
	i := &w.logs[l]
	if writer := &w.sites[i.epoch.holder()]; ok && (s.epoch == i.epoch || !m.has(Drain)) && writer.epoch == i.epoch {
		for k := range w.logs[:w.nLogs] {
			if w.logs[k].epoch > i.epoch {
				return true // a higher epoch has opened, which reached neither: what is lost here is its tail
			}
		}
		i.safe = max(i.safe, s.tail[l])
	}
	return true
}

// push: the open log only, to a site of the same epoch that covers the rows of its START.
func (m *model) push(w *State, x, y, _ int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if x == y || s.epoch == 0 || s.epoch.holder() != x || !s.verified || o.epoch != s.epoch || o.staged > 0 {
		return false
	}
	l := w.ownLog(x)
	if l < 0 || o.tail[l] >= s.tail[l] || o.tail[l] < s.low[l] {
		return false
	}
	if o.tail[l] == 0 && m.has(Cover) && !o.covers(&w.logs[l]) {
		return false
	}
	o.staged = uint8(l)<<2 | (o.tail[l] + 1)
	return true
}

// pull: a closed log by (log, from, to, chain) from whoever has it, up to the holder's page and
// never beyond an end; its own log of this epoch, too, while it is not verified.
func (m *model) pull(w *State, x, y, l int) bool {
	s, o := &w.sites[x], &w.sites[y]
	e := w.logs[l].epoch
	q := s.tail[l] + 1
	if x == y || s.epoch == 0 || s.epoch != o.epoch || o.tail[l] < q || o.low[l] >= q {
		return false
	}
	holder := s.epoch.holder()
	switch {
	case e > s.epoch, e == s.epoch && (holder != x || s.verified):
		return false
	case m.at[y].Bound[l] && q > m.at[y].End[l]:
		return false
	case m.at[x].Bound[l] && q > m.at[x].End[l] && (w.ownLog(x) >= 0 || !m.amended(Provisional)):
		return false
	case e < s.epoch && holder == x && (s.admitted || w.ownLog(x) >= 0 && !m.at[x].Bound[l]):
		return false
	case e < s.epoch && holder != x && (w.sites[holder].epoch != s.epoch || q > m.shown(w, holder, l)):
		return false
	case q == 1 && m.has(Cover) && !s.covers(&w.logs[l]):
		return false
	}
	s.tail[l] = q
	if q == 1 {
		s.known |= 1 << l
	}
	return true
}

// shown is the row of a site's page.
func (m *model) shown(w *State, x, l int) uint8 {
	if m.at[x].Bound[l] {
		return min(w.sites[x].tail[l], m.at[x].End[l])
	}
	return w.sites[x].tail[l]
}

// takePage is the rule that must not be: the tails of a writer that has not opened taken for ends.
func (m *model) takePage(w *State, x, y, _ int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if m.has(Starts) || x == y || s.epoch == 0 || s.epoch != o.epoch || s.epoch.holder() != y ||
		w.ownLog(y) >= 0 || s.page != [maxLogs]uint8{} {
		return false
	}
	for l := range w.logs[:w.nLogs] {
		s.page[l] = m.shown(w, y, l) + 1
	}
	return w.nLogs > 0
}

// setFilled: a raised peer has told its positions, and the journals cover them.
func (m *model) setFilled(w *State, x, y, _ int) bool {
	s, o := &w.sites[x], &w.sites[y]
	if x == y || s.epoch == 0 || s.epoch.holder() != x || o.epoch != s.epoch || s.filled>>y&1 == 1 ||
		s.admitted || w.ownLog(x) >= 0 {
		return false
	}
	for l := range w.logs[:w.nLogs] {
		goal := m.shown(w, y, l)
		if m.at[x].Bound[l] && !m.amended(Provisional) {
			goal = min(goal, m.at[x].End[l])
		}
		if s.tail[l] < goal {
			return false
		}
	}
	s.filled |= 1 << y
	return true
}
