package ends

import (
	"fmt"
	"strings"
)

func siteName(x int) string { return string(rune('A' + x)) }

func (e Epoch) String() string {
	if e == 0 {
		return "0"
	}
	return fmt.Sprintf("%d%s", e>>2, siteName(e.holder()))
}

func (m *model) logName(w *State, l int) string {
	n := 0
	for k := range l {
		if w.logs[k].epoch == w.logs[l].epoch {
			n++
		}
	}
	return w.logs[l].epoch.String() + strings.Repeat("'", n)
}

// say is one step as a reader wants it, with what the site that took it then holds.
func (m *model) say(before, after *State, s Step) string {
	r := &rules[s.Rule]
	text := r.name + " " + siteName(int(s.X))
	if r.y {
		text += " with " + siteName(int(s.Y))
	}
	if r.l {
		text += " log " + m.logName(before, int(s.L))
	}
	x := &after.sites[s.X]
	if st := after.sites[s.Y].staged; r.name == "push" && st > 0 {
		text += fmt.Sprintf(" (%s:%d)", m.logName(after, int(st>>2)), st&3)
	}
	return fmt.Sprintf("%-24s %s", text, m.hold(after, x))
}

func (m *model) hold(w *State, s *site) string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %s journals", s.epoch)
	for l := range w.logs[:w.nLogs] {
		if s.tail[l] > 0 {
			fmt.Fprintf(&b, " %s:%d-%d", m.logName(w, l), s.low[l]+1, s.tail[l])
		}
	}
	b.WriteString(" store")
	for _, a := range s.applied[:s.n] {
		fmt.Fprintf(&b, " %s:%d", m.logName(w, int(a>>2)), a&3)
	}
	for l, f := range s.file {
		if f > 0 {
			fmt.Fprintf(&b, " orphans %s:%d-%d", m.logName(w, l), f, s.tail[l])
		}
	}
	for i, set := range []bool{s.torn, s.spooled, s.learner} {
		if set {
			b.WriteString([]string{" torn", " spooled", " learner"}[i])
		}
	}
	return b.String()
}

// starts lists the rows of all STARTs.
func (m *model) starts(w *State) string {
	var b strings.Builder
	for l := range w.logs[:w.nLogs] {
		fmt.Fprintf(&b, "START %s rows", m.logName(w, l))
		for _, r := range w.logs[l].rows {
			if r.log > 0 {
				fmt.Fprintf(&b, " %s:%d", m.logName(w, int(r.log)-1), r.seq)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// tell plays steps again and says what each left.
func (m *model) tell(steps []Step, bad string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", bad)
	w := m.first()
	for i, s := range steps {
		before := *w
		m.take(w, s)
		fmt.Fprintf(&b, "%3d %s\n", i+1, m.say(&before, w, s))
	}
	b.WriteString(m.starts(w))
	return b.String()
}
