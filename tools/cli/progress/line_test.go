package progress

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/cli/tty"
)

// A log of a long task stays short: what comes too soon is not even made.
func TestLineIsNotRepeatedTooSoon(t *testing.T) {
	var b bytes.Buffer
	l := New(&b)
	calls := 0
	text := func() string { calls++; return "half" }
	l.Show(text)
	l.Show(text)
	l.Say("done: %d", 7)
	require.Equal(t, "half\ndone: 7\n", b.String())
	require.Equal(t, 1, calls)
}

func TestTerminalIsRedrawnAndKeptLinesStandAlone(t *testing.T) {
	var b bytes.Buffer
	l := &Line{w: tty.New(&b), terminal: true}
	l.Show(func() string { return "half" })
	l.Say("kept")
	require.Equal(t, "\r\x1b[Khalf\r\x1b[Kkept\n", b.String())
}
