package tty

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// Writer is stdout or stderr of a verb.
type Writer struct {
	line *line
	w    io.Writer
	file *os.File // nil = not a terminal
	held []byte   // the beginning of a rune whose end was not written yet
	err  error
}

// line is the progress line of a terminal, shared by the writers that are paired.
type line struct {
	mu    sync.Mutex
	on    io.Writer
	drawn bool
}

// New returns the Writer that writes to w.
func New(w io.Writer) *Writer {
	out := &Writer{line: &line{}, w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		out.file = f
	}
	return out
}

// Pair makes both share one progress line.
func Pair(stdout, stderr *Writer) { stdout.line = stderr.line }

// Of is w itself if it is a Writer, or one that writes to it.
func Of(w io.Writer) *Writer {
	if out, ok := w.(*Writer); ok {
		return out
	}
	return New(w)
}

// Terminal says whether it may be redrawn.
func (w *Writer) Terminal() bool { return w.file != nil }

// Size is the terminal's; 0, 0 = it is none, or does not say.
func (w *Writer) Size() (columns, rows int) {
	if w.file == nil {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(w.file.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// Fit is text wrapped to the columns of w, if it is a terminal.
func Fit(w io.Writer, text string) string {
	if columns, _ := Of(w).Size(); columns > 0 {
		return Wrap(text, columns)
	}
	return text
}

// Fill is text wrapped to the columns of w, and cut to its rows with a last line that
// says so: what a screen that is drawn again and again can hold.
func Fill(w io.Writer, text string) string {
	columns, rows := Of(w).Size()
	if columns <= 0 || rows <= 1 {
		return text
	}
	lines := strings.SplitAfter(Wrap(text, columns), "\n")
	if shown := rows - 2; len(lines)-1 > rows-1 { // the last one is empty: the text ends with a line
		more := Cut(fmt.Sprintf("… %d more lines: they need a larger window", len(lines)-1-shown), columns)
		lines = append(lines[:shown:shown], more+"\n")
	}
	return strings.Join(lines, "")
}

// Text is foreign text for one cell or line: on a terminal it is Plain, elsewhere the
// bytes as they are.
func (w *Writer) Text(s string) string {
	if w.file == nil {
		return s
	}
	return Plain(s)
}

// Write is io.Writer's. On a terminal what is not a line end, a tab or a colour of
// this package, and would act on it, is escaped.
func (w *Writer) Write(p []byte) (int, error) {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	w.line.erase()
	if w.file == nil {
		return w.put(p)
	}
	text := append(w.held, p...)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if tail := text[len(text)-back:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				end -= back
			}
			break
		}
	}
	if _, err := w.put([]byte(clean(string(text[:end])))); err != nil {
		return 0, err
	}
	w.held = append([]byte(nil), text[end:]...)
	return len(p), nil
}

// put writes bytes as they are, and keeps the first error. The line is held.
func (w *Writer) put(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// Raw is for content that is passed on as it is, such as a file's.
func (w *Writer) Raw() io.Writer { return raw{w} }

type raw struct{ w *Writer }

func (r raw) Write(p []byte) (int, error) {
	r.w.line.mu.Lock()
	defer r.w.line.mu.Unlock()
	r.w.line.erase()
	return r.w.put(p)
}

// Clear empties the terminal's screen.
func (w *Writer) Clear() {
	if w.file != nil {
		_, _ = w.Raw().Write([]byte("\x1b[H\x1b[2J")) // Err keeps its error
	}
}

// Draw replaces the progress line, in at most the columns of the terminal.
func (w *Writer) Draw(text string) {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	if columns, _ := w.Size(); columns > 1 {
		text = Cut(Plain(text), columns-1)
	}
	_, _ = io.WriteString(w.w, erase+text) // progress is never a reason to fail
	w.line.on, w.line.drawn = w.w, true
}

// Erase takes the progress line off the terminal.
func (w *Writer) Erase() {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	w.line.erase()
}

const erase = "\r\x1b[K"

func (l *line) erase() {
	if l.drawn {
		_, _ = io.WriteString(l.on, erase)
		l.drawn = false
	}
}

// Close writes what is held back, erases the progress line, and returns the first error
// of a write. The file below stays open.
func (w *Writer) Close() error {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	w.line.erase()
	if held := w.held; len(held) > 0 {
		w.held = nil
		_, _ = w.put([]byte(Plain(string(held))))
	}
	return w.err
}
