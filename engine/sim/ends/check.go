package ends

import "fmt"

// always names the first promise that a state breaks, whatever happens next.
func (m *model) always(w *State) string {
	m.prepare(w)
	for x := range m.Sites {
		s, e := &w.sites[x], &m.at[x]
		past := w.past(s, e)
		for _, a := range s.applied[:s.n] {
			if l := a >> 2; e.Bound[l] && a&3 > e.End[l] && !past {
				return fmt.Sprintf("%s holds an entry beyond an end, and no cursor shows it", siteName(x))
			}
		}
		for l := range w.logs[:w.nLogs] {
			if w.logs[l].epoch.holder() == x && e.Bound[l] && w.logs[l].late > e.End[l] {
				return fmt.Sprintf("%s applied an own entry after the raise, and it is an orphan", siteName(x))
			}
		}
		for y := range x {
			if o := &m.at[y]; w.sites[y].known == s.known && w.sites[y].discard == s.discard {
				for l := range w.logs[:w.nLogs] {
					if e.Bound[l] && o.Bound[l] && e.End[l] != o.End[l] {
						return siteName(y) + " and " + siteName(x) + " know the same STARTs and compute other ends"
					}
				}
			}
		}
	}
	return ""
}

// quiet names what is wrong with a state in which no site has anything left to do.
func (m *model) quiet(w *State) string {
	m.prepare(w)
	for x := range m.Sites {
		if s := m.waits(w, x); s != "" {
			return siteName(x) + " waits permanently: " + s
		}
	}
	for x := range m.Sites {
		for l := range w.logs[:w.nLogs] {
			if s := m.quietLog(w, x, l); s != "" {
				return fmt.Sprintf("%s, %s: %s", siteName(x), m.logName(w, l), s)
			}
		}
	}
	return ""
}

func (m *model) waits(w *State, x int) string {
	s := &w.sites[x]
	switch {
	case s.epoch != w.sites[0].epoch:
		return "epochs differ"
	case s.learner:
		return "a learner"
	case s.torn, s.spooled:
		return "a torn Store"
	case w.past(s, &m.at[x]):
		return "past an end"
	case s.epoch.holder() == x && w.ownLog(x) < 0 && (w.history(s) || !s.admitted):
		return "its shard is not opened"
	case !equalStores(s, &w.sites[0]):
		return "Stores differ"
	case !m.ready(w, x):
		return "its Store is not at its ends"
	}
	return ""
}

func (m *model) quietLog(w *State, x, l int) string {
	s, e, i := &w.sites[x], &m.at[x], &w.logs[l]
	if s.count(l) < i.safe {
		return fmt.Sprintf("acknowledged as durable at two sites up to %d, and lost", i.safe)
	}
	if i.epoch.holder() != x || s.tail[l] == 0 || i.epoch == s.epoch {
		return ""
	}
	switch held := s.tail[l] - min(s.tail[l], e.End[l]); {
	case !e.Bound[l]:
		return "a closed log without an end"
	case s.file[l] > 0 && s.file[l] <= e.End[l]:
		return "a list that names what survived"
	case held > 0 && s.file[l] != e.End[l]+1 && s.low[l] <= e.End[l]:
		return "orphans that no list names"
	case held == 0 && s.file[l] > 0:
		return "a list of nothing"
	}
	return ""
}
