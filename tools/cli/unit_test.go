package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/wire"
)

func TestSizesAreReadAndWrittenForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1992294: "1.9 MiB", 3 << 40: "3.0 TiB",
	} {
		require.Equal(t, want, humanBytes(n))
	}
	var s size
	for text, want := range map[string]int64{"4096": 4096, "64MiB": 64 << 20, "1 GiB": 1 << 30} {
		require.NoError(t, s.Set(text))
		require.Equal(t, want, int64(s))
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "64MB", "9999999TiB", "99999999999999999999"} {
		require.Error(t, s.Set(text), text)
	}
}

func TestTimesAreWrittenForPeople(t *testing.T) {
	for s, want := range map[float64]string{
		0: "0s", 0.00031: "310µs", 0.0452: "45.2ms", 0.4: "0.4s", 12.44: "12.4s", 190: "3m10s",
	} {
		require.Equal(t, want, humanSeconds(s))
	}
	require.Equal(t, "1,234,567", humanCount(1234567))
	require.Equal(t, "-123", humanCount(-123))
	require.Equal(t, "999", humanCount(999))
}

func TestErrorsEndWithTheirExitCode(t *testing.T) {
	wrapped := fmt.Errorf("outer: %w", failure(ExitRefused, errors.New("inner"), "do this"))
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, ExitDone, ""},
		{errors.New("x"), ExitFailed, "error: x\n"},
		{usage("n", "bad %d", 1), ExitUsage, "error: bad 1\nnext: n\n"},
		{wrapped, ExitRefused, "error: inner\nnext: do this\n"},
		{errors.Join(errors.New("a"), errors.New("b"), errors.New("a")), ExitFailed, "error: a; b\n"},
		{fmt.Errorf("a: %w", remote.ErrUnreachable), ExitUnreachable, "error: a: no node answers\nnext: start"},
		{context.DeadlineExceeded, ExitTimeout, "error: context deadline exceeded\n"},
		{context.Canceled, ExitFailed, "error: interrupted\n"},
	} {
		var b bytes.Buffer
		require.Equal(t, c.code, report(&b, c.err))
		require.True(t, strings.HasPrefix(b.String(), c.text), b.String())
	}
}

func TestStatusIsAskedOverHTTP(t *testing.T) {
	answer := `{"schema":1,"kind":"status","site":"site-a",
		"peers":[{"site":"site-b","applied":{"lag_state":"unknown"}}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/v1/status", r.URL.Path)
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	code, stdout, stderr := run("admin", "replication", "lag", "--admin", addr, "-o", "jsonl")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"peer":"site-b"`)

	// What answers, but not as a node, is not mistaken for one.
	for _, answer = range []string{"hello", `{"schema":2,"kind":"status"}`, `{}`} {
		code, stdout, stderr = run("admin", "replication", "status", "--admin", addr)
		require.Equal(t, ExitFailed, code)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "not an answer of a cfs node")
	}
}

// Watching goes on over a node that does not answer, and ends without an error.
func TestWatchEndsWhenItIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"schema":1,"kind":"status","site":"site-a"}`)
		cancel()
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	a := &app{stdout: tty.New(&stdout), stderr: tty.New(&stderr)}
	o := &output{format: FormatJSONL, stdout: &stdout}
	show := func(_ io.Writer, o *output, s *engine.Status) error { return o.object(s) }
	require.NoError(t, a.watch(ctx, strings.TrimPrefix(server.URL, "http://"), o, show))
	require.Contains(t, stderr.String(), "no node answers")
	require.Equal(t, 2, asked)
}

func TestPeersWithSeveralAddressesAreOnePeer(t *testing.T) {
	f := &serverFlags{site: "site-a", peers: []string{"site-b=h:1", "site-c=h:2", "site-b=[::1]:3"}}
	peers, err := f.parsePeers()
	require.NoError(t, err)
	require.Equal(t, []engine.Peer{
		{Site: "site-b", Addrs: []string{"h:1", "[::1]:3"}}, {Site: "site-c", Addrs: []string{"h:2"}},
	}, peers)
}

// Whatever a file holds, dump prints what it can and tells where it cannot.
func TestDumpGoesOnBehindDamage(t *testing.T) {
	hello := wire.Hello{
		VersionMin: 1, VersionMax: 1, DigestKind: wire.DigestXXH3, Term: 1, Counter: 1, Epoch: 1, Shards: 256,
		Cluster: wire.ClusterIDOf("try"), Site: wire.SiteIDOf("try", "site-a"), Peer: wire.SiteIDOf("try", "site-b"),
		Primary: wire.SiteIDOf("try", "site-a"), ClusterName: "try", SiteName: "site-a", PeerName: "site-b",
	}
	ack := wire.Ack{Level: wire.LevelDurable, Number: 7}
	intact := ack.AppendTo(hello.AppendTo(nil, 0), 1)
	path := filepath.Join(t.TempDir(), "link.frames")
	require.NoError(t, os.WriteFile(path, intact, 0o644))
	code, stdout, stderr := run("dump", "frame", path)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `cluster "try"  site-a to site-b`)
	require.Contains(t, stdout, "durable up to frame 7")

	for at := range intact {
		damaged := bytes.Clone(intact)
		damaged[at] ^= 0x40
		require.NoError(t, os.WriteFile(path, damaged, 0o644))
		code, _, stderr := run("dump", "frame", path, "-o", "json")
		require.Equal(t, ExitFailed, code, "bit flipped at %d", at)
		require.Contains(t, stderr, "damage at 1 place")
	}
}

// Whoever answers and is no node: the fact, and the next step, by every verb that asks.
func TestAnswerOfNoNodeHasANextStep(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600))
	verbs := [][]string{
		{"admin", "replication", "status"}, {"admin", "replication", "lag"},
		{"fs", "ls"}, {"fs", "stat", "/x"}, {"fs", "cat", "/x"}, {"fs", "digest"},
		{"fs", "mv", "/x", "/y"}, {"fs", "rm", "/x"}, {"fs", "import", dir},
	}
	for name, is := range map[string]http.HandlerFunc{
		"no such page": http.NotFound,
		"a host without a file system": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no such path","next":"try /v1/status"}`)
		},
		"it fails": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "oops", http.StatusBadGateway)
		},
		"a page":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>some page</html>") },
		"of JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"names":[],"of":"something else"}`) },
	} {
		server := httptest.NewServer(is)
		defer server.Close()
		at := strings.TrimPrefix(server.URL, "http://")
		for _, verb := range verbs {
			if verb[1] == "cat" && (name == "a page" || name == "of JSON") {
				continue // a file's content may be just that
			}
			var stdout, stderr bytes.Buffer
			code := Main(append(verb, "--admin", at), nil, &stdout, &stderr)
			require.Equal(t, ExitFailed, code, "%s: %v: %s", name, verb, stderr.String())
			require.Empty(t, stdout.String())
			require.Regexp(t, `(?m)^error: admin `+at+`: .*not an answer of a cfs node.*\nnext: name the admin address`,
				stderr.String(), "%s: %v", name, verb)
		}
	}
}
