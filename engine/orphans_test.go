package engine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// leaveTail has site-a write what nobody else gets, and die; site-b takes over, and site-a comes back,
// on its disk behind files, if that is not nil.
func leaveTail(t *testing.T, a, b *site, files *shutter, entries ...*engine.Entry) (refs []engine.Ref) {
	a.unnamed().start()
	b.unnamed().start()
	for shard := range engine.Shard(4) {
		a.put(shard, "k", "of both", engine.Applied(1))
	}
	b.crash()
	for _, e := range entries {
		ref, err := a.Append(soon(t), 1, e, engine.AppliedHere)
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	all := func(_ engine.Shard, unsynced int) int { return unsynced }
	a.crashWith(func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, all)
	b.start()
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of b", engine.Local)
	}
	if files != nil {
		files.FS, a.options.FS = a.disk, files
	}
	a.start()
	a.follows("site-b")
	return refs
}

// shutter is a disk that lets no file of orphans begin while it is shut.
type shutter struct {
	vfs.FS
	shut  atomic.Bool
	tries atomic.Int32
}

func (d *shutter) Create(name string) (vfs.File, error) {
	if d.shut.Load() && len(name) > 12 && name[len(name)-12:] == ".orphans.new" {
		d.tries.Add(1)
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name)
}

// TestOrphansAreSavedAndListed: exactly what the former writer had alone is listed there, before it is
// mended and after, over restarts, until it is discarded; who asks for one is told (I6).
func TestOrphansAreSavedAndListed(t *testing.T) {
	a, b := pair(t)
	entries := []*engine.Entry{entry("k", "x"), entry("k2", "y"), entry("k3", "z")}
	entries[1].Request = wire.RequestID{1, 2, 3}
	refs := leaveTail(t, a, b, nil, entries...)
	told := a.awaitEvent("orphans-saved")
	require.Contains(t, told.Text, "3 entries of epoch")
	require.ErrorIs(t, a.Wait(soon(t), refs[1], engine.Local), engine.ErrOrphaned)
	shows := func() *engine.OrphansReport {
		report, err := a.Orphans(engine.OrphansOptions{Shards: []int{1}})
		require.NoError(t, err)
		return report
	}
	look := func() {
		t.Helper()
		report := shows()
		require.Equal(t, int64(3), report.Entries)
		require.Len(t, report.Logs, 1)
		require.Equal(t, 1, report.Logs[0].Shard)
		require.Equal(t, uint64(refs[0].Seq), report.Logs[0].FirstSeq)
		require.True(t, report.ShownAll)
		for i, e := range report.Shown {
			require.Equal(t, fmt.Sprintf("site-a/1/%s/%d", refs[i].Incarnation, refs[i].Seq), e.Ref)
			require.Equal(t, entries[i].Keys, e.Keys)
		}
		require.Equal(t, []string{"", "01020300000000000000000000000000", ""},
			[]string{report.Shown[0].Request, report.Shown[1].Request, report.Shown[2].Request})
	}
	look()
	_, err := a.Mend(soon(t), engine.MendOptions{From: "site-b", Lo: 1, Hi: 2})
	require.NoError(t, err, "nothing is lost, so nothing is asked")
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of both", engine.Applied(1))
	}
	sameDigests(t, b, a)
	look()
	a.crash()
	a.start()
	a.follows("site-b")
	look()
	require.Equal(t, engine.OrphanStatus{Entries: 3, Logs: 1}, a.Status().Orphans)
	require.Equal(t, engine.HealthDegraded, a.Status().Health)

	elsewhere, err := b.Orphans(engine.OrphansOptions{})
	require.NoError(t, err)
	require.Empty(t, elsewhere.Logs)
	_, err = a.DiscardOrphans(engine.OrphansOptions{Refs: []string{shows().Shown[0].Ref, "site-a/1/00/1"}})
	require.ErrorIs(t, err, engine.ErrOptions)
	report, err := a.DiscardOrphans(engine.OrphansOptions{Refs: []string{shows().Shown[0].Ref}})
	require.NoError(t, err)
	require.True(t, report.Discarded)
	require.Equal(t, int64(2), a.Status().Orphans.Entries)
	_, err = a.DiscardOrphans(engine.OrphansOptions{})
	require.NoError(t, err)
	require.Empty(t, shows().Logs)
	a.crash()
	a.start()
	a.follows("site-b")
	b.put(1, "last", "again", engine.Applied(1))
	require.Empty(t, shows().Logs)
	require.Eventually(t, func() bool { return a.Status().Health == engine.HealthOK }, patience, time.Millisecond)
	var audited []string
	require.NoError(t, a.AuditTrail(time.Time{}, func(r *engine.AuditRecord) error {
		if r.Kind == "orphans-discard" {
			audited = append(audited, r.What)
		}
		return nil
	}))
	require.Len(t, audited, 4, "each has a line before and one after")
	require.Contains(t, audited[0], "1 entries")
	require.Contains(t, audited[2], "2 entries")
}

// TestUnsavedOrphansHoldMending: while their file cannot be written, the Store of their shard stays as
// it is, and status says why; it is tried again.
func TestUnsavedOrphansHoldMending(t *testing.T) {
	a, b := pair(t)
	files := new(shutter)
	files.shut.Store(true)
	leaveTail(t, a, b, files, entry("k", "of a alone"))
	a.awaitEvent("orphans-unsaved")
	require.Contains(t, a.Status().Orphans.Reason, "no space")
	ctx, cancel := context.WithCancel(soon(t))
	report := make(chan *engine.MendReport, 1)
	mend := func() {
		r, err := a.Mend(ctx, engine.MendOptions{From: "site-b", Lo: 1, Hi: 2, Lose: true})
		require.NoError(t, err)
		report <- r
	}
	go mend()
	tried := files.tries.Load()
	a.await(func() bool { return files.tries.Load() > tried+1 }, func() any { return a.Status().Orphans })
	cancel()
	r := <-report
	require.Equal(t, 1, r.Failed)
	require.Contains(t, r.Shards[0].Reason, "its orphans are not saved")
	require.Equal(t, "of a alone", a.value(1, "k"))

	ctx = soon(t)
	go mend()
	files.shut.Store(false)
	r = <-report
	require.Equal(t, 1, r.Mended, r.Shards)
	require.Equal(t, "of both", a.value(1, "k"))
	require.Equal(t, engine.OrphanStatus{Entries: 1, Logs: 1}, a.Status().Orphans)
}

// TestThirdSiteKeepsWhatItsMirrorHas: of what the writer had, a site that was not promoted has more than
// the one that was: it may be the only copy, so it keeps it.
func TestThirdSiteKeepsWhatItsMirrorHas(t *testing.T) {
	a, b, c := three(t)
	for _, s := range []*site{a, b, c} {
		s.unnamed().start()
	}
	for shard := range engine.Shard(4) {
		a.put(shard, "k", "of all", engine.Applied(2))
	}
	b.crash()
	a.put(2, "k", "of a and c", engine.Durable(1))
	a.crash()
	c.crash()
	b.unnamed().start()
	_, err := b.Failover(soon(t), "site-b", engine.FailoverOptions{})
	require.NoError(t, err)
	b.writes()
	for shard := range engine.Shard(4) {
		b.put(shard, "last", "of b", engine.Local)
	}
	for _, s := range []*site{c, a} {
		s.unnamed().start()
		s.follows("site-b")
		s.awaitEvent("orphans-saved")
		report, err := s.Orphans(engine.OrphansOptions{Shards: []int{2}})
		require.NoError(t, err)
		require.Len(t, report.Shown, 1, s.options.Site)
		require.Equal(t, [][]byte{[]byte("k")}, report.Shown[0].Keys)
		require.Equal(t, "site-a", report.Logs[0].Site)
	}
}
