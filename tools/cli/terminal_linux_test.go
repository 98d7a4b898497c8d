package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/cli/tty"
)

// onTerminal is what a call of cfs leaves on a terminal of so many columns, with the
// line ends of a file and without the colours.
func onTerminal(t *testing.T, columns, rows uint16, args ...string) (int, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine has no terminals: ", err)
	}
	defer master.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	read := make(chan string, 1)
	go func() { // ends with the terminal
		text, _ := io.ReadAll(master) // EIO is its end
		read <- string(text)
	}()
	code := Main(args, strings.NewReader(""), terminal, terminal)
	require.NoError(t, terminal.Close())
	plain := strings.NewReplacer("\r\n", "\n", tty.Green, "", tty.Yellow, "", tty.Red, "", tty.Reset, "")
	return code, plain.Replace(<-read)
}

// acts says whether a terminal does anything but show r.
func acts(r rune) bool {
	return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// Names that users gave and reasons that nodes gave are shown; none of them acts on the
// terminal of whoever looks.
func TestForeignTextDoesNotActOnATerminal(t *testing.T) {
	addr := hostileNode(t)
	for _, args := range [][]string{
		{"admin", "replication", "status"}, {"admin", "replication", "status", "-o", "wide"},
		{"admin", "replication", "lag", "-o", "wide"}, {"admin", "replication", "status", "-o", "json"},
		{"fs", "ls"}, {"fs", "ls", "-o", "wide"}, {"fs", "ls", "-o", "jsonl"}, {"fs", "stat", "/" + hostile},
		{"fs", "digest"}, {"fs", "digest", "-o", "json"}, {"fs", "mv", "/" + hostile, "/x"},
		{"fs", "rm", "/" + hostile}, {"fs", hostile}, {"dump", "segment", "/nothing/" + hostile},
	} {
		_, shown := onTerminal(t, 80, 24, append(args, "--admin", addr)...)
		require.NotEmpty(t, shown, args)
		require.False(t, strings.ContainsFunc(shown, acts), "%q: %q", args, shown)
		require.True(t, utf8.ValidString(shown), "%q: %q", args, shown)
	}
	_, shown := onTerminal(t, 80, 24, "fs", "ls", "--admin", addr)
	require.Equal(t, 2, strings.Count(shown, "\n"), "one line for each name: %q", shown)
}

// What an operator reads is wrapped at words: no line is cut by the terminal.
func TestScreensFitNarrowTerminals(t *testing.T) {
	body, err := json.Marshal(behindStatus())
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	for _, columns := range []uint16{60, 80} {
		for _, args := range [][]string{
			{"admin", "replication", "status", "-o", "wide", "--admin", addr},
			{"help", "server"}, {"help", "fs", "import"}, {"help", "admin", "replication", "verify"}, {"help"},
			{"help", "glossary"}, {"help", "formats"}, {"help", "exit-codes"},
			{"bench", "--nonsense", "--io", "portable"},
			{"admin", "replication", "status", "--admin", "127.0.0.1:1"},
		} {
			_, shown := onTerminal(t, columns, 24, args...)
			for line := range strings.Lines(shown) {
				taken := utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))
				require.LessOrEqual(t, taken, int(columns), "%v at %d columns: %s", args, columns, line)
			}
		}
	}
}

// A screen that is redrawn holds what fits it, and says that there is more.
func TestWatchFitsTheTerminal(t *testing.T) {
	status := behindStatus()
	for range 9 {
		status.Peers = append(status.Peers, status.Peers[0])
	}
	answers := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if answers <- struct{}{}; len(answers) == cap(answers) {
			http.NotFound(w, nil) // ends the watching
			return
		}
		_ = json.NewEncoder(w).Encode(status)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	code, shown := onTerminal(t, 70, 20, "admin", "replication", "status", "--watch", "--admin", addr)
	require.Equal(t, ExitFailed, code, shown)
	_, shown, found := strings.Cut(shown, "\x1b[H\x1b[2J")
	require.True(t, found)
	screen, _, _ := strings.Cut(shown, "error: ")
	require.LessOrEqual(t, strings.Count(screen, "\n"), 19, screen)
	require.Regexp(t, `(?m)^site-a  primary  DEGRADED`, screen)
	require.Regexp(t, `… \d+ more lines`, screen)
}
