package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

const (
	redrawEvery = 100 * time.Millisecond
	repeatEvery = 3 * time.Second
)

// Line is a progress line on a writer.
type Line struct {
	w        io.Writer
	terminal bool
	shownAt  time.Time
	drawn    bool // something stands on the terminal's current line
}

// New returns a line on w.
func New(w io.Writer) *Line {
	f, ok := w.(*os.File)
	return &Line{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
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
		fmt.Fprintf(l.w, "\r\x1b[K%s", text())
		l.drawn = true
		return
	}
	fmt.Fprintln(l.w, text())
}

// Say prints a line of its own, whatever the time, and keeps it.
func (l *Line) Say(format string, args ...any) {
	l.Clear()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// Clear takes the line off a terminal; the next Show draws it again.
func (l *Line) Clear() {
	if l.drawn {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.drawn = false
	}
}
