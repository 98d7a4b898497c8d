package tty

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Colours of cfs itself. A Writer passes these and no other escape sequence.
const (
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Red    = "\x1b[1;31m"
	Reset  = "\x1b[0m"
)

// Plain is s on one line as a terminal may show it: control characters, marks that
// change the direction of text and bytes that are not UTF-8 are escaped.
func Plain(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		s = s[escapeNext(&b, s):]
	}
	return b.String()
}

// escapeNext appends the first rune of s to b, escaped if it is hidden, and returns
// its length.
func escapeNext(b *strings.Builder, s string) int {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && n == 1:
		fmt.Fprintf(b, `\x%02x`, s[0])
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r == '\r':
		b.WriteString(`\r`)
	case hidden(r) && r < 0x20:
		fmt.Fprintf(b, `\x%02x`, r)
	case hidden(r):
		fmt.Fprintf(b, `\u%04x`, r) // as JSON escapes it: it may stand in a JSON string
	default:
		b.WriteString(s[:n])
	}
	return n
}

// hidden says whether r acts on a terminal instead of being shown.
func hidden(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // C0, DEL, C1
		return true
	case r == 0x61c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true // direction
	}
	return r == 0x2028 || r == 0x2029 // line and paragraph separator
}

// clean escapes what is hidden in text of several lines, other than the line ends, tabs
// and colours.
func clean(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		if text[0] == '\n' || text[0] == '\t' {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		if n := colourAt(text); n > 0 {
			b.WriteString(text[:n])
			text = text[n:]
			continue
		}
		text = text[escapeNext(&b, text):]
	}
	return b.String()
}

// colourAt is the length of a colour at the beginning of text; 0 = none.
func colourAt(text string) int {
	for _, c := range []string{Green, Yellow, Red, Reset} {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	return 0
}

// width is how many columns text takes: one a rune, none for colours.
func width(text string) (n int) {
	for len(text) > 0 {
		if c := colourAt(text); c > 0 {
			text = text[c:]
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		text, n = text[size:], n+1
	}
	return n
}

// Wrap breaks the lines of text that take more than columns at spaces. What follows
// stands below the second column of its line if that begins early, else it is indented
// by two more than the line, if that is. A word that is longer stands alone.
func Wrap(text string, columns int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		rest, ended := strings.CutSuffix(line, "\n")
		if width(rest) > columns {
			rest = wrapLine(rest, columns)
		}
		b.WriteString(rest)
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// hangMax is how early a second column has to begin: 60 columns leave two thirds to it.
const hangMax = 20

var secondColumn = regexp.MustCompile(`^ *[\w-]+(?: [\w-]+)* {2,}|^(?:error|next): `)

func wrapLine(line string, columns int) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	hang := 0
	if indent != "" {
		hang = len(indent) + 2
	}
	if m := secondColumn.FindString(line); m != "" && len(m) <= hangMax {
		hang = len(m)
	}
	var b strings.Builder
	used, first := 0, true
	for gap, word := range words(line[len(indent):]) {
		switch {
		case first:
			b.WriteString(indent)
			used = len(indent)
		case used+len(gap)+width(word) > columns:
			b.WriteString("\n" + strings.Repeat(" ", hang))
			used = hang
		default:
			b.WriteString(gap)
			used += len(gap)
		}
		first = false
		b.WriteString(word)
		used += width(word)
	}
	return b.String()
}

// Flow is text whose paragraphs are each one line, to be wrapped: lines that begin with
// a space or are followed by an empty one end where they end.
func Flow(text string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(line)
		if i+1 == len(lines) {
			break
		}
		next := lines[i+1]
		if line == "" || next == "" || line[0] == ' ' || next[0] == ' ' {
			b.WriteByte('\n')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// words are the words of a line, each with the spaces before it.
func words(line string) func(func(gap, word string) bool) {
	return func(yield func(gap, word string) bool) {
		for line != "" {
			word := strings.TrimLeft(line, " ")
			gap := line[:len(line)-len(word)]
			end := strings.IndexByte(word, ' ')
			if end < 0 {
				end = len(word)
			}
			if word != "" && !yield(gap, word[:end]) {
				return
			}
			line = word[end:]
		}
	}
}

// Cut is text in at most columns.
func Cut(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	n, at := 0, 0
	for i := range text {
		if n == max(0, columns-1) {
			at = i
			break
		}
		n++
	}
	return text[:at] + "…"
}
