package ends

import "math/rand/v2"

// Walk takes random steps in bounds too large to visit whole: after each walk the sites do what
// they do by themselves, and the quiet state is checked. The steps of a walk that breaks a promise
// are shortened: each is left out that is not needed.
func Walk(b Bound, seed uint64, walks, length int) Result {
	m := newModel(b)
	random := rand.New(rand.NewPCG(seed, 1))
	var r Result
	for range walks {
		steps, bad := m.walk(random, length)
		r.States += len(steps)
		r.Depth = max(r.Depth, len(steps))
		if bad != "" {
			r.Found = m.shorten(steps, bad)
			return r
		}
		r.Quiet++
	}
	return r
}

func (m *model) walk(random *rand.Rand, length int) (steps []Step, bad string) {
	w := m.first()
	for n := 0; n < length+1000; n++ {
		var to []State
		var by []Step
		m.each(w, func(s Step, after *State) bool {
			if m.bad != "" {
				steps, bad = append(steps, s), m.bad
				return false
			}
			if n < length || rules[s.Rule].system {
				to, by = append(to, *after), append(by, s)
			}
			return true
		})
		if bad != "" {
			return steps, bad
		}
		if len(to) == 0 {
			return steps, m.quiet(w)
		}
		pick := random.IntN(len(to))
		*w = to[pick]
		steps = append(steps, by[pick])
		if bad := m.always(w); bad != "" {
			return steps, bad
		}
	}
	return steps, "the sites never come to rest"
}

// shorten leaves out steps as long as the same promise breaks.
func (m *model) shorten(steps []Step, bad string) string {
	for before := len(steps) + 1; len(steps) < before; {
		before = len(steps)
		for i := len(steps) - 1; i >= 0; i-- {
			fewer := append(append([]Step{}, steps[:i]...), steps[i+1:]...)
			if got, _ := m.play(fewer); got == bad {
				steps = fewer
			}
		}
	}
	_, all := m.play(steps)
	return m.tell(all, bad)
}

// play takes steps, those that are possible, lets the sites come to rest, and names what broke.
func (m *model) play(steps []Step) (bad string, all []Step) {
	w := m.first()
	for _, s := range steps {
		m.prepare(w)
		if s.L >= max(w.nLogs, 1) || !rules[s.Rule].try(m, w, int(s.X), int(s.Y), int(s.L)) {
			continue
		}
		if all = append(all, s); m.bad != "" {
			return m.bad, all
		}
		if bad := m.always(w); bad != "" {
			return bad, all
		}
	}
	return m.settle(w, all)
}

// settle takes the first step that a site has left to do by itself, until there is none.
func (m *model) settle(w *State, all []Step) (string, []Step) {
	for range 1000 {
		rest := true
		m.each(w, func(s Step, after *State) bool {
			if rules[s.Rule].system {
				rest, *w, all = false, *after, append(all, s)
			}
			return rest
		})
		switch {
		case rest:
			return m.quiet(w), all
		case m.bad != "":
			return m.bad, all
		}
		if bad := m.always(w); bad != "" {
			return bad, all
		}
	}
	return "the sites never come to rest", all
}
