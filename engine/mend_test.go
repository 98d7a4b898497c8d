package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// wipe loses the site's Store and journals.
func (s *site) wipe() {
	s.loseJournal("own")
	s.loseJournal("mirror")
	s.store = store.NewMem()
	s.options.Store = s.store
}

// mendAll mends all shards of a site, and wants each to be equal then.
func (s *site) mendAll(from string) *engine.MendReport {
	s.t.Helper()
	var report *engine.MendReport
	var err error
	s.await(func() bool { // one that goes on after a start is busy
		report, err = s.Mend(soon(s.t), engine.MendOptions{From: from})
		return !errors.Is(err, engine.ErrBusy)
	}, func() any { return err })
	require.NoError(s.t, err)
	require.Zero(s.t, report.Failed, report.Shards)
	require.Equal(s.t, s.options.Shards, report.Equal+report.Mended)
	return report
}

// TestWipedStandbyComesBackByMend: the writer has given back what the standby lost.
func TestWipedStandbyComesBackByMend(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	giveBack(t, a, b)
	b.end()
	b.wipe()
	b.start()
	for ctx := soon(t); len(a.Status().Peers[0].StoppedLogs) < 4; pause() {
		require.NoError(t, ctx.Err())
	}
	require.Contains(t, a.Status().Peers[0].StoppedLogs[0].Reason, "bootstrap needed")
	dry, err := b.Mend(soon(t), engine.MendOptions{From: "site-a", Only: true})
	require.NoError(t, err)
	require.Equal(t, 4, dry.Differs)
	require.False(t, dry.Done)
	report := b.mendAll("site-a")
	require.Equal(t, 4, report.Mended)
	bytes := copyBytes(t, a)
	t.Logf("one copy %d bytes, fetched %d", bytes, report.FetchedBytes)
	require.LessOrEqual(t, float64(report.FetchedBytes), 1.1*float64(bytes))
	b.end()
	goesOnAsBefore(t, a, b, b)
	b.start()
	require.Equal(t, 4, b.mendAll("site-a").Equal)
}

// copyBytes is how much the rows of a site's shards have.
func copyBytes(t *testing.T, s *site) (bytes int64) {
	for shard := range s.options.Shards {
		view, err := s.store.MendView(context.Background(), engine.Shard(shard))
		require.NoError(t, err)
		require.NoError(t, view.Rows(context.Background(), nil, nil, func(key, value []byte) error {
			bytes += int64(len(key) + len(value))
			return nil
		}))
	}
	return bytes
}

// TestWipedWriterComesBackByMend: its logs go on behind the standby's Store.
func TestWipedWriterComesBackByMend(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	giveBack(t, a, b)
	a.end()
	a.wipe()
	a.start()
	for ctx := soon(t); a.Status().Appends.State != engine.AppendsRefused; pause() {
		require.NoError(t, ctx.Err())
	}
	require.Equal(t, 4, a.mendAll("site-b").Mended)
	a.end()
	goesOnAsBefore(t, a, b, a)
}

// TestStoppedApplierIsEndedByMend: the Store does not know an operation, and gets what it did.
func TestStoppedApplierIsEndedByMend(t *testing.T) {
	a, b := pair(t)
	known := false
	b.store.Known = func(engine.Op) bool { return known }
	b.start()
	a.start()
	a.put(2, "key", "value", engine.Durable(1))
	require.NoError(t, a.Ready(soon(t), 2))
	b.awaitEvent("apply-stopped")
	require.Equal(t, engine.ApplyStopped, b.Status().Apply.State)
	report, err := b.Mend(soon(t), engine.MendOptions{From: "site-a", Lo: 2, Hi: 3})
	require.NoError(t, err)
	require.Equal(t, 1, report.Mended, report.Shards)
	b.healthy()
	require.Equal(t, "value", b.value(2, "key"))
	known = true
	a.put(2, "key", "later", engine.Applied(1))
	require.Equal(t, "later", b.value(2, "key"))
	sameDigests(t, a, b)
	records := 0
	require.NoError(t, b.AuditTrail(time.Time{}, func(r *engine.AuditRecord) error {
		if r.Kind == "mend" {
			records++
		}
		return nil
	}))
	require.Equal(t, 2, records, "lines of the audit trail: before and after")
}

// cutter ends a site at one of the steps of its mending: a question, or a piece.
type cutter struct {
	*store.Mem
	pieces bool // they count, and not the questions
	left   int
	cut    func()
}

var errCut = errors.New("cut")

func (c *cutter) step() (cut bool) {
	if c.left--; c.left == 0 {
		c.cut()
	}
	return c.left <= 0
}

// asked counts a question.
func (c *cutter) asked(engine.MendProgress) {
	if !c.pieces {
		c.step()
	}
}

func (c *cutter) Mend(ctx context.Context, p *store.MendPiece) error {
	if c.pieces && c.step() || c.left <= 0 {
		return errCut
	}
	return c.Mem.Mend(ctx, p)
}

// wipedPair is a pair with one shard that has something, whose standby was wiped and is ended.
func wipedPair(t *testing.T) (a, b *site) {
	a, b = pair(t)
	a.options.Shards, b.options.Shards = 1, 1
	b.start()
	a.start()
	payload := strings.Repeat("x", 30_000)
	for i := range 60 {
		a.put(0, fmt.Sprint("key ", i), payload, engine.Durable(1))
	}
	a.put(0, "last", payload, engine.Applied(1))
	b.end()
	b.wipe()
	return a, b
}

// TestMendIsCutAtTheTarget: it loses power at each question and each piece. A complete file
// is applied without the source; an incomplete one goes on by itself.
func TestMendIsCutAtTheTarget(t *testing.T) {
	step := 1
	if raceEnabled {
		step = 3 // "make test" has every cut once without it
	}
	questions, _ := mendCuts(t, false, step)
	pieces, alone := mendCuts(t, true, 1)
	t.Logf("%d questions, %d pieces, a torn shard after %d of them", questions, pieces, alone)
	require.Greater(t, questions*step, 3)
	require.Equal(t, pieces-1, alone, "before the first one nothing has changed")
	require.Positive(t, alone)
}

// mendCuts cuts the power at every step-th question of a mending, or at every piece, and counts the
// cuts, and those that left a torn shard.
func mendCuts(t *testing.T, pieces bool, step int) (cuts, alone int) {
	for at := 1; ; at += step {
		a, b := wipedPair(t)
		c := &cutter{Mem: b.store, pieces: pieces, left: at, cut: func() { b.disk.Kill() }}
		b.options.Store = c
		b.start()
		_, err := b.Mend(soon(t), engine.MendOptions{From: "site-a", Progress: c.asked})
		require.NoError(t, err)
		if c.left > 0 {
			return cuts, alone
		}
		cuts++
		b.crash()
		if _, err := b.store.Cursors(0); err != nil {
			require.ErrorIs(t, err, store.ErrTorn)
			alone++
			a.end()
		}
		b.start()
		for ctx := soon(t); b.Status().Mending.State != engine.MendingNone || b.Status().Mending.Torn > 0; pause() {
			require.NoError(t, ctx.Err(), b.Status().Mending)
		}
		if a.Done() != nil {
			select {
			case <-a.Done():
				a.start()
			default:
			}
		}
		b.mendAll("site-a")
		a.put(0, "after", "v", engine.Applied(1))
		sameDigests(t, a, b)
		a.end()
		b.end()
	}
}

// TestLeftMendingMustBeRead: a site that cannot read which shard an earlier life left half mended
// does not start, because it would apply to that shard; once the disk works it goes on.
func TestLeftMendingMustBeRead(t *testing.T) {
	a, b := wipedPair(t)
	c := &cutter{Mem: b.store, left: 2, cut: func() { b.disk.Kill() }}
	b.options.Store = c
	b.start()
	_, _ = b.Mend(soon(t), engine.MendOptions{From: "site-a", Progress: c.asked})
	require.LessOrEqual(t, c.left, 0)
	b.crash()
	b.options.FS = vfs.WithFaults(b.disk, vfs.Fault{Op: vfs.OpOpen, Match: "spool", Call: 1})
	_, err := engine.Open(soon(t), b.options)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "mending left by an earlier life")
	b.options.FS = b.disk
	b.start()
	b.mendAll("site-a")
	a.put(0, "after", "v", engine.Applied(1))
	sameDigests(t, a, b)
}

// TestMendIsCutAtTheSource: it loses power at each question, and comes back.
func TestMendIsCutAtTheSource(t *testing.T) {
	cuts := 0
	for at := 1; ; at++ {
		a, b := wipedPair(t)
		b.start()
		asked := 0
		report, err := b.Mend(soon(t), engine.MendOptions{From: "site-a", Progress: func(engine.MendProgress) {
			if asked++; asked == at {
				a.crash()
				a.start()
				for ctx := soon(t); a.Status().Apply.State != engine.ApplyOK; pause() {
					require.NoError(t, ctx.Err())
				}
			}
		}})
		require.NoError(t, err)
		require.Equal(t, 1, report.Mended, report.Shards)
		a.put(0, "after", "v", engine.Applied(1))
		sameDigests(t, a, b)
		a.end()
		b.end()
		if asked < at {
			break
		}
		require.LessOrEqual(t, float64(report.FetchedBytes), 1.1*float64(copyBytes(t, a)))
		cuts++
	}
	t.Logf("%d cuts", cuts)
	require.Greater(t, cuts, 3)
}

// TestMendRefusesWhatLosesEntries: only this site's Store has entries that are nowhere else.
func TestMendRefusesWhatLosesEntries(t *testing.T) {
	a, b := pair(t)
	b.start()
	a.start()
	giveBack(t, a, b)
	b.end()
	a.end()
	a.wipe()
	a.options.VerifyWait = 2 * time.Second // on a busy machine, too, its peer is heard first
	a.start()
	b.start()
	_, err := b.Mend(soon(t), engine.MendOptions{From: "site-a"})
	require.ErrorIs(t, err, engine.ErrLoses)
	require.ErrorContains(t, err, "entries that site site-a does not have")
	require.Equal(t, engine.MendingNone, b.Status().Mending.State)
	_, err = b.Mend(soon(t), engine.MendOptions{From: "site-c"})
	require.ErrorIs(t, err, engine.ErrOptions)
	a.mendAll("site-b")
	a.put(0, "after", "v", engine.Applied(1))
	sameDigests(t, a, b)
}
