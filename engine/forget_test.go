package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/stretchr/testify/require"
)

// fill appends 20 MB, over segments of 4, and goes on until so few of a journal are left.
func (s *site) fill(journal int, of *site, most int, level engine.Level) {
	s.t.Helper()
	payload := strings.Repeat("x", 500_000)
	for i := range 40 {
		s.put(engine.Shard(i%4), fmt.Sprint(i), payload, level)
	}
	for ctx := soon(s.t); of.Status().Journals[journal].Segments > most; pause() {
		s.put(0, "more", "v", level)
		require.NoError(s.t, ctx.Err(), "kept for %q", of.Status().Journals[journal].HeldBy)
	}
}

// TestMistypedPeerIsNotKeptFor: one start with a wrong name, to which nothing was ever
// sent, leaves no trace; while it is configured it can be forgotten (I10, I12).
func TestMistypedPeerIsNotKeptFor(t *testing.T) {
	a, b := pair(t)
	right := a.options.Peers
	a.options.Peers = []engine.Peer{{Site: "site-bb", Addrs: []string{"site-bb"}}}
	a.start()
	payload := strings.Repeat("x", 500_000)
	for i := range 40 {
		a.put(engine.Shard(i%4), fmt.Sprint(i), payload, engine.AppliedHere)
	}
	require.Equal(t, "site-bb", a.Status().Journals[0].HeldBy)
	_, err := a.Forget("site-b", engine.ForgetOptions{})
	require.ErrorIs(t, err, engine.ErrOptions)
	report, err := a.Forget("site-bb", engine.ForgetOptions{Only: true})
	require.NoError(t, err)
	require.False(t, report.Done)
	require.GreaterOrEqual(t, report.Entries, int64(40))
	require.Greater(t, report.JournalSegments, 3)
	a.end()

	a.options.Peers = right
	b.start()
	a.start()
	a.fill(0, a, 3, engine.Applied(1))
	_, err = a.Forget("site-b", engine.ForgetOptions{Gone: true})
	require.ErrorIs(t, err, engine.ErrLinked)
	a.end()
	b.end()

	a.options.Peers = append(right[:1:1], engine.Peer{Site: "site-bb", Addrs: []string{"site-bb"}})
	b.start()
	a.start()
	report, err = a.Forget("site-bb", engine.ForgetOptions{})
	require.NoError(t, err)
	require.True(t, report.Done)
	a.fill(0, a, 3, engine.Applied(1))
	require.Len(t, a.Status().Peers, 1)
}

// TestRenamedPeersOpen: names that nobody answered to count no more once they are not
// configured.
func TestRenamedPeersOpen(t *testing.T) {
	a, _ := pair(t)
	for _, prefix := range []string{"old", "new"} {
		a.options.Peers = nil
		for i := range 40 {
			name := fmt.Sprintf("%s-%d", prefix, i)
			a.options.Peers = append(a.options.Peers, engine.Peer{Site: name, Addrs: []string{name}})
		}
		a.start()
		a.end()
	}
}

// TestMirrorIsKeptForWhoMayAsk: what no page can come of holds no segment of a standby's
// mirror; a standby that is down does, and status names it (I10, I12).
func TestMirrorIsKeptForWhoMayAsk(t *testing.T) {
	for name, prepare := range map[string]func(a, b, c *site){
		"all dial": func(_, _, _ *site) {},
		"only the primary dials": func(_, b, c *site) {
			for _, s := range []*site{b, c} {
				for i := range s.options.Peers {
					s.options.Peers[i].Addrs = nil
				}
			}
		},
		"chain": func(a, _, c *site) {
			a.options.Peers = a.options.Peers[:1]
			c.options.Peers[0].Addrs = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, c := trio(t)
			prepare(a, b, c)
			for _, s := range []*site{b, c, a} {
				s.start()
			}
			a.fill(1, b, 3, engine.Applied(len(a.options.Peers)))
			if name != "all dial" {
				return
			}
			c.end()
			payload := strings.Repeat("x", 500_000)
			for i := range 40 {
				a.put(engine.Shard(i%4), fmt.Sprint(i), payload, engine.Applied(1))
			}
			require.Equal(t, "site-c", b.Status().Journals[1].HeldBy)
		})
	}
}
