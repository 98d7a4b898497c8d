package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
	"github.com/claudefs/repl/tools/cli/tty"
)

// typed is what a call of cfs leaves on a terminal at which a line is typed.
func typed(t *testing.T, line string, args ...string) (code int, shown string) {
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
	_, err = io.WriteString(master, line+"\n") // the terminal keeps it until it is read
	require.NoError(t, err)
	read := make(chan string, 1)
	go func() { // ends with the terminal
		text, _ := io.ReadAll(master) // EIO is its end
		read <- string(text)
	}()
	code = Main(args, terminal, terminal, terminal)
	require.NoError(t, terminal.Close())
	return code, strings.ReplaceAll(<-read, "\r\n", "\n")
}

// promotable is a node that can take over: it counts how often it was made to, and with what plan.
func promotable(t *testing.T) (addr string, done *atomic.Int64, plan *atomic.Value) {
	done, plan = new(atomic.Int64), new(atomic.Value)
	heard := time.Now().Add(-time.Minute)
	status := behindStatus()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := engine.FailoverReport{
			Schema: 1, Kind: "failover", How: engine.FailoverPromotion, Site: "site-b", Was: "site-a", Epoch: 2 << 32,
			HeardAt: &heard, MayStillWrite: true, Confirm: true, Plan: "1-2-3",
			Peers: []engine.FailoverPeer{{Site: "site-a", Link: "down", HeardAt: &heard, MayWrite: true}},
		}
		switch {
		case r.URL.Path == "/v1/status":
			_ = json.NewEncoder(w).Encode(status)
			return
		case r.URL.Path == admin.AuditTrailPath:
			_, _ = fmt.Fprintln(w, `{"seq":1,"at":"2026-11-30T12:00:00Z","kind":"failover","what":"it writes"}`)
			_, _ = fmt.Fprintln(w, `{"schema":1,"kind":"audit-end","site":"site-b","records":1}`)
			return
		case r.Method == http.MethodPost:
			report.Done = true
			done.Add(1)
			plan.Store(r.URL.Query().Get("plan"))
		}
		_ = json.NewEncoder(w).Encode(report)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), done, plan
}

// TestFailoverWantsTheNameTyped: on a terminal the site's name, and nothing else, has a site take
// over; off one, --yes or the plan.
func TestFailoverWantsTheNameTyped(t *testing.T) {
	addr, done, plan := promotable(t)
	verb := []string{"admin", "replication", "failover", "--to", "site-b", "--admin", addr}
	for _, line := range []string{"yes", "y", "site-a", "site-b2", ""} {
		code, shown := typed(t, line, verb...)
		require.Equal(t, ExitRefused, code, shown)
		require.Contains(t, shown, "Type the name of the site that is to write")
		require.Contains(t, shown, "what site site-a had alone is lost")
		require.Zero(t, done.Load(), "%q was taken for the name", line)
	}
	code, shown := typed(t, "site-b", verb...)
	require.Zero(t, code, shown)
	require.EqualValues(t, 1, done.Load())
	require.Contains(t, shown, "site site-b writes in epoch 2")

	// Off a terminal nobody is asked.
	code, stdout, stderr := run(verb...)
	require.Equal(t, ExitRefused, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "not done: site site-b would write")
	require.Contains(t, stderr, "add --yes to do it, or --plan 1-2-3")
	require.EqualValues(t, 1, done.Load())
	code, stdout, stderr = run(append(verb, "--dry-run")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "plan 1-2-3\n")
	require.Regexp(t, `site-a +down +1m0\.?\d*s ago +no +yes +unknown`, stdout)
	code, _, stderr = run(append(verb, "--plan", "1-2-3")...)
	require.Zero(t, code, stderr)
	require.Equal(t, "1-2-3", plan.Load())
	code, _, stderr = run(append(verb, "--yes")...)
	require.Zero(t, code, stderr)
	require.EqualValues(t, 3, done.Load())
}

// TestOperatorsVerbsOnATerminalAndOffOne: the same facts, coloured where a person looks, and plain
// where a program reads.
func TestOperatorsVerbsOnATerminalAndOffOne(t *testing.T) {
	addr, _, _ := promotable(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"DEGRADED", []string{"status"}},
		{"site-b", []string{"lag"}},
		{"it writes", []string{"audit-trail", "--since", "1 hour ago"}},
		{"site-b", []string{"failover", "--to", "site-b", "--dry-run"}},
	} {
		args := append([]string{"admin", "replication"}, append(c.args, "--admin", addr)...)
		code, shown := typed(t, "", args...)
		require.Zero(t, code, "%v: %s", args, shown)
		require.Contains(t, shown, c.want)
		code, stdout, stderr := run(args...)
		require.Zero(t, code, "%v: %s", args, stderr)
		require.Contains(t, stdout, c.want)
		require.Empty(t, stderr)
		require.NotContains(t, stdout, "\x1b", "no colours off a terminal")
		if c.args[0] == "status" {
			require.Contains(t, shown, tty.Yellow, "colours on one")
		}
	}
}
