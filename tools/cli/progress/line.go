package progress

import (
	"fmt"
	"io"
	"time"

	"github.com/claudefs/repl/tools/cli/tty"
)

const (
	redrawEvery = 100 * time.Millisecond
	repeatEvery = 3 * time.Second
)

// Line is a progress line on a writer.
type Line struct {
	w        *tty.Writer
	terminal bool
	shownAt  time.Time
}

// New returns a line on w.
func New(w io.Writer) *Line {
	out := tty.Of(w)
	return &Line{w: out, terminal: out.Terminal()}
}

// Show prints what text returns, if it is time to.
func (l *Line) Show(text func() string) {
	every := repeatEvery
	if l.terminal {
		every = redrawEvery
	}
	now := time.Now()
	if !l.shownAt.IsZero() && now.Sub(l.shownAt) < every {
		return
	}
	l.shownAt = now
	if l.terminal {
		l.w.Draw(text())
		return
	}
	fmt.Fprintln(l.w, text())
}

// Say prints a line of its own, whatever the time, and keeps it.
func (l *Line) Say(format string, args ...any) {
	fmt.Fprintf(l.w, format+"\n", args...)
}

// Clear takes the line off a terminal; the next Show draws it again.
func (l *Line) Clear() { l.w.Erase() }
