package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/wire"
)

// story is what one site answers.
type story struct {
	rows    []wire.Ref
	digest  string
	applied uint64
	paths   []string
}

func (s *story) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	encoder := json.NewEncoder(w)
	switch strings.TrimPrefix(r.URL.Path, "/v1/fs/") {
	case "digest":
		_ = encoder.Encode(fsapi.Digest{Schema: 1, Hash: s.digest, Applied: s.applied})
	case "decided":
		for i, ref := range s.rows {
			_ = encoder.Encode(fsapi.DecidedRow{
				Row: uint64(i + 1), Incarnation: ref.Incarnation.String(), Shard: uint32(ref.Log.Shard),
				Site: uint32(ref.Log.Site), Seq: uint64(ref.Seq),
			})
		}
	case "walk":
		for _, path := range s.paths {
			_ = encoder.Encode(fsapi.WalkRow{Path: path})
		}
	}
}

func compareStories(t *testing.T, acked ledger, a, b *story) findings {
	t.Helper()
	p := &pair{}
	for i, s := range []*story{a, b} {
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		p.clients[i] = fsclient.New(strings.TrimPrefix(server.URL, "http://"))
	}
	f, err := p.compare(t.Context(), acked)
	require.NoError(t, err)
	return f
}

// A comparison that finds nothing is only worth something if it finds what is
// there: each kind of difference is planted once (I1, I2, I3, I7).
func TestEveryKindOfDifferenceIsFound(t *testing.T) {
	acked := ledger{ref(1, 2): 1, ref(1, 3): 1, ref(4, 2): 1}
	whole := func() *story {
		return &story{
			rows:   []wire.Ref{ref(1, 2), ref(4, 2), ref(1, 3)},
			digest: "aa", applied: 9, paths: []string{"/", "/x"},
		}
	}
	equal := compareStories(t, acked, whole(), whole())
	require.Equal(t, findings{entries: 3, digest: "aa"}, equal)

	for _, c := range []struct {
		name             string
		change           func(a, b *story)
		lost, duplicated int
		difference       string
	}{
		{"a row twice at one site", func(_, b *story) { b.rows = append(b.rows, ref(1, 3)) }, 0, 1,
			"1 rows repeat an entry"},
		{"an acknowledged entry missing at site-b", func(_, b *story) { b.rows = b.rows[:2] }, 1, 0,
			"site-b has no row for the acknowledged entry (shard 1, seq 3)"},
		{"an acknowledged entry missing at both", func(a, b *story) { a.rows, b.rows = a.rows[:2], b.rows[:2] }, 2, 0,
			"site-a has no row for the acknowledged entry (shard 1, seq 3)"},
		{"more entries at one site", func(a, _ *story) { a.rows = append(a.rows, ref(1, 4)) }, 0, 0,
			"site-a decided 4 entries, site-b decided 3"},
		{"a hole in a log", func(a, b *story) {
			a.rows, b.rows = append(a.rows, ref(1, 5)), append(b.rows, ref(1, 5))
		}, 0, 0, "between seq 2 and 5"},
		{"another content", func(_, b *story) { b.digest, b.paths = "bb", []string{"/", "/y"} }, 0, 0,
			"/x is missing at site-b"},
		{"another position", func(_, b *story) { b.applied = 8 }, 0, 0, "site-a has applied up to 9, site-b up to 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := whole(), whole()
			c.change(a, b)
			f := compareStories(t, acked, a, b)
			require.Equal(t, c.lost, f.lost)
			require.Equal(t, c.duplicated, f.duplicated)
			require.Contains(t, f.difference, c.difference)
		})
	}
}

func TestVerdictsAreOneLine(t *testing.T) {
	v := &Verdict{OK: true, Sites: 2, Entries: 10, Bytes: 99, Rate: 5, Kills: 6, Digest: "ab"}
	require.Equal(t, "demo: ok sites=2 entries=10 bytes=99 rate=5/s kills=6 lost=0 duplicated=0 digest=ab", v.Line())
	v.OK, v.Lost, v.Difference = false, 1, "/a\nb differs"
	require.Equal(t, `demo: FAILED sites=2 entries=10 bytes=99 rate=5/s kills=6 lost=1 duplicated=0`+
		` difference="/a\nb differs"`, v.Line())
	c := &CrashVerdict{OK: true, Cycles: 300, Acked: 7}
	require.Equal(t, "crash: cycles=300 acked=7 lost=0 duplicated=0", c.Line())
	c.OK, c.Duplicated, c.Difference = false, 2, "x"
	require.Equal(t, fmt.Sprintf("crash: FAILED cycles=300 acked=7 lost=0 duplicated=2 difference=%q", "x"), c.Line())
}
