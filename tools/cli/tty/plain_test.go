package tty

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPlainTextShowsWhatWouldAct(t *testing.T) {
	for text, want := range map[string]string{
		"café":                     "café",
		"a\x1b]0;x\x07\x1b[2Jb":    `a\x1b]0;x\x07\x1b[2Jb`,
		"two\nlines\tand\rmore":    `two\nlines\tand\rmore`,
		"c1 \u009b31m, del \x7f":   `c1 \u009b31m, del \u007f`,
		"raw c1 \x9b31m, \xe9":     `raw c1 \x9b31m, \xe9`,
		"invoice\u202egpj.exe":     `invoice\u202egpj.exe`,
		"isolate\u2066, ls \u2028": `isolate\u2066, ls \u2028`,
		Red + "red" + Reset:        `\x1b[1;31mred\x1b[0m`,
	} {
		require.Equal(t, want, Plain(text))
	}
}

// Of what is written only line ends, tabs and the colours of cfs act on a terminal,
// wherever the writes are cut.
func FuzzTerminalGetsNoControl(f *testing.F) {
	f.Add("caf\u00e9 \x1b[2J \u009b31m \u202e\xe9\n", 3)
	f.Add(Green+"OK"+Reset+"\x1b[32", 7)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var b bytes.Buffer
		w := &Writer{line: &line{}, w: &b, file: os.Stdin}
		cut = min(max(cut, 0), len(text))
		for _, part := range []string{text[:cut], text[cut:]} {
			n, err := w.Write([]byte(part))
			require.NoError(t, err)
			require.Equal(t, len(part), n)
		}
		require.NoError(t, w.Close())
		got := b.String()
		require.True(t, utf8.ValidString(got))
		for _, c := range []string{Green, Yellow, Red, Reset, "\n", "\t"} {
			got = strings.ReplaceAll(got, c, "")
		}
		require.False(t, strings.ContainsFunc(got, hidden), "%q", got)
	})
}

// JSON on a terminal stays the same value: what is escaped in it is escaped as JSON is.
func TestJSONIsTheSameOnATerminal(t *testing.T) {
	value := "del \x7f c1 \u009b direction \u202e esc \x1b line \u2028"
	text, err := json.Marshal(value)
	require.NoError(t, err)
	var b bytes.Buffer
	w := &Writer{line: &line{}, w: &b, file: os.Stdin}
	_, err = w.Write(text)
	require.NoError(t, err)
	var back string
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, value, back)
	require.NotContains(t, b.String(), "\u009b")
}

func TestContentPassesAsItIs(t *testing.T) {
	var b bytes.Buffer
	w := New(&b)
	for _, out := range []interface{ Write([]byte) (int, error) }{w, w.Raw()} {
		b.Reset()
		_, err := out.Write([]byte("\x1b[2J\xe9\n"))
		require.NoError(t, err)
		require.Equal(t, "\x1b[2J\xe9\n", b.String())
	}
	require.Equal(t, "\x1b", w.Text("\x1b"))
}

// fails takes some bytes, and no more.
type fails struct{ left int }

func (f *fails) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestLostOutputStaysAnError(t *testing.T) {
	w := New(&fails{left: 3})
	_, err := w.Write([]byte("one"))
	require.NoError(t, err)
	_, err = w.Write([]byte("two"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = w.Write(nil)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, w.Close(), syscall.ENOSPC)
}

// Whatever is written next erases the progress line first, on either stream.
func TestProgressLineIsErasedByWhatFollows(t *testing.T) {
	var b bytes.Buffer
	stdout, stderr := New(&b), New(&b)
	Pair(stdout, stderr)
	stderr.Draw("half")
	_, err := stdout.Write([]byte("data\n"))
	require.NoError(t, err)
	stderr.Draw("most")
	require.NoError(t, stdout.Close())
	require.Equal(t, "\r\x1b[Khalf\r\x1b[Kdata\n\r\x1b[Kmost\r\x1b[K", b.String())
}

func TestLongLinesAreWrappedAtWords(t *testing.T) {
	text := "short\n  appends waiting: 2 shards wait for a peer  (shards: 254 verified)\n" +
		Red + "FAILED" + Reset + "\n"
	require.Equal(t, "short\n  appends waiting: 2 shards\n    wait for a peer  (shards:\n    254 verified)\n"+
		Red+"FAILED"+Reset+"\n", Wrap(text, 30))
	require.Equal(t, text, Wrap(text, 80))
	require.Equal(t, "a\nincarnation-of-40-characters\nb", Wrap("a incarnation-of-40-characters b", 10))
	require.Equal(t, "error: a long reason\n       of a failure\n", Wrap("error: a long reason of a failure\n", 22))
	require.Equal(t, "two lines that are one\n\n  kept\n  kept", Flow("two lines\nthat are one\n\n  kept\n  kept"))
	require.Equal(t, "half of…", Cut("half of it all", 8))
	require.Equal(t, "half", Cut("half", 4))
}
