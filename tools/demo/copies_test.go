package demo

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/wire"
)

// judgeCopy is what is found wrong with a copy that shows one story of a site that
// shows another.
func judgeCopy(t *testing.T, copied, site *story) string {
	t.Helper()
	client := func(s *story) *fsclient.Client {
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		return fsclient.New(strings.TrimPrefix(server.URL, "http://"))
	}
	c := &copies{pair: &pair{}, client: client(copied), pending: map[seqKey]string{}}
	c.pair.clients[0] = client(site)
	require.NoError(t, c.read(t.Context()))
	require.NoError(t, c.settle(t.Context()))
	require.Empty(t, c.pending)
	return c.first
}

func TestCopyMustShowAPrefix(t *testing.T) {
	site := &story{rows: []wire.Ref{ref(1, 2), ref(1, 3), ref(1, 4), ref(2, 2)}}
	for name, c := range map[string]struct {
		rows []wire.Ref
		want string
	}{
		"nothing":              {nil, ""},
		"a prefix of each log": {site.rows[:2], ""},
		"everything":           {site.rows, ""},
		"a hole":               {[]wire.Ref{ref(1, 2), ref(1, 4)}, "2 entries decided between seq 2 and 4"},
		"an entry twice":       {[]wire.Ref{ref(1, 2), ref(1, 2)}, "repeats 1 entries"},
		"an entry of nobody":   {[]wire.Ref{ref(3, 2)}, "has decided shard 3, seq 2"},
	} {
		t.Run(name, func(t *testing.T) {
			found := judgeCopy(t, &story{rows: c.rows}, site)
			if c.want == "" {
				require.Empty(t, found)
			}
			require.Contains(t, found, c.want)
		})
	}
}

func TestCopyThatIsRefusedMustSayWhy(t *testing.T) {
	for log, want := range map[string]string{
		"error: segment 3 is damaged\n":      "",
		" \n":                                "ended without a word",
		"panic: x\n\ngoroutine 1 [running]:": "crashed: panic: x",
	} {
		c := &copies{server: &process{logPath: filepath.Join(t.TempDir(), "log")}}
		require.NoError(t, os.WriteFile(c.server.logPath, []byte(log), 0o600))
		c.refusal()
		require.Equal(t, 1, c.refused)
		require.Contains(t, c.first, want)
		if want == "" {
			require.Empty(t, c.first)
		}
	}
}
