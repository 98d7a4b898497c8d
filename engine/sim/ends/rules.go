package ends

// A Rule is one that a world may leave out, to see what it is for. The number of the hole is the design's.
type Rule uint32

const (
	Starts         Rule = 1 << iota // H1: ends come from START only, not from pages of a writer that has not opened
	HoldOwn                         // H2: a fenced writer applies own entries only when their end is bound
	Verify                          // H4: a writer that restarted hears every peer before it writes
	Spool                           // H5: a mend is complete in a file before the first change to the Store
	Cover                           // H7: a START is taken only when the journals cover its rows
	SkipClosed                      // H8: a reader that walks again skips what lies beyond an end
	KeepRows                        // H13: rows of a START outlive its batches
	RowsOfReleased                  // H13: a START names logs whose batches are gone, too
	Downwards                       // survival is decided from the highest START down
	Drain                           // what is staged is flushed before the positions are told
	Persist                         // the epoch is durable before the raise is answered
	StartOnPage                     // START also where only a peer has history
	SaveFirst                       // no batch is given back before its orphans are saved
	AdoptRows                       // a mend brings the rows of the STARTs below its view
	Rise                            // an end that rises takes its entries off the list
)

// A Bound is a small world: how many of what may happen in it, and which rules it leaves out.
type Bound struct {
	Sites, Appends                                                  int
	Promotions, Crashes, Wipes, Images, Releases, Discards, Accepts int
	Without                                                         Rule
	Literal                                                         Amendment // amendments left out
}

// An Amendment is a rule that the model needed beyond the design: docs/decisions.
type Amendment uint32

const (
	Provisional  Amendment = 1 << iota // ends bind what is taken only once the START of the epoch held is known
	ViewCounts                         // the view in a complete file counts as a position when a writer asks
	ViewRows                           // a view is checked against the ends known with the view's own rows
	EmptyView                          // nobody stands at the ends: whole journals are replayed into an empty Store
	ClockEpoch                         // a counter is above all that its writer was ever granted, forgotten ones too
	DiscardAbove                       // what names a discarded log is discarded
	FloorBinds                         // batches are given back once all sites have the START of the epoch held
)

// Ends is what a site knows about where logs end.
type Ends struct {
	End   [maxLogs]uint8
	Bound [maxLogs]bool // by a START that survives; else End is the site's own tail
	Alive uint8         // STARTs that survive
}

// ends decides survival downwards: the highest START that the site knows survives; a lower one
// if the lowest surviving one above it names its incarnation.
func (m *model) ends(w *State, s *site) (e Ends) {
	gone := m.discarded(w, s)
	known := s.known &^ gone
	lowest := -1
	for l := w.below(known, -1); l >= 0; l = w.below(known, l) {
		switch {
		case lowest < 0, names(&w.logs[lowest], l), m.Without&Downwards != 0:
			e.Alive |= 1 << l
			lowest = l
		}
	}
	for l := range w.logs[:w.nLogs] {
		e.End[l] = s.tail[l]
		above := w.above(e.Alive, l)
		if above >= 0 {
			e.Bound[l], e.End[l] = true, rowOf(&w.logs[above], l)
		}
		if gone>>l&1 == 1 {
			e.Bound[l], e.End[l] = true, 0
		}
		if s.page[l] > 0 && w.logs[l].epoch < s.epoch {
			e.Bound[l], e.End[l] = true, s.page[l]-1
		}
	}
	return e
}

// discarded is what the operator gave up at this site: one log, and what names it.
func (m *model) discarded(w *State, s *site) (gone uint8) {
	if s.discard == 0 {
		return 0
	}
	gone = 1 << (s.discard - 1)
	all := uint8(1<<w.nLogs - 1)
	for l := w.above(all, int(s.discard)-1); l >= 0 && m.amended(DiscardAbove); l = w.above(all, l) {
		for _, r := range w.logs[l].rows {
			if r.log > 0 && gone>>(r.log-1)&1 == 1 {
				gone |= 1 << l
			}
		}
	}
	return gone
}

// less orders incarnations: by the epochs of their STARTs.
func (w *State) less(a, b int) bool {
	if w.logs[a].epoch != w.logs[b].epoch {
		return w.logs[a].epoch < w.logs[b].epoch
	}
	return a < b
}

func (w *State) below(set uint8, l int) int { // the highest of the set below l; -1 is above all
	best := -1
	for k := range int(w.nLogs) {
		if set>>k&1 == 1 && (l < 0 || w.less(k, l)) && (best < 0 || w.less(best, k)) {
			best = k
		}
	}
	return best
}

func (w *State) above(set uint8, l int) int { // the lowest of the set whose epoch is above that of l
	best := -1
	for k := range int(w.nLogs) {
		if set>>k&1 == 1 && w.logs[k].epoch > w.logs[l].epoch && (best < 0 || w.less(k, best)) {
			best = k
		}
	}
	return best
}

func names(i *incarnation, l int) bool { return rowOf(i, l) > 0 }

func rowOf(i *incarnation, l int) uint8 {
	for _, r := range i.rows {
		if int(r.log) == l+1 {
			return r.seq
		}
	}
	return 0
}

// rows are those of a START that a site writes now: per writer its newest incarnation that ends
// above 0, at its known end, else at the tail here.
func (m *model) rows(w *State, s *site, e *Ends) (rows [maxSites]row) {
	for l := range w.logs[:w.nLogs] {
		at := w.logs[l].epoch.holder()
		if e.End[l] == 0 || s.tail[l] == 0 || m.Without&RowsOfReleased != 0 && s.low[l] == s.tail[l] {
			continue
		}
		if r := rows[at]; r.log == 0 || w.less(int(r.log)-1, l) {
			rows[at] = row{uint8(l) + 1, e.End[l]}
		}
	}
	return rows
}

// past: the Store's cursor of some writer lies beyond its end.
func (w *State) past(s *site, e *Ends) bool { return w.listPast(s.applied[:s.n], e) }

func (w *State) listPast(list []uint8, e *Ends) bool {
	for writer := range maxSites {
		if l, c := w.cursorOf(list, writer); l >= 0 && e.Bound[l] && c > e.End[l] {
			return true
		}
	}
	return false
}

// refuses: the view lies past an end, so its file is not taken, or discarded.
func (m *model) refuses(w *State, x int, view []uint8) bool {
	if !m.amended(ViewRows) {
		return w.listPast(view, &m.at[x])
	}
	s := w.sites[x]
	for _, a := range view {
		s.known |= 1 << (a >> 2)
	}
	e := m.ends(w, &s)
	return w.listPast(view, &e)
}

// covers: the journals reach every row of a START.
func (s *site) covers(i *incarnation) bool {
	for _, r := range i.rows {
		if r.log > 0 && s.tail[r.log-1] < r.seq {
			return false
		}
	}
	return true
}
