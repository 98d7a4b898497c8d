package mend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

var errGone = errors.New("the source is gone")

// log is the one that all entries of these tests are of.
var log = wire.LogID{Site: 1, Shard: 3}

// source answers from its Store, from one view at a time.
type source struct {
	t     *testing.T
	store *store.Mem
	seq   wire.Seq
	most  int // bytes of rows of an answer; 0 = as many as there are

	view  store.MendView
	id    uint64
	asked int
	bytes int                   // of all answers
	down  func(asked int) error // called with each question; not nil: it is lost, and its view
}

// put writes keys at one moment, and returns its change.
func put(s *store.Mem, seq *wire.Seq, value string, keys ...string) {
	*seq++
	h := &wire.BatchHeader{Site: log.Site, Shard: log.Shard, Incarnation: wire.Incarnation{1}}
	at := wire.Position{Incarnation: h.Incarnation, Seq: *seq, Chain: wire.Chain{byte(*seq), 1}}
	c := &store.Change{Shard: log.Shard, Batch: h, Cursors: []store.Cursor{{Log: log, Position: at, Epoch: 1}}}
	e := wire.Entry{Op: 1024, Seq: *seq, Stamp: wire.Stamp(*seq), Payload: []byte(value)}
	for _, k := range keys {
		e.Keys = append(e.Keys, []byte(k))
	}
	c.Effects = []wire.Entry{e}
	if err := s.Apply(context.Background(), c); err != nil {
		panic(err)
	}
}

func newSource(t *testing.T, keys int) *source {
	s := &source{t: t, store: store.NewMem()}
	for i := range keys {
		put(s.store, &s.seq, fmt.Sprint("value ", i), fmt.Sprintf("key %06d", i))
	}
	return s
}

// copyOf is a Store with the same state.
func (s *source) copyOf() *store.Mem {
	require.NoError(s.t, s.store.Sync(context.Background()))
	return s.store.Crash(nil)
}

func (s *source) ask(ctx context.Context, q *wire.Mend) (*wire.Rows, error) {
	s.asked++
	if s.down != nil {
		if err := s.down(s.asked); err != nil {
			s.view = nil
			return nil, err
		}
	}
	a := &wire.Rows{ID: 1}
	switch {
	case q.Kind == wire.MendOpen:
		view, err := s.store.MendView(ctx, q.Shard)
		require.NoError(s.t, err)
		s.id++
		s.view, a.Cursors = view, view.Cursors()
	case s.view == nil || q.View != s.id:
		return nil, errGone
	case q.Kind == wire.MendParts:
		a.Parts = s.parts(ctx, q)
	default:
		s.rows(ctx, q, a)
	}
	a.View = s.id
	frame := a.AppendTo(nil, 1)
	s.bytes += len(frame) + len(q.AppendTo(nil, 1))
	out := new(wire.Rows)
	require.NoError(s.t, out.Decode(frame[wire.EnvelopeBytes:]))
	return out, nil
}

func end(hi []byte) []byte {
	if len(hi) == 0 {
		return nil
	}
	return hi
}

func (s *source) digest(ctx context.Context, lo, hi []byte) [32]byte {
	d, err := s.view.Digest(ctx, lo, hi)
	require.NoError(s.t, err)
	return d
}

func (s *source) parts(ctx context.Context, q *wire.Mend) (parts []wire.VerifiedPart) {
	lo, hi, keys := q.Ranges[0].Lo, end(q.Ranges[0].Hi), uint32(0)
	err := s.view.Keys(ctx, lo, hi, func(key []byte) error {
		if keys == q.Count {
			parts = append(parts, wire.VerifiedPart{Keys: keys, Hi: bytes.Clone(key), Digest: s.digest(ctx, lo, key)})
			lo, keys = bytes.Clone(key), 0
			if len(parts) == 16 {
				return errEnough
			}
		}
		keys++
		return nil
	})
	if errors.Is(err, errEnough) {
		return parts
	}
	return append(parts, wire.VerifiedPart{Keys: keys, Hi: hi, Digest: s.digest(ctx, lo, hi)})
}

func (s *source) rows(ctx context.Context, q *wire.Mend, a *wire.Rows) {
	most := s.most
	if most == 0 {
		most = wire.RowsBytesMax
	}
	for i, r := range q.Ranges {
		p := wire.RowsPiece{Digest: s.digest(ctx, r.Lo, end(r.Hi))}
		var data []byte
		if p.Digest != r.Digest {
			require.NoError(s.t, s.view.Rows(ctx, r.Lo, end(r.Hi), func(key, value []byte) error {
				data = wire.AppendRow(data, key, value)
				return nil
			}))
		}
		if i == 0 {
			data = data[q.Skip:]
		}
		if room := most - len(a.Data); len(data) > room {
			if i > 0 {
				return
			}
			a.Rest, data = uint32(len(data)-room), data[:room]
		}
		p.Bytes = uint32(len(data))
		a.Pieces, a.Data = append(a.Pieces, p), append(a.Data, data...)
		if a.Rest > 0 {
			return
		}
	}
}

// target is the site that is mended: what outlives a kill.
type target struct {
	t     *testing.T
	store *store.Mem
	disk  vfs.FS
	rate  int64
}

func newTarget(t *testing.T, s *store.Mem) *target {
	return &target{t: t, store: s, disk: vfs.NewMem(vfs.MemOptions{})}
}

func (x *target) job(s *source, to store.Mender) *Job {
	return &Job{
		FS: x.disk, Dir: "mend", Store: to, Shard: log.Shard, From: "site-a", Ask: s.ask, Rate: x.rate,
		Lost:   func(err error) bool { return errors.Is(err, errGone) },
		Accept: func([]wire.Cursor) error { return nil },
		Act:    func(_ []wire.Cursor, change func() error) error { return change() },
		Status: new(Status),
	}
}

func (x *target) mend(s *source) *Outcome {
	x.t.Helper()
	out, err := x.job(s, x.store).Run(context.Background(), context.Background())
	require.NoError(x.t, err)
	return out
}

// equal checks rows and cursors, and that no file is left.
func (x *target) equal(s *source) {
	x.t.Helper()
	ctx := context.Background()
	a, err := s.store.MendView(ctx, log.Shard)
	require.NoError(x.t, err)
	b, err := x.store.MendView(ctx, log.Shard)
	require.NoError(x.t, err)
	require.False(x.t, b.Torn())
	require.Equal(x.t, a.Cursors(), b.Cursors())
	da, _ := a.Digest(ctx, nil, nil)
	db, _ := b.Digest(ctx, nil, nil)
	require.Equal(x.t, da, db, "rows")
	names, err := x.disk.List("mend")
	require.NoError(x.t, err)
	require.Empty(x.t, names)
}

// size is how many bytes the rows of a source have on the wire.
func (s *source) size() (bytes int) {
	view, err := s.store.MendView(context.Background(), log.Shard)
	require.NoError(s.t, err)
	require.NoError(s.t, view.Rows(context.Background(), nil, nil, func(key, value []byte) error {
		bytes += wire.RowBytes(key, value)
		return nil
	}))
	return bytes
}

func TestWipedShardCostsOneCopy(t *testing.T) {
	for _, keys := range []int{0, 1, 64, 65, 9000} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			s := newSource(t, keys)
			x := newTarget(t, store.NewMem())
			out := x.mend(s)
			x.equal(s)
			require.Equal(t, keys == 0, out.Equal)
			if keys == 9000 {
				t.Logf("%d rows of %d bytes: %d bytes on the wire", keys, s.size(), s.bytes)
				require.LessOrEqual(t, float64(s.bytes), 1.1*float64(s.size()))
			}
		})
	}
}

func TestSmallDifferenceCostsItsParts(t *testing.T) {
	s := newSource(t, 20000)
	x := newTarget(t, s.copyOf())
	put(s.store, &s.seq, "changed", "key 000077", "key 010000")
	put(s.store, &s.seq, "new", "key 0100005")
	mine := s.seq
	put(x.store, &mine, "an orphan", "key 000001", "key 9")
	out := x.mend(s)
	x.equal(s)
	require.False(t, out.Equal)
	t.Logf("%d bytes on the wire of %d", s.bytes, s.size())
	require.Less(t, s.bytes, s.size()/20)
	require.True(t, newTarget(t, s.copyOf()).mend(s).Equal)
}

func TestEqualRowsAtOtherCursorsAreMended(t *testing.T) {
	s := newSource(t, 3)
	x := newTarget(t, s.copyOf())
	other := wire.LogID{Site: 9, Shard: log.Shard}
	require.NoError(t, x.store.Apply(context.Background(), &store.Change{
		Shard: log.Shard, Batch: &wire.BatchHeader{Site: 9, Shard: log.Shard},
		Cursors: []store.Cursor{{Log: other, Position: wire.Position{Incarnation: wire.Incarnation{7}, Seq: 1}}},
	}))
	require.False(t, x.mend(s).Equal)
	x.equal(s)
}

func TestRowsLargerThanAnAnswerComeInFragments(t *testing.T) {
	s := newSource(t, 100)
	put(s.store, &s.seq, strings.Repeat("x", 1<<20), "large")
	x := newTarget(t, store.NewMem())
	x.mend(s)
	x.equal(s)
	s.most = 100
	x = newTarget(t, store.NewMem())
	s.store = newSource(t, 300).store
	x.mend(s)
	x.equal(s)
}

// TestLostSourceIsAskedForTheRest: at each question the source goes away once. Where it did
// not change meanwhile, nothing comes twice but a few digests.
func TestLostSourceIsAskedForTheRest(t *testing.T) {
	whole := newSource(t, 700)
	whole.most = 4000
	newTarget(t, store.NewMem()).mend(whole)
	for at := 1; at <= whole.asked; at++ {
		s := newSource(t, 700)
		s.most = 4000
		s.down = func(asked int) error {
			if asked == at {
				return errGone
			}
			return nil
		}
		x := newTarget(t, store.NewMem())
		x.mend(s)
		x.equal(s)
		require.LessOrEqual(t, s.bytes, whole.bytes+whole.bytes/20+4000, "lost at question %d", at)
	}
	t.Logf("%d questions, %d bytes", whole.asked, whole.bytes)
}

// TestMovedSourceSendsWhatChanged: it goes on between two views, at each question.
func TestMovedSourceSendsWhatChanged(t *testing.T) {
	whole := newSource(t, 700)
	whole.most = 4000
	newTarget(t, store.NewMem()).mend(whole)
	for at := 1; at <= whole.asked; at++ {
		s := newSource(t, 700)
		s.most = 4000
		s.down = func(asked int) error {
			if asked != at {
				return nil
			}
			put(s.store, &s.seq, "later", "key 000350", fmt.Sprintf("key 000%03dx", at))
			return errGone
		}
		x := newTarget(t, store.NewMem())
		x.mend(s)
		x.equal(s)
		require.LessOrEqual(t, s.bytes, whole.bytes+whole.bytes/4, "moved at question %d", at)
	}
}

// TestKilledTargetGoesOn: this site loses power at each call to its disk, and at each piece.
func TestKilledTargetGoesOn(t *testing.T) {
	kills := 0
	for at := 1; ; at++ {
		s := newSource(t, 300)
		s.most = 4000
		mine := wire.Seq(0)
		old := store.NewMem()
		put(old, &mine, "orphan", "key 000001", "of nobody")
		require.NoError(t, old.Sync(context.Background()))
		x := newTarget(t, old)
		disk := x.disk.(*vfs.Mem)
		k := &killer{Mender: old, disk: disk, left: at}
		j := x.job(s, k)
		j.FS = &killedDisk{disk, k}
		_, err := j.Run(context.Background(), context.Background())
		if !k.killed {
			require.NoError(t, err)
			break
		}
		kills++
		require.Error(t, err)
		x.disk, x.store = disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop }), old.Crash(nil)
		_, torn := x.store.Cursors(log.Shard)
		f, err := OpenSpool(x.disk, "mend")
		require.True(t, torn == nil || err == nil && f.Complete(), "torn, and the file is not complete: %v", err)
		if err == nil && f.Complete() {
			s.down = func(int) error { return errors.New("nobody is needed") }
		}
		if err == nil {
			require.NoError(t, f.Close())
		}
		x.mend(s)
		s.down = nil
		x.equal(s)
	}
	t.Logf("%d kills", kills)
	require.Greater(t, kills, 15)
}

// killer counts calls to the disk and pieces, and ends everything at one of them.
type killer struct {
	store.Mender
	disk   *vfs.Mem
	left   int
	killed bool
}

var errKilled = errors.New("killed")

func (k *killer) call() error {
	if k.left--; k.left <= 0 && !k.killed {
		k.killed = true
		k.disk.Kill()
	}
	if k.killed {
		return errKilled
	}
	return nil
}

func (k *killer) Mend(ctx context.Context, p *store.MendPiece) error {
	if err := k.call(); err != nil {
		return err
	}
	return k.Mender.Mend(ctx, p)
}

// killedDisk tells its killer of each call that changes something.
type killedDisk struct {
	*vfs.Mem
	k *killer
}

func (d *killedDisk) Create(name string) (vfs.File, error) {
	if err := d.k.call(); err != nil {
		return nil, err
	}
	f, err := d.Mem.Create(name)
	return &killedFile{f, d.k}, err
}

func (d *killedDisk) SyncDir(name string) error { return errors.Join(d.k.call(), d.Mem.SyncDir(name)) }

type killedFile struct {
	vfs.File
	k *killer
}

func (f *killedFile) WriteAt(parts [][]byte, off int64) error {
	return errors.Join(f.k.call(), f.File.WriteAt(parts, off))
}

func (f *killedFile) Sync() error { return errors.Join(f.k.call(), f.File.Sync()) }

func TestNoRoomLeavesTheShardAsItWas(t *testing.T) {
	s := newSource(t, 300)
	x := newTarget(t, store.NewMem())
	x.disk = vfs.WithFaults(x.disk,
		vfs.Fault{Op: vfs.OpWrite, Match: spoolName, Call: 3, Forever: true, Err: syscall.ENOSPC})
	ctx, cancel := context.WithCancel(context.Background())
	j := x.job(s, x.store)
	ended := make(chan error)
	go func() {
		_, err := j.Run(ctx, context.Background())
		ended <- err
	}()
	require.Eventually(t, func() bool { return j.Status.Snapshot().Phase == PhaseWaiting }, 10e9, 1e6)
	require.Contains(t, j.Status.Snapshot().Reason, "no space left")
	cursors, err := x.store.Cursors(log.Shard)
	require.NoError(t, err, "torn")
	require.Empty(t, cursors)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// TestDamagedFileIsNotApplied: whichever byte of a complete file changes, it is not complete,
// or still equal.
func TestDamagedFileIsNotApplied(t *testing.T) {
	s := newSource(t, 100)
	x := newTarget(t, store.NewMem())
	j := x.job(s, x.store)
	j.Act = func([]wire.Cursor, func() error) error { panic("complete") }
	require.Panics(t, func() { _, _ = j.Run(context.Background(), context.Background()) })
	f, err := x.disk.Open("mend/" + spoolName)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	data := make([]byte, size)
	_, err = f.ReadAt(data, 0)
	require.NoError(t, err)
	for at := int64(0); at < size; at += 37 {
		spoiled := slices.Clone(data)
		spoiled[at] ^= 4
		require.NoError(t, f.WriteAt([][]byte{spoiled}, 0))
		if o, err := OpenSpool(x.disk, "mend"); err == nil {
			require.False(t, o.Complete(), "byte %d", at)
			require.NoError(t, o.Close())
		} else {
			require.ErrorIs(t, err, ErrSpool)
		}
	}
	require.NoError(t, f.WriteAt([][]byte{data}, 0))
	x.mend(s)
	x.equal(s)
}

// TestUnequalShardIsFetchedAgain: the Store loses a row of a piece. The proof finds it, and
// only that part comes again.
func TestUnequalShardIsFetchedAgain(t *testing.T) {
	s := newSource(t, 300)
	x := newTarget(t, store.NewMem())
	lossy := &lossyStore{Mem: x.store, left: 1}
	out, err := x.job(s, lossy).Run(context.Background(), context.Background())
	require.NoError(t, err)
	require.False(t, out.Equal)
	require.Zero(t, lossy.left)
	x.equal(s)
	require.Less(t, out.Bytes, int64(s.size())*3/2)
}

// lossyStore drops the last row of its first pieces.
type lossyStore struct {
	*store.Mem
	left int
}

func (l *lossyStore) Mend(ctx context.Context, p *store.MendPiece) error {
	if l.left > 0 && len(p.Rows) > 0 {
		l.left--
		q := *p
		q.Rows = p.Rows[:len(p.Rows)-1]
		p = &q
	}
	return l.Mem.Mend(ctx, p)
}

func TestAnswerToAnotherQuestionIsRefused(t *testing.T) {
	own, err := store.NewMem().MendView(context.Background(), log.Shard)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		before []*wire.Rows
		answer *wire.Rows
	}{
		"no view":    {nil, &wire.Rows{}},
		"no parts":   {[]*wire.Rows{{View: 1}}, &wire.Rows{View: 1}},
		"other view": {[]*wire.Rows{{View: 1}}, &wire.Rows{View: 2, Parts: []wire.VerifiedPart{{}}}},
		"no pieces":  {[]*wire.Rows{{View: 1}, {View: 1, Parts: []wire.VerifiedPart{{Keys: 1}}}}, &wire.Rows{View: 1}},
		"many pieces": {[]*wire.Rows{{View: 1}, {View: 1, Parts: []wire.VerifiedPart{{Keys: 1}}}},
			&wire.Rows{View: 1, Pieces: make([]wire.RowsPiece, 2)}},
		"rest without rows": {[]*wire.Rows{{View: 1}, {View: 1, Parts: []wire.VerifiedPart{{Keys: 1}}}},
			&wire.Rows{View: 1, Rest: 5, Pieces: make([]wire.RowsPiece, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGather(log.Shard, nil, Partial{}, nil)
			for _, a := range append(c.before, c.answer) {
				require.NotNil(t, g.Next())
				_, err = g.Take(context.Background(), own, a)
			}
			require.ErrorIs(t, err, wire.ErrProtocol)
		})
	}
}
