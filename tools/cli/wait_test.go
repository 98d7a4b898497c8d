package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWaitEndsWhenAllHolds: not with the first of several, and not before.
func TestWaitEndsWhenAllHolds(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := behindStatus()
		s.Role, s.Primary, s.Epoch = "standby", "site-c", 1
		s.Peers[0].Learner = true
		switch n := asked.Add(1); {
		case n == 1:
			panic(http.ErrAbortHandler) // it is not there yet
		case n >= 4:
			s.Peers[0].Learner = false
			fallthrough
		case n == 3:
			s.Role, s.Primary, s.Epoch = "primary", "site-a", 7<<32|5
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	verb := []string{"admin", "replication", "wait", "--admin", strings.TrimPrefix(server.URL, "http://")}
	code, stdout, stderr := run(append(verb, "--for", "role=primary", "--for", "epoch=7", "--for", "member=site-b")...)
	require.Zero(t, code, stderr)
	require.Regexp(t, `^site-a: role=primary, epoch=7, member=site-b, after `, stdout)
	require.EqualValues(t, 4, asked.Load())

	code, stdout, stderr = run(append(verb, "--for", "epoch=8", "--for", "role=primary", "--timeout", "1s")...)
	require.Equal(t, ExitTimeout, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "not within 1s: epoch=8; it is primary in epoch 7.00000005")
	code, _, stderr = run(append(verb, "--for", "member=site-x", "--timeout", "1ms")...)
	require.Contains(t, []int{ExitTimeout, ExitUnreachable}, code, stderr)

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	code, _, stderr = run("admin", "replication", "wait", "--for", "role=standby", "--timeout", "1s", "--admin",
		strings.TrimPrefix(gone.URL, "http://"))
	require.Equal(t, ExitUnreachable, code, stderr)
	for _, bad := range []string{
		"", "role", "role=writer", "epoch=x", "epoch=-1", "member=", "member=A B", "appends=no",
	} {
		code, _, stderr := run(append(verb, "--for", bad)...)
		require.Equal(t, ExitUsage, code, "%q: %s", bad, stderr)
	}
	code, _, _ = run(verb...)
	require.Equal(t, ExitUsage, code)
}
