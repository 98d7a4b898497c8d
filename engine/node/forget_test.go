package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// settled lets everybody be told of everything.
func settled(w *world) { w.pass(5 * time.Second) }

// TestNameNobodyAnswersTo: it holds the floor while it is configured, is never written
// down, and can be forgotten, with what that loses; a peer that was heard cannot.
func TestNameNobodyAnswersTo(t *testing.T) {
	w := newWorld()
	a := w.addSite("site-a", 2, "site-a", "site-b", "site-bb")
	b := w.addSite("site-b", 2, "site-a", "site-a")
	a.open()
	b.open()
	settled(w)
	a.append(0, 3)
	a.append(1, 4)
	settled(w)
	log := wire.LogID{Site: a.c.Site}
	typo := wire.SiteIDOf("prod", "site-bb")
	require.Zero(t, a.node.Floor(Own, log).Seq)
	require.Equal(t, typo, a.node.Holder(Own, log))
	require.Len(t, a.peers, 1, "registered")

	look := &Forget{Site: typo, Only: true}
	a.step(look)
	require.NoError(t, look.Err)
	require.Equal(t, Loss{Shards: 2, Entries: 7}, look.Loss)
	require.Zero(t, a.node.Floor(Own, log).Seq)
	heard := &Forget{Site: b.c.Site}
	a.step(heard)
	require.ErrorIs(t, heard.Err, ErrLinked)
	nobody := &Forget{Site: 99}
	a.step(nobody)
	require.ErrorIs(t, nobody.Err, ErrNoPeer)

	a.step(&Forget{Site: typo})
	require.Equal(t, wire.Seq(3), a.node.Floor(Own, log).Seq)
	require.Len(t, a.node.Status(w.now()).Peers, 1)
	settled(w)
	require.NoError(t, w.fault)

	b.crash()
	a.crash()
	a.c.Peers = a.c.Peers[:0]
	for _, name := range []string{"site-b"} {
		a.c.Peers = append(a.c.Peers, Peer{Site: wire.SiteIDOf("prod", name), Name: name})
	}
	a.open()
	settled(w)
	heard = &Forget{Site: b.c.Site}
	a.step(heard)
	require.ErrorIs(t, heard.Err, ErrHeard, "heard in an earlier life")
	heard = &Forget{Site: b.c.Site, Gone: true}
	a.step(heard)
	require.NoError(t, heard.Err)
	require.True(t, heard.Heard)
}

// TestOldRegistrationIsForgotten: releases before registered a peer before they dialed
// it; one that confirmed nothing and was never heard leaves the control state.
func TestOldRegistrationIsForgotten(t *testing.T) {
	w := newWorld()
	a := w.addSite("site-a", 1, "site-a")
	typo := Peer{Site: wire.SiteIDOf("prod", "site-bb"), Name: "site-bb"}
	a.peers = []wire.RegisteredPeer{{Site: typo.Site, Name: typo.Name}}
	a.open()
	settled(w)
	require.Equal(t, "site-bb", a.node.Status(w.now()).Peers[0].Name)
	a.step(&Forget{Site: typo.Site})
	settled(w)
	require.Empty(t, a.peers)
	require.NoError(t, w.fault)
}

// TestMorePeersThanFit: renamed ones count, and are named.
func TestMorePeersThanFit(t *testing.T) {
	var c Config
	var b Boot
	for i := range 40 {
		c.Peers = append(c.Peers, Peer{Site: wire.SiteID(100 + i), Name: fmt.Sprint("new-", i)})
		b.Peers = append(b.Peers, wire.RegisteredPeer{Site: wire.SiteID(200 + i), Name: fmt.Sprint("old-", i)})
	}
	require.ErrorIs(t, Check(&c, &b), ErrPeers)
	require.ErrorContains(t, Check(&c, &b), "old-0, old-1, old-2 among them")
	b.Peers = b.Peers[:23]
	require.NoError(t, Check(&c, &b))
}

// TestMirrorFloorWaitsForPagesThatCome: for a site that mirrors the log and that this one
// dials, and for nobody else.
func TestMirrorFloorWaitsForPagesThatCome(t *testing.T) {
	for name, want := range map[string]bool{"all dial": true, "no address": true, "chain": true, "down": false} {
		w, a, b, c := trio()
		log := wire.LogID{Site: a.c.Site}
		switch name {
		case "no address": // only site-a dials
			for _, s := range []*site{b, c} {
				s.noDial = false
				for i := range s.c.Peers {
					s.c.Peers[i].NoAddress = true
				}
			}
		case "chain": // site-a and site-c know nothing of each other
			a.c.Peers = a.c.Peers[:1]
			a.c.Peers[0] = Peer{Site: b.c.Site, Name: b.name}
			c.c.Peers = []Peer{{Site: b.c.Site, Name: b.name}}
		}
		a.open()
		b.open()
		if name != "down" {
			c.open()
		}
		settled(w)
		a.append(0, 3)
		settled(w)
		settled(w)
		require.Equal(t, want, b.node.Floor(Mirror, log).Seq == 3, name)
		if !want {
			require.Equal(t, c.c.Site, b.node.Holder(Mirror, log), name)
		}
		require.NotZero(t, b.retains[Mirror], name)
		require.NoError(t, w.fault)
	}
}

// TestStandbyGivesBackWhatEarlierLivesLeft: nobody appends at a standby, so the floors of its own
// journal never rise; its segments hold control records, and each life begins one (I10).
func TestStandbyGivesBackWhatEarlierLivesLeft(t *testing.T) {
	w := newWorld()
	a := w.addSite("site-a", 1, "site-a", "site-b")
	b := w.addSite("site-b", 1, "site-a", "site-a")
	a.open()
	b.open()
	settled(w)
	before := b.retains[Own]
	require.NotZero(t, before, "the peer's registration was written")
	settled(w)
	require.Equal(t, before, b.retains[Own], "nothing changed")
	b.crash()
	b.open()
	settled(w)
	require.Equal(t, before+1, b.retains[Own])
	require.NoError(t, w.fault)
}
