package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// joined is a pair with some history, and a third site that nobody knows yet.
func joined(t *testing.T) (w *world, a, b, c *site) {
	w = newWorld()
	a = w.addSite("site-a", 2, "site-a", "site-b")
	b = w.addSite("site-b", 2, "site-a", "site-a")
	c = w.addSite("site-c", 2, "site-a", "site-a", "site-b")
	a.open()
	b.open()
	settled(w)
	a.append(0, 3)
	a.append(1, 4)
	settled(w)
	c.open()
	settled(w)
	require.True(t, w.heard("site-c: refused! site site-a refused us: site \"site-c\""), w.said)
	return w, a, b, c
}

func (w *world) heard(text string) bool {
	for _, said := range w.said {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}

// add takes a site in at these.
func (w *world) add(t *testing.T, c *site, at ...*site) {
	for _, s := range at {
		in := &AddPeer{Peer: Peer{Site: c.c.Site, Name: c.name}, Addrs: []string{"addr of " + c.name}}
		s.step(in)
		require.NoError(t, in.Err)
	}
}

func (s *site) peerStatus(t *testing.T, name string) PeerStatus {
	for _, p := range s.node.Status(s.w.now()).Peers {
		if p.Name == name {
			return p
		}
	}
	require.Fail(t, s.name+" has no peer "+name)
	return PeerStatus{}
}

// TestLearnerCountsOnceItHoldsEverything: until then nothing that it confirms is passed on, and it
// holds what it needs; over a restart, too (I1, I12).
func TestLearnerCountsOnceItHoldsEverything(t *testing.T) {
	w, a, b, c := joined(t)
	log := wire.LogID{Site: a.c.Site}
	c.noFlush = true
	w.add(t, c, a, b)
	settled(w)
	p := a.peerStatus(t, "site-c")
	require.True(t, p.Learner && p.OnRecord)
	require.EqualValues(t, 7, p.Durable.Entries)
	require.Zero(t, a.node.Floor(Own, log).Seq)
	require.Equal(t, c.c.Site, a.node.Holder(Own, log))
	require.True(t, a.records[0].Learner)

	a.crash()
	a.open()
	settled(w)
	require.True(t, a.peerStatus(t, "site-c").Learner)
	require.Zero(t, a.counted[c.c.Site], "nothing of a learner counts")

	c.noFlush = false
	c.flush(Mirror)
	settled(w)
	require.True(t, w.heard("site-a: site-full site site-c holds everything"), w.said)
	require.False(t, a.peerStatus(t, "site-c").Learner)
	require.False(t, a.records[0].Learner)
	require.NotZero(t, a.counted[c.c.Site])
	require.EqualValues(t, 4, a.node.Floor(Own, wire.LogID{Site: a.c.Site, Shard: 1}).Seq)
	before := a.counted[c.c.Site]
	a.append(0, 1)
	settled(w)
	require.Greater(t, a.counted[c.c.Site], before)
	require.NoError(t, w.fault)
}

// TestLearnerWithoutItsStoreIsNotFull: how far its Store is counts as well.
func TestLearnerWithoutItsStoreIsNotFull(t *testing.T) {
	w, a, b, c := joined(t)
	c.noApply = true
	w.add(t, c, a, b)
	settled(w)
	p := a.peerStatus(t, "site-c")
	require.True(t, p.Learner)
	require.Zero(t, p.Durable.Entries)
	require.Zero(t, a.counted[c.c.Site])
	require.NoError(t, w.fault)
}

// TestNamelessLearnerIsNotWaitedFor: one that never answered has nothing of this site, so that
// restarts need not hear it; they do once it was heard.
func TestNamelessLearnerIsNotWaitedFor(t *testing.T) {
	w, a, b, c := joined(t)
	c.crash()
	w.add(t, c, a, b)
	settled(w)
	w.said = nil
	a.crash()
	a.open()
	settled(w)
	require.Equal(t, 2, a.node.Status(w.now()).Admission[AdmitVerified], w.said)
	c.open()
	settled(w)
	c.crash()
	a.crash()
	a.open()
	settled(w)
	require.Equal(t, 2, a.node.Status(w.now()).Admission[AdmitUnverified])
	require.NoError(t, w.fault)
}

// TestLearnerHoldsNothingItCannotGet: what follows its position is gone, so that it gets the
// state; what is written meanwhile is not kept for it. A full peer's needs hold (I12).
func TestLearnerHoldsNothingItCannotGet(t *testing.T) {
	w, a, b, c := joined(t)
	a.own.base = 2 // of seven batches, in both logs
	w.add(t, c, a, b)
	settled(w)
	p := a.peerStatus(t, "site-c")
	require.True(t, p.Learner)
	require.Len(t, p.Stopped, 2)
	require.Equal(t, wire.RefuseNotRetained, p.Stopped[0].Code)
	require.Equal(t, a.own.tail(p.Stopped[0].Log).Position, a.node.Floor(Own, p.Stopped[0].Log))
	require.NoError(t, w.fault)
}

// TestRemovedSiteIsRefused: it is told why, also after restarts and whatever the configuration
// says, until it is taken in again. Nothing is kept for it, and nothing of it counts.
func TestRemovedSiteIsRefused(t *testing.T) {
	w, a, b, c := joined(t)
	w.add(t, c, a, b)
	settled(w)
	c.noFlush = true
	a.append(0, 2)
	settled(w)
	look := &Forget{Site: c.c.Site, Only: true, Remove: true}
	a.step(look)
	require.NoError(t, look.Err)
	require.Equal(t, Loss{Shards: 1, Entries: 2}, look.Loss)
	writer := &Forget{Site: a.c.Site, Remove: true}
	b.step(writer)
	require.ErrorIs(t, writer.Err, ErrWriter)

	for _, s := range []*site{a, b} {
		s.step(&Forget{Site: c.c.Site, Remove: true, By: "admin 10.0.0.9:4000"})
	}
	require.EqualValues(t, 5, a.node.Floor(Own, wire.LogID{Site: a.c.Site}).Seq)
	require.True(t, w.heard("site-a: site site-c has lost what it confirmed of shard 1"), w.said)
	settled(w)
	refused := func() {
		w.said = nil
		w.pass(time.Minute)
		text := "site-c: refused! site site-a refused us: site site-c was removed from cluster prod at site " +
			"site-a by admin 10.0.0.9:4000 on "
		require.True(t, w.heard(text), w.said)
		p := c.peerStatus(t, "site-a")
		require.Equal(t, "refused", p.Link)
		require.Contains(t, p.Reason, "cfs admin replication sites add site-c --addr ADDR")
		require.Len(t, a.node.Status(w.now()).Peers, 1)
	}
	refused()
	a.crash()
	a.c.Peers = append(a.c.Peers, Peer{Site: c.c.Site, Name: "site-c"})
	a.open()
	refused()
	require.Len(t, a.node.Removed(), 1)

	c.noFlush = false
	w.add(t, c, a, b)
	settled(w)
	require.Empty(t, a.node.Removed())
	require.Equal(t, a.own.batches, c.mirror.batches)
	require.Equal(t, "live", c.peerStatus(t, "site-a").Link)
	require.Empty(t, a.removed)
	require.Len(t, a.records, 1)
	require.NoError(t, w.fault)
}

// TestSitesComeAndGoWhileRecordsWait: what was asked for last counts, also where writing failed
// or something older was on its way (I12).
func TestSitesComeAndGoWhileRecordsWait(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w, a, b, c := joined(t)
		var first []*Persist
		for n := range 3 {
			w.add(t, c, a)
			a.step(&Forget{Site: c.c.Site, Remove: true})
			require.Len(t, a.effects.Persists, 0)
			if n == 0 {
				first = append(first, a.node.control.persisting)
			}
		}
		w.add(t, c, a)
		require.False(t, a.node.Recorded())
		if fails {
			a.work = nil
			a.step(&Persisted{Ticket: first[0].Ticket, Err: fmt.Errorf("no space")})
		}
		w.add(t, c, b)
		settled(w)
		require.True(t, a.node.Recorded())
		require.Empty(t, a.removed)
		require.Len(t, a.records, 1)
		require.Len(t, a.peers, 2, "registered")
		require.NoError(t, w.fault)
	}
}

// TestPeersComeAndGoWithoutEnd: no bit is shared and none is lost; one more than there may be is
// refused (I10).
func TestPeersComeAndGoWithoutEnd(t *testing.T) {
	w := newWorld()
	a := w.addSite("site-a", 1, "site-a", "site-b")
	b := w.addSite("site-b", 1, "site-a", "site-a")
	a.open()
	b.open()
	settled(w)
	a.append(0, 1)
	settled(w)
	add := func(i int) error {
		in := &AddPeer{Peer: Peer{Site: wire.SiteID(1000 - 7*i), Name: fmt.Sprint("site-", i)}, Addrs: []string{"x"}}
		a.step(in)
		return in.Err
	}
	for i := range 62 {
		require.NoError(t, add(i))
	}
	require.ErrorIs(t, add(62), ErrPeers)
	for i := range 62 {
		in := &Forget{Site: wire.SiteID(1000 - 7*i), Remove: i%2 == 0}
		a.step(in)
		require.NoError(t, in.Err)
		require.NoError(t, add(62+i))
	}
	a.append(0, 1)
	settled(w)
	require.Equal(t, a.own.batches, b.mirror.batches)
	require.NoError(t, w.fault)
}

// TestPeerLeftOutIsTakenInAgain: a site that had peers and is started without any goes on once
// one is named; what it confirmed counts, so it is no learner.
func TestPeerLeftOutIsTakenInAgain(t *testing.T) {
	w, a, b, _ := joined(t)
	a.crash()
	a.c.Peers = nil
	a.open()
	settled(w)
	require.Equal(t, 2, a.node.Status(w.now()).Admission[AdmitRefused])
	in := &AddPeer{Peer: Peer{Site: b.c.Site, Name: "site-b"}, Addrs: []string{"b"}}
	a.step(in)
	require.NoError(t, in.Err)
	require.True(t, in.Known)
	require.False(t, in.Learner)
	settled(w)
	require.Equal(t, 2, a.node.Status(w.now()).Admission[AdmitVerified])
	require.NoError(t, w.fault)
}
