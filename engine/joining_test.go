package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// onSockets are sites that know each other by addresses of this machine.
func onSockets(t testing.TB, names ...string) (sites []*site) {
	addrs := make(map[string]string)
	for _, name := range names {
		s := newSite(t, nil, name)
		listener, err := net.Listen("tcp", "127.0.0.1:0") // for an address that stays
		require.NoError(t, err)
		addrs[name] = listener.Addr().String()
		require.NoError(t, listener.Close())
		s.options.Listen, s.options.Transport = addrs[name], nil
		sites = append(sites, s)
	}
	for i, s := range sites {
		for _, peer := range names {
			if peer != names[i] {
				s.options.Peers = append(s.options.Peers, engine.Peer{Site: peer, Addrs: []string{addrs[peer]}})
			}
		}
	}
	return sites
}

// load appends at a site until it is stopped, and returns how many entries were acknowledged.
func (s *site) load(level engine.Level) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	acked := make([]int, 4)
	for shard := range acked {
		group.Go(func() { // ends with ctx
			for i := 0; ctx.Err() == nil; i++ {
				_, err := s.Append(ctx, engine.Shard(shard), entry(fmt.Sprintf("load %d", i), "v"), level)
				if err != nil && !errors.Is(err, context.Canceled) {
					s.t.Errorf("append: %v", err)
					return
				}
				if err == nil {
					acked[shard]++
				}
			}
		})
	}
	return sync.OnceValue(func() int {
		cancel()
		group.Wait()
		return acked[0] + acked[1] + acked[2] + acked[3]
	})
}

// peer is a site's status of a peer; nil if it has none of that name.
func (s *site) peer(name string) *engine.PeerStatus {
	for _, p := range s.Status().Peers {
		if p.Site == name {
			return &p
		}
	}
	return nil
}

// await polls until done, and fails with what text says then.
func (s *site) await(done func() bool, text func() any) {
	s.t.Helper()
	for ctx := soon(s.t); !done(); pause() {
		require.NoError(s.t, ctx.Err(), "%v", text())
	}
}

// TestThirdSiteJoinsUnderLoad: over real sockets it is taken in while the others work, becomes
// full, counts, and is equal. Removed, it is refused and told so; both outlive restarts, whatever
// the options name. Taken in anew with an empty directory it is equal again (I1, I7, I12).
func TestThirdSiteJoinsUnderLoad(t *testing.T) {
	sites := onSockets(t, "site-a", "site-b", "site-c")
	a, b, c := sites[0], sites[1], sites[2]
	addr := c.options.Listen
	a.options.Peers, b.options.Peers = a.options.Peers[:1], b.options.Peers[:1]
	b.start()
	a.start()
	for i := range 200 {
		a.put(engine.Shard(i%4), fmt.Sprint("before ", i), "v", engine.Durable(1))
	}
	stop := a.load(engine.Durable(1))
	defer stop()
	_, err := a.Append(soon(t), 1, entry("two", "v"), engine.Durable(2))
	require.ErrorIs(t, err, engine.ErrOptions)
	for _, s := range []*site{a, b} {
		report, err := s.AddPeer(engine.Peer{Site: "site-c", Addrs: []string{addr}}, "10.0.0.9:4000")
		require.NoError(t, err)
		require.False(t, report.Known)
	}
	require.True(t, a.peer("site-c").Learner)
	c.start()
	a.awaitEvent("site-full")
	require.False(t, a.peer("site-c").Learner)
	a.put(1, "two", "v", engine.Durable(2))
	acked := stop()
	a.put(2, "after", "v", engine.Applied(2))
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.Applied(2))
	}
	sameDigests(t, a, c)
	t.Logf("%d entries were acknowledged meanwhile", acked)

	waits := make(chan error, 1)
	c.end()
	go func() { // ends with its answer
		_, err := a.Append(soon(t), 3, entry("waits", "v"), engine.Durable(2))
		waits <- err
	}()
	a.await(func() bool {
		return a.peer("site-c").WouldLose.AtLeastEntries != nil && *a.peer("site-c").WouldLose.AtLeastEntries > 0
	},
		func() any { return a.peer("site-c") })
	c.start()
	require.NoError(t, <-waits)
	report, err := a.RemovePeer("site-c", engine.RemoveOptions{Only: true})
	require.NoError(t, err)
	require.False(t, report.Done)
	for _, s := range []*site{a, b} {
		report, err = s.RemovePeer("site-c", engine.RemoveOptions{By: "10.0.0.9:4000"})
		require.NoError(t, err)
		require.True(t, report.Done)
	}
	refused := func() {
		t.Helper()
		c.await(func() bool { return c.peer("site-a").Link == "refused" }, func() any { return c.Status().Reason })
		require.Contains(t, c.Status().Reason, "site site-c was removed from cluster test at site site-a by "+
			"admin 10.0.0.9:4000")
		require.Equal(t, "FAILED", c.Status().Health)
		require.Nil(t, a.peer("site-c"))
		require.Len(t, a.Peers().Removed, 1)
		_, err = a.Append(soon(t), 1, entry("two", "v"), engine.Durable(2))
		require.ErrorIs(t, err, engine.ErrOptions)
	}
	refused()
	a.crash()
	a.options.Peers = append(a.options.Peers, engine.Peer{Site: "site-c", Addrs: []string{addr}})
	a.start()
	require.Contains(t, a.awaitEvent("site-named").Text, "the name counts for nothing")
	c.end()
	c.start()
	refused()

	c.end()
	c.disk, c.store = newSite(t, nil, "site-c").disk, newSite(t, nil, "site-c").store
	c.options.FS, c.options.Store = c.disk, c.store
	for _, s := range []*site{a, b} {
		_, err := s.AddPeer(engine.Peer{Site: "site-c", Addrs: []string{addr}}, "")
		require.NoError(t, err)
	}
	a.crash()
	a.options.Peers = a.options.Peers[:1]
	a.start()
	c.start()
	a.await(func() bool {
		p := a.peer("site-c")
		return p != nil && !p.Learner
	}, func() any { return a.Status().Reason })
	for shard := range 4 {
		a.put(engine.Shard(shard), "again", "v", engine.Applied(2))
	}
	sameDigests(t, a, c)
	a.healthy()
	kinds := func(kind string) (outcomes []string) {
		for _, r := range a.trail() {
			if r.Kind == kind {
				outcomes = append(outcomes, string(r.Outcome))
			}
		}
		return outcomes
	}
	require.Equal(t, []string{"begun", "done", "begun", "done"}, kinds("sites-add"))
	require.Equal(t, []string{"begun", "done"}, kinds("sites-remove"))
}

// TestLearnerCountsInNoLevel: what it has flushed wakes nobody before it holds everything (I1).
func TestLearnerCountsInNoLevel(t *testing.T) {
	net := linktest.NewMemory()
	a, b, c := newSite(t, net, "site-a", "site-b"), newSite(t, net, "site-b", "site-a"),
		newSite(t, net, "site-c", "site-a", "site-b")
	b.start()
	a.start()
	for i := range 20 {
		a.put(engine.Shard(i%4), fmt.Sprint(i), "v", engine.Applied(1))
	}
	held := &heldStore{Mem: c.store, held: make(chan struct{})}
	c.options.Store = held
	_, err := a.AddPeer(engine.Peer{Site: "site-c", Addrs: []string{"site-c"}}, "")
	require.NoError(t, err)
	c.start()
	a.await(func() bool {
		p := a.peer("site-c")
		return p.Durable.Entries != nil && *p.Durable.Entries == 0
	}, func() any { return a.peer("site-c") })
	require.True(t, a.peer("site-c").Learner, "its Store has nothing")
	b.end()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = a.Append(ctx, 0, entry("two", "v"), engine.Durable(1))
	require.ErrorIs(t, err, context.DeadlineExceeded, "site-c has it durably, and is a learner")
	require.Equal(t, "a learner, which does not hold everything yet", a.peer("site-c").MayPromoteReason)
	close(held.held)
	a.awaitEvent("site-full")
	a.put(0, "three", "v", engine.Durable(1))
}

// heldStore applies nothing until held is closed.
type heldStore struct {
	*store.Mem
	held chan struct{}
}

// TestRemovalWakesWhoWaitsInVain, and what a removed site confirmed counts no more, also once
// another has its place.
func TestRemovalWakesWhoWaitsInVain(t *testing.T) {
	a, b, c := trio(t)
	for _, s := range []*site{a, b, c} {
		s.start()
	}
	ref := a.put(1, "before", "v", engine.Durable(2))
	c.end()
	waits := make(chan error, 1)
	go func() { // ends with its answer
		_, err := a.Append(soon(t), 1, entry("waits", "v"), engine.Durable(2))
		waits <- err
	}()
	require.NoError(t, a.Wait(soon(t), ref, engine.Durable(2)))
	a.await(func() bool { return a.Status().Appends.Entries == 2 }, func() any { return a.Status() })
	_, err := a.RemovePeer("site-c", engine.RemoveOptions{})
	require.NoError(t, err)
	err = <-waits
	require.ErrorIs(t, err, engine.ErrOptions)
	require.ErrorContains(t, err, "level of 2 other sites: site site-a has 1 peers")
	_, err = a.AddPeer(engine.Peer{Site: "site-d", Addrs: []string{"site-d"}}, "")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Wait(ctx, ref, engine.Durable(2)), context.DeadlineExceeded, "site-d has nothing")
	_, err = b.RemovePeer("site-a", engine.RemoveOptions{})
	require.ErrorIs(t, err, engine.ErrWriter)
}

// TestSitesOnRecord: names and addresses are looked at, a flag that differs wins and says so, a
// start without any knows them, and there are 63 at most (I10).
func TestSitesOnRecord(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	a.put(1, "before", "v", engine.Applied(1))
	for name, p := range map[string]engine.Peer{
		"is this one":       {Site: "site-a", Addrs: []string{"x"}},
		"a name":            {Site: "", Addrs: []string{"x"}},
		"want 1 to 8":       {Site: "site-c"},
		"is not allowed in": {Site: "site c", Addrs: []string{"x"}},
		"has 9 addresses":   {Site: "site-d", Addrs: make([]string, 9)},
	} {
		_, err := a.AddPeer(p, "")
		require.ErrorIs(t, err, engine.ErrOptions, name)
		require.ErrorContains(t, err, name)
	}
	_, err := a.AddPeer(engine.Peer{Site: "site-b", Addrs: []string{"site-b"}}, "")
	require.NoError(t, err)
	a.crash()
	a.options.Peers = nil
	a.start()
	a.put(1, "after", "v", engine.Applied(1))
	a.healthy()
	require.Equal(t, []engine.KnownPeer{{
		Site: "site-b", Addrs: []string{"site-b"}, Source: engine.PeerOnRecord, Link: "live",
	}}, a.Peers().Peers)
	a.end()
	a.options.Insecure, a.options.Listen = false, ""
	_, err = engine.Open(soon(t), a.options)
	require.ErrorContains(t, err, "site site-a has 1 peers, and Insecure is false")
	a.options.Insecure = true
	a.options.Peers = []engine.Peer{{Site: "site-b", Addrs: []string{"elsewhere"}}}
	a.start()
	require.Contains(t, a.awaitEvent("site-named").Text,
		"named as a peer at elsewhere, on record at site-b: the configuration wins")
	a.end()
	a.options.Peers = nil
	a.start()
	require.Equal(t, []string{"elsewhere"}, a.Peers().Peers[0].Addrs)
	for i := range 62 {
		_, err := a.AddPeer(engine.Peer{Site: fmt.Sprint("more-", i), Addrs: []string{"x"}}, "")
		require.NoError(t, err)
	}
	_, err = a.AddPeer(engine.Peer{Site: "one-too-many", Addrs: []string{"x"}}, "")
	require.ErrorIs(t, err, engine.ErrOptions)
	require.ErrorContains(t, err, "at most 63 are possible: remove one first")
	require.Len(t, a.Peers().Peers, 63)
	require.True(t, slices.IsSortedFunc(a.Peers().Peers, func(x, y engine.KnownPeer) int {
		if x.Site < y.Site {
			return -1
		}
		return 1
	}))
}

// Apply waits until it may.
func (s *heldStore) Apply(ctx context.Context, c *store.Change) error {
	select {
	case <-s.held:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Mem.Apply(ctx, c)
}
