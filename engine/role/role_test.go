package role

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// three is a role of site 1 among sites 1, 2 and 3, of which primary writes.
func three(primary wire.SiteID, founded bool) (*Role, []*Peer) {
	t := &step.Turn{C: step.Config{Site: 1, SiteName: "site-a", Primary: primary}, E: &step.Effects{}}
	r := New(t, founded)
	for site, name := range map[wire.SiteID]string{2: "site-b", 3: "site-c"} {
		t.Know(step.Peer{Site: site, Name: name})
	}
	r.Peers = []*Peer{
		{Peer: step.Peer{Site: 2, Name: "site-b"}, Configured: true},
		{Peer: step.Peer{Site: 3, Name: "site-c"}, Configured: true},
	}
	return r, r.Peers
}

// TestWriterIsJudgedByOneRule: domain, site and epoch of a batch (I5).
func TestWriterIsJudgedByOneRule(t *testing.T) {
	w := Writers{Primary: 1, Epoch: 2}
	for name, c := range map[string]struct {
		h    wire.BatchHeader
		code wire.RefusalCode
	}{
		"the primary's":     {h: wire.BatchHeader{Site: 1, Epoch: 2}},
		"another site's":    {h: wire.BatchHeader{Site: 2, Epoch: 2}, code: wire.RefuseNotWriter},
		"another domain's":  {h: wire.BatchHeader{Site: 1, Domain: 4, Epoch: 2}, code: wire.RefuseNotWriter},
		"of an older epoch": {h: wire.BatchHeader{Site: 1, Epoch: First}, code: wire.RefuseEpoch},
		"of a later epoch":  {h: wire.BatchHeader{Site: 1, Epoch: 3}, code: wire.RefuseEpoch},
	} {
		code, text := w.Judge(&c.h)
		require.Equal(t, c.code, code, name)
		require.Equal(t, code != 0, text != "", name)
	}
	require.False(t, Writers{}.Writes(1), "nobody is named")
}

// TestContradictionShutsUntilAgreed: a new directory believes a peer that names another
// primary, until that one takes the session.
func TestContradictionShutsUntilAgreed(t *testing.T) {
	r, peers := three(1, false)
	require.True(t, r.Contradict(peers[0], "site-b takes site-b"))
	require.True(t, r.Contradicted())
	require.Equal(t, "site-b takes site-b", r.Withheld())
	require.False(t, r.Settled())
	require.False(t, r.Agree(peers[1]), "another one agrees")
	require.True(t, r.Agree(peers[0]))
	require.False(t, r.Agree(peers[0]), "it did before")
	require.NoError(t, r.Check())
}

// TestFoundedDirectoryBelievesItself: what is on record is older than a peer's word.
func TestFoundedDirectoryBelievesItself(t *testing.T) {
	r, peers := three(1, true)
	require.False(t, r.Contradict(peers[0], "site-b takes site-b"))
	require.False(t, r.Contradicted())
	require.Empty(t, r.Withheld())
	require.True(t, r.Settled())
	require.NoError(t, r.Check())
}

// TestDirectoryIsFoundedByAllPeers: the last answer founds it, once.
func TestDirectoryIsFoundedByAllPeers(t *testing.T) {
	r, peers := three(1, false)
	require.Contains(t, r.Withheld(), "not heard: site-b, site-c")
	for _, p := range peers {
		r.Agreed()
		require.False(t, r.t.E.Found)
		p.Answered = true
	}
	require.True(t, r.AllAnswered())
	r.Agreed()
	require.True(t, r.t.E.Found)
	r.t.E.Reset()
	r.Agreed()
	require.False(t, r.t.E.Found, "it is on record")
	require.Equal(t, "every peer has answered", r.Unheard())
}

// TestDirectoryShowsItsWriter: logs say more than a record of this site, and that counts
// only beside peers. What counts for nothing is taken off.
func TestDirectoryShowsItsWriter(t *testing.T) {
	control := wire.LogID{Site: 1, Shard: wire.ShardControl}
	logs := func(sites ...wire.SiteID) []wire.LogID {
		ids := []wire.LogID{control}
		for _, site := range sites {
			ids = append(ids, wire.LogID{Site: site}, wire.LogID{Site: site, Shard: 1})
		}
		return ids
	}
	for name, c := range map[string]struct {
		d      Directory
		writer wire.SiteID
		stale  bool
	}{
		"new":                       {d: Directory{}},
		"started alone":             {d: Directory{Record: 1}, stale: true},
		"alone, holds entries":      {d: Directory{Record: 1, Logs: logs(1)}, writer: 1},
		"founded among peers":       {d: Directory{Record: 1, Peers: true}, writer: 1},
		"a standby":                 {d: Directory{Record: 2, Peers: true}, writer: 2},
		"a standby, not yet paired": {d: Directory{Record: 2}, writer: 2},
		"alone once, a standby now": {d: Directory{Record: 1, Peers: true, Logs: logs(2)}, writer: 2},
		"record lost":               {d: Directory{Logs: logs(2)}, writer: 2},
		"two histories, no record":  {d: Directory{Logs: logs(1, 2)}},
		"two histories":             {d: Directory{Record: 1, Logs: logs(1, 2)}, writer: 1},
	} {
		c.d.Site = 1
		c.d.Logs = append(c.d.Logs, control)
		require.Equal(t, c.writer, c.d.Writer(), name)
		require.Equal(t, c.stale, c.d.Stale(), name)
	}
}

// TestPeersLeftOutWithholdAppends: a flag may be missing.
func TestPeersLeftOutWithholdAppends(t *testing.T) {
	r, peers := three(1, true)
	for _, p := range peers {
		p.Configured, p.Registered = false, true
	}
	require.True(t, r.Left())
	require.Contains(t, r.Withheld(), "had peers (site-b, site-c)")
	peers[0].Configured = true
	require.False(t, r.Left())
	standby, _ := three(2, false)
	require.Empty(t, standby.Withheld(), "it does not write")
}

// TestHelloNamesTheWriter: both ends name the same one, or the refusal says what to do.
func TestHelloNamesTheWriter(t *testing.T) {
	r, _ := three(2, false)
	require.False(t, r.Own())
	raise, why := r.Hear(&wire.Hello{SiteName: "site-b", Primary: 2})
	require.Nil(t, why)
	require.Zero(t, raise)
	_, why = r.Hear(&wire.Hello{SiteName: "site-b", Primary: 1})
	require.Equal(t, wire.RefusePrimary, why.Code)
	require.Equal(t, `site "site-b" takes site-a for the primary, site "site-a" takes site-b: `+
		"name the one that has the data, at every site", why.Text)
}

// TestHigherEpochIsTakenOver: of two sites, the one with the lower epoch follows, whoever
// dials; an epoch of a stranger is refused (I5).
func TestHigherEpochIsTakenOver(t *testing.T) {
	second, err := Next(First, 2)
	require.NoError(t, err)
	r, _ := three(1, true)
	raise, why := r.Hear(&wire.Hello{SiteName: "site-b", Primary: 2, Epoch: second})
	require.Nil(t, why)
	require.Equal(t, second, raise)
	raise, why = r.Fenced(second, "site-b")
	require.Nil(t, why)
	require.Equal(t, second, raise)
	_, why = r.Hear(&wire.Hello{SiteName: "site-b", Primary: 9, Epoch: 2<<32 | 9})
	require.Equal(t, wire.RefusePrimary, why.Code)
	require.ErrorContains(t, why, "site 00000009 writes in epoch 2.00000009, and site \"site-a\" has no such peer")

	r.Epoch, r.Primary = second, 2
	_, why = r.Hear(&wire.Hello{SiteName: "site-c", Primary: 1})
	require.Equal(t, wire.RefuseFenced, why.Code)
	raise, why = r.Fenced(second, "site-b")
	require.Nil(t, why)
	require.Zero(t, raise, "it was taken over since")
}

// TestRoleWaitsForNoTimer: there are no leases yet.
func TestRoleWaitsForNoTimer(t *testing.T) {
	r, peers := three(1, false)
	r.Tick()
	require.Equal(t, step.Never, r.Due())
	peers[0].Site = 9
	require.Error(t, r.Check(), "peers out of order")
}
