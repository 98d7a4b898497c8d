package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// unnamed leaves the primary to the directory, or to the names of the sites.
func (s *site) unnamed() *site {
	s.options.Primary = ""
	return s
}

// TestDirectoryKnowsItsWriter: who writes does not move with the names of the sites, and
// an option that says otherwise is refused with the fact and what to do.
func TestDirectoryKnowsItsWriter(t *testing.T) {
	net := linktest.NewMemory()
	paris, rome := newSite(t, net, "paris", "rome").unnamed(), newSite(t, net, "rome", "paris").unnamed()
	paris.start()
	rome.start()
	paris.put(1, "k", "v1", engine.Applied(1))
	paris.end()
	rome.end()
	for _, s := range []*site{paris, rome} {
		s.options.Peers = append(s.options.Peers, engine.Peer{Site: "berlin", Addrs: []string{"berlin"}})
	}
	rome.options.Primary = "rome"
	require.ErrorIs(t, rome.refused(), engine.ErrOptions)
	require.ErrorContains(t, rome.refused(), "site paris writes this cluster")
	require.ErrorContains(t, rome.refused(), "name paris, or none")
	rome.unnamed()
	berlin := newSite(t, net, "berlin", "paris", "rome").unnamed()
	for _, s := range []*site{berlin, paris, rome} {
		s.start()
	}
	paris.put(1, "k", "v2", engine.Applied(1))
	require.Equal(t, "paris", rome.Status().Primary)
	_, err := rome.Append(soon(t), 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStandby)
	_, err = berlin.Append(soon(t), 1, entry("k", "v of berlin"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStopped)
	require.ErrorContains(t, err, "takes paris")
	st := berlin.Status()
	require.Equal(t, "FAILED", st.Health)
	require.Equal(t, "refused", st.Appends.State)
	require.Contains(t, st.Appends.Reason, "takes paris")

	berlin.end()
	berlin.options.Primary = "paris"
	berlin.start()
	ref := paris.put(1, "k", "v3", engine.Local)
	require.NoError(t, paris.Wait(soon(t), ref, engine.Applied(2)))
	require.Equal(t, "v3", berlin.value(1, "k"))
}

// TestSiteThatHadPeersDoesNotWriteAlone: neither a standby nor the primary, whose options
// name no peer by mistake.
func TestSiteThatHadPeersDoesNotWriteAlone(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	b.unnamed().start()
	a.put(1, "k", "v", engine.Applied(1))
	a.end()
	b.end()
	a.options.Peers, b.options.Peers = nil, nil
	b.start()
	_, err := b.Append(soon(t), 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStandby)
	require.Equal(t, "site-a", b.Status().Primary)
	require.NotEqual(t, "OK", b.Status().Health)
	b.end()
	b.loseJournal("own")
	b.start()
	require.NotEqual(t, "site-b", b.Status().Primary, "the mirror and the Store show who writes")
	_, err = b.Append(soon(t), 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStandby)
	a.start()
	_, err = a.Append(soon(t), 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrStopped)
	require.ErrorContains(t, err, "had peers (site-b)")
	require.Equal(t, "FAILED", a.Status().Health)
	require.Contains(t, a.Status().Reason, "name them again")
}

// TestNewDirectoryWaitsForItsPeers: the first of a new cluster to be started takes
// appends once the other one agrees, however late that is; or at once if it is named.
func TestNewDirectoryWaitsForItsPeers(t *testing.T) {
	a, b := pair(t)
	a.unnamed().start()
	ctx, cancel := context.WithTimeout(t.Context(), 5*a.options.VerifyWait)
	defer cancel()
	_, err := a.Append(ctx, 1, entry("k", "v"), engine.Local)
	require.ErrorIs(t, err, engine.ErrUnavailable)
	require.ErrorContains(t, err, "not heard: site-b")
	require.Equal(t, "waiting", a.Status().Appends.State)
	require.Contains(t, a.Status().Appends.Reason, "a new directory")
	b.unnamed().start()
	a.put(1, "k", "v", engine.Applied(1))
	for a.Status().Appends.Verified < a.options.Shards {
		require.NoError(t, soon(t).Err())
	}
}

// TestUnverifiedEndsWithTheLastPeer: logs that nothing was ever appended to are verified,
// too, once every peer was heard, and not before.
func TestUnverifiedEndsWithTheLastPeer(t *testing.T) {
	a, b, c := trio(t)
	a.start()
	a.awaitEvent("unverified")
	b.start()
	a.put(1, "k", "v", engine.Durable(1))
	require.Equal(t, a.options.Shards, a.Status().Appends.Unverified, "site-c may have more")
	require.Equal(t, "DEGRADED", a.Status().Health)
	c.start()
	for ctx := soon(t); a.Status().Appends.Verified < a.options.Shards; pause() {
		require.NoError(t, ctx.Err())
	}
	require.Zero(t, a.Status().Appends.Unverified)
}

// heard says whether an event with this text was told.
func (s *site) heard(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.events, func(e engine.Event) bool { return strings.Contains(e.Text, text) })
}

// TestStartAloneMakesNoSecondWriter: a new site that was started without its peers by
// mistake, and is given them before it held anything, writes in no later life either,
// whatever its peers had sent by then (I5).
func TestStartAloneMakesNoSecondWriter(t *testing.T) {
	for name, sent := range map[string]bool{"idle": false, "sent": true} {
		t.Run(name, func(t *testing.T) {
			a, b, _ := trio(t)
			peers := b.options.Peers
			b.options.Peers = nil
			b.unnamed().start()
			require.Equal(t, "site-b", b.Status().Primary)
			b.end()
			b.options.Peers = peers
			a.start()
			b.start()
			for ctx := soon(t); !b.heard("site-a answered"); <-b.told {
				require.NoError(t, ctx.Err())
			}
			if sent {
				a.put(1, "k", "v", engine.Durable(1))
			}
			b.end()
			b.start()
			require.Equal(t, "site-a", b.Status().Primary)
			_, err := b.Append(soon(t), 1, entry("k", "v of b"), engine.Local)
			require.ErrorIs(t, err, engine.ErrStandby)
		})
	}
}
