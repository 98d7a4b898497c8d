package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/storetest"
	"github.com/claudefs/repl/wire"
)

// mendRange is all rows of a range of the source's shard, as pieces.
func mendRange(t testing.TB, source *Store, shard wire.Shard, id byte) []*store.MendPiece {
	t.Helper()
	v, err := source.MendView(context.Background(), shard)
	require.NoError(t, err)
	defer func() { require.NoError(t, v.Close()) }()
	var all []*store.MendPiece
	for lo := []byte(nil); ; {
		p := &store.MendPiece{Shard: shard, Mend: store.MendID{id}, Index: uint64(len(all))}
		require.NoError(t, storetest.NextPiece(context.Background(), v, lo, nil, p))
		all = append(all, p)
		if lo = p.Hi; lo == nil {
			break
		}
	}
	return append(all, &store.MendPiece{
		Shard: shard, Mend: store.MendID{id}, Index: uint64(len(all)), Last: true, Cursors: v.Cursors(),
	})
}

func rowsOf(t testing.TB, s *Store, shard wire.Shard) map[string]string {
	t.Helper()
	v, err := s.MendView(context.Background(), shard)
	require.NoError(t, err)
	defer func() { require.NoError(t, v.Close()) }()
	rows := map[string]string{}
	require.NoError(t, v.Rows(context.Background(), nil, nil, func(key, value []byte) error {
		rows[string(key)] = string(value)
		return nil
	}))
	return rows
}

func mendAll(t testing.TB, source, target *Store, pieces []*store.MendPiece) {
	t.Helper()
	for _, p := range pieces {
		require.NoError(t, target.Mend(context.Background(), p))
	}
	shard := pieces[0].Shard
	require.Equal(t, rowsOf(t, source, shard), rowsOf(t, target, shard))
}

// copyChanges applies to a store what a loop has appended.
func copyChanges(t testing.TB, to *Store, from *loop) {
	t.Helper()
	for _, c := range from.changes {
		require.NoError(t, to.Apply(context.Background(), c))
	}
}

// I7: after orphans of all kinds, names, content, attributes and inode numbers are those of the
// source, and what either then makes, both have.
func TestMendedNamespaceIsThatOfItsSource(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 14))
		source, past := newTest(t)
		target, _ := newTest(t)
		random := func(l *loop, count int) {
			for range count {
				op := randomOp(r)
				op.Request = wire.RequestID{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 1}
				l.all([]Operation{op})
			}
		}
		random(past, 120)
		copyChanges(t, target, past)
		others := newLoop(t, source)
		others.site = 8
		random(others, 60)
		orphans := newLoop(t, target)
		orphans.next = past.next // its log goes on
		random(orphans, 20+int(seed)*20)

		for shard := range wire.Shard(16) {
			mendAll(t, source, target, mendRange(t, source, shard, 1))
		}
		require.Equal(t, totalOf(t, source), totalOf(t, target))
		for i, from := range []*Store{target, source} {
			before := totalOf(t, from)
			next := newLoop(t, from)
			next.site = wire.SiteID(20 + i)
			random(next, 60)
			copyChanges(t, []*Store{source, target}[i], next)
			require.NotEqual(t, before, totalOf(t, from))
			for shard := range wire.Shard(16) {
				require.Equal(t, rowsOf(t, source, shard), rowsOf(t, target, shard))
			}
			require.Equal(t, totalOf(t, source), totalOf(t, target))
		}
	}
}

// What a mended site makes first gets an inode number above all that it took over, and not one
// that the source ever gave away, also for a file that is gone.
func TestMendedSiteReusesNoInodeNumber(t *testing.T) {
	source, l := newTest(t)
	target, _ := newTest(t)
	last := Inode(0)
	for i := range 50 {
		l.all([]Operation{{Op: engine.OpCreate, Path: fmt.Sprintf("/a/%d", i)}, {Op: engine.OpMkDir, Path: "/a"}})
		if a, err := source.Stat(fmt.Sprintf("/a/%d", i)); err == nil {
			last = a.Inode
		}
	}
	require.NotZero(t, last)
	l.all([]Operation{{Op: engine.OpUnlink, Path: "/a/49"}})
	mendAll(t, source, target, mendRange(t, source, ShardOf("/a", 16), 1))
	require.NoError(t, newLoop(t, target).do(Operation{Op: engine.OpCreate, Path: "/a/new"}))
	a, err := target.Stat("/a/new")
	require.NoError(t, err)
	require.Equal(t, last+1, a.Inode)
}

// What was validated and not yet applied is forgotten with the state that it was validated
// against, and its request is not known.
func TestPendingChangesAreForgottenByMending(t *testing.T) {
	source, _ := newTest(t)
	target, l := newTest(t)
	op := Operation{Op: engine.OpCreate, Path: "/a", Request: wire.RequestID{5}}
	results := make([]Result, 1)
	_, _, err := target.Submit(context.Background(), l, []Operation{op}, results)
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	first := results[0].Ref

	pieces := mendRange(t, source, ShardOf("/a", 16), 1)
	require.NoError(t, target.Mend(context.Background(), pieces[0]))
	_, _, err = target.Submit(context.Background(), l, []Operation{op}, results)
	require.ErrorIs(t, err, store.ErrTorn)
	mendAll(t, source, target, pieces)
	clear(l.pending)
	l.site = 8
	again := l.all([]Operation{op})
	require.NoError(t, again[0].Err)
	require.False(t, again[0].Repeated)
	require.NotEqual(t, first, again[0].Ref)
	_, err = target.Stat("/a")
	require.NoError(t, err)
}

// A torn shard answers no reader, and says what it is; other shards do.
func TestTornShardRefusesReaders(t *testing.T) {
	ctx := context.Background()
	s, l := newTest(t)
	l.all(prepared)
	l.all([]Operation{{Op: engine.OpMkDir, Path: elsewhere(s)}})
	shard := ShardOf("/a", 16)
	pieces := mendRange(t, s, shard, 1)
	readers := map[string]func(path string) error{
		"stat":    func(path string) error { _, err := s.Stat(path); return err },
		"list":    func(path string) error { _, err := s.List(ctx, path, "", 9); return err },
		"entries": func(path string) error { _, err := s.Entries(ctx, path, "", 9); return err },
		"walk":    func(path string) error { return s.Walk(ctx, path, func(*Row) error { return nil }) },
		"xattrs":  func(path string) error { return s.Xattrs(ctx, path, func(string, []byte) error { return nil }) },
	}
	files := map[string]func(path string) error{
		"read": func(path string) error { return s.Read(ctx, path, 0, -1, io.Discard) },
		"sums": func(path string) error { _, _, err := s.Sums(ctx, path, 0, 9); return err },
	}
	all := map[string]func() error{
		"digest":  func() error { _, err := s.DigestAll(ctx); return err },
		"decided": func() error { return s.Decided(ctx, 0, func(Decided) error { return nil }) },
		"root":    func() error { _, err := s.List(ctx, "/", "", 9); return err },
	}
	check := func(torn bool) {
		want := func(name string, err error) {
			t.Helper()
			if !torn {
				require.NoError(t, err, name)
				return
			}
			require.ErrorIs(t, err, store.ErrTorn, name)
			require.ErrorContains(t, err, fmt.Sprintf("shard %d", shard), name)
		}
		for name, read := range readers {
			want(name, read("/a"))
			require.NoError(t, read(elsewhere(s)), name)
		}
		for name, read := range files {
			want(name, read("/a/f"))
		}
		for name, read := range all {
			want(name, read())
		}
		_, err := s.Stat("/")
		require.NoError(t, err)
	}
	check(false)
	require.NoError(t, s.Mend(ctx, pieces[0]))
	check(true)
	require.NoError(t, newLoop(t, s).do(Operation{Op: engine.OpCreate, Path: elsewhere(s) + "/f"}))
	mendAll(t, s, s, pieces)
	check(false)
}

// Whatever the disk holds when the process dies inside a piece, the next one finds the shard as
// it was, torn, or mended, and all pieces again end it.
func TestMendKilledAtAnyWriteIsFinished(t *testing.T) {
	ctx := context.Background()
	source, past := newTest(t)
	shard := ShardOf("/a", 16)
	past.all(prepared)
	var images []*vfs.MemFS
	var taken atomic.Bool
	r := rand.New(rand.NewPCG(1, 2))
	disk := vfs.NewCrashableMem()
	spy := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if taken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			images = append(images, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * r.IntN(3), RNG: r}))
		}
		return nil
	}))
	target := openTest(t, Options{Dir: "db", Shards: 16, FS: spy})
	copyChanges(t, target, past)
	require.NoError(t, target.Sync(ctx))
	for i := range 3 {
		past.all([]Operation{{
			Op: engine.OpWrite, Path: "/a/f", Offset: uint64(i) << 20, Data: bytes.Repeat([]byte{7}, 600<<10),
		}})
	}
	before, after := rowsOf(t, target, shard), rowsOf(t, source, shard)
	pieces := mendRange(t, source, shard, 1)
	require.Greater(t, len(pieces), 2)
	seen := map[string]int{}
	for at, p := range pieces {
		images = nil
		taken.Store(true)
		require.NoError(t, target.Mend(ctx, p))
		taken.Store(false)
		images = append(images, disk.CrashClone(vfs.CrashCloneCfg{}))
		for i, image := range images {
			s := openTest(t, Options{Dir: "db", Shards: 16, FS: image})
			_, err := s.Cursors(shard)
			switch rows := rowsOf(t, s, shard); {
			case err != nil:
				require.ErrorIs(t, err, store.ErrTorn)
				require.False(t, at == len(pieces)-1 && i == len(images)-1, "the last piece is durable")
				seen["torn"]++
			case at == 0 && i < len(images)-1:
				require.Equal(t, before, rows)
				seen["before"]++
			default:
				require.Equal(t, len(pieces)-1, at, "the torn mark is durable with the first piece")
				require.Equal(t, after, rows)
				seen["after"]++
			}
			if i%3 == 0 {
				mendAll(t, source, s, pieces)
			}
			require.NoError(t, s.Close())
		}
	}
	require.Len(t, seen, 3, "%v", seen)
	t.Logf("images of %d pieces: %v", len(pieces), seen)
}

// A piece that takes many rows away, a file of many chunks and more names than are deleted one
// by one, leaves none of them.
func TestPieceTakesManyRowsAway(t *testing.T) {
	source, past := newTest(t)
	target, _ := newTest(t)
	past.all(prepared)
	copyChanges(t, target, past)
	orphans := newLoop(t, target)
	orphans.next = past.next
	for i := range 3 * dropsMax {
		id := wire.RequestID{1, byte(i >> 8), byte(i)}
		orphans.all([]Operation{
			{Op: engine.OpCreate, Path: fmt.Sprintf("/a/many %d", i), Request: id},
			{Op: engine.OpWrite, Path: "/a/f", Offset: uint64(i) * ChunkBytes, Data: []byte{1}},
		})
	}
	shard := ShardOf("/a", 16)
	require.Greater(t, len(rowsOf(t, target, shard)), 15*dropsMax)
	mendAll(t, source, target, mendRange(t, source, shard, 1))
	require.Equal(t, totalOf(t, source), totalOf(t, target))
}

// I2: an entry that was done twice shows at the site that takes it over, and a piece that comes
// twice does nothing twice.
func TestRepeatedEntryShowsAfterMending(t *testing.T) {
	ctx := context.Background()
	source, past := newTest(t)
	target, _ := newTest(t)
	past.all(prepared)
	twice := *past.changes[len(past.changes)-1]
	twice.Effects = twice.Effects[len(twice.Effects)-1:] // an attribute that is set
	require.NoError(t, source.Apply(ctx, &twice))
	pieces := mendRange(t, source, ShardOf("/a", 16), 1)
	require.NoError(t, target.Mend(ctx, pieces[0]))
	mendAll(t, source, target, pieces)
	count := func(s *Store) (rows, distinct int) {
		seen, numbers := map[wire.Ref]bool{}, map[uint64]bool{}
		require.NoError(t, s.Decided(ctx, 0, func(d Decided) error {
			rows++
			seen[d.Ref], numbers[d.Row] = true, true
			return nil
		}))
		require.Len(t, numbers, rows, "row numbers are used once")
		return rows, len(seen)
	}
	rows, distinct := count(source)
	require.Equal(t, distinct+1, rows)
	r, d := count(target)
	require.Equal(t, []int{rows, distinct}, []int{r, d})
}

// Rows of another shard are refused, whatever their table.
func TestRowsOfAnotherShardAreRefused(t *testing.T) {
	ctx := context.Background()
	source, past := newTest(t)
	target, _ := newTest(t)
	past.all(prepared)
	past.all([]Operation{{Op: engine.OpWrite, Path: "/a/f", Data: []byte("x"), Request: wire.RequestID{1}}})
	right, wrong := ShardOf("/a", 16), ShardOf("/a", 16)^1
	refused := map[byte]bool{}
	for key, value := range rowsOf(t, source, right) {
		row := store.MendRow{Key: []byte(key), Value: []byte(value)}
		p := &store.MendPiece{Shard: wrong, Mend: store.MendID{1}, Rows: []store.MendRow{row}}
		if err := target.Mend(ctx, p); err != nil {
			require.ErrorIs(t, err, store.ErrMendPiece)
			refused[key[0]] = true
			_, err = target.Cursors(wrong)
			require.NoError(t, err, "nothing was done")
			continue
		}
		mendAll(t, newEmpty(t), target, mendRange(t, newEmpty(t), wrong, 2))
	}
	for _, table := range []byte{tableContent, tableRequest, tableState} {
		require.True(t, refused[table], "table %c", table)
	}
}

func newEmpty(t testing.TB) *Store {
	s, _ := newTest(t)
	return s
}

// A directory of layout 1 has the same requests and decided rows after it was opened, also
// where an upgrade was killed; numbers go on above the old ones.
func TestLayoutOneIsUpgraded(t *testing.T) {
	for _, moved := range []int{0, 1, 2} { // of each kind, half, or none as layout 1 has it
		disk := vfs.NewMem()
		s, err := Open(Options{Dir: "db", Shards: 16, FS: disk})
		require.NoError(t, err)
		l := newLoop(t, s)
		var requests []wire.RequestID
		for i := range 20 {
			requests = append(requests, wire.RequestID{9, byte(i)})
			l.all([]Operation{{Op: engine.OpCreate, Path: fmt.Sprintf("/%d", i), Request: requests[i]}})
		}
		want := decidedOf(t, s)
		require.NoError(t, s.Close())
		downgrade(t, disk, moved)

		s = openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
		require.Equal(t, want, decidedOf(t, s))
		for i, id := range requests {
			l.s = s
			again := l.all([]Operation{{Op: engine.OpCreate, Path: fmt.Sprintf("/%d", i), Request: id}})
			require.True(t, again[0].Repeated)
		}
		require.NoError(t, l.do(Operation{Op: engine.OpCreate, Path: "/later"}))
		last := decidedOf(t, s)
		require.Len(t, last, len(want)+1)
		highest := uint64(0)
		for _, d := range want {
			highest = max(highest, d.Row)
		}
		later := 0
		require.NoError(t, s.Decided(context.Background(), highest, func(d Decided) error {
			require.Greater(t, d.Row, highest)
			require.Zero(t, d.Request)
			later++
			return nil
		}))
		require.Equal(t, 1, later, "the new row's number is above all old ones")
	}
}

// I2: the number of a decided row is never given twice, whatever a crash leaves.
func TestRowNumbersRiseOverCrashes(t *testing.T) {
	disk := vfs.NewCrashableMem()
	r := rand.New(rand.NewPCG(3, 3))
	highest, l := uint64(0), newLoop(t, nil)
	for i := range 12 {
		s := openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
		for _, d := range decidedOf(t, s) {
			highest = max(highest, d.Row)
		}
		l.s = s
		require.NoError(t, l.do(Operation{Op: engine.OpCreate, Path: fmt.Sprintf("/%d", i)}))
		above := 0
		require.NoError(t, s.Decided(context.Background(), highest, func(Decided) error { above++; return nil }))
		require.Equal(t, 1, above)
		if i%2 == 0 {
			require.NoError(t, s.Sync(context.Background()))
		}
		disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
	}
	require.Greater(t, highest, uint64(5*rowBlock), "each opening begins behind the bound")
}

func decidedOf(t testing.TB, s *Store) (all []Decided) {
	t.Helper()
	require.NoError(t, s.Decided(context.Background(), 0, func(d Decided) error {
		all = append(all, d)
		return nil
	}))
	return all
}

// downgrade rewrites rows of requests and decided entries as layout 1 had them, all but every
// moved-th.
func downgrade(t testing.TB, disk vfs.FS, moved int) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: disk, FormatMajorVersion: pebble.FormatWALSyncChunks})
	require.NoError(t, err)
	count := 0
	ctx := context.Background()
	require.NoError(t, scan(ctx, db, []byte{tableRequest}, []byte{tableRequest + 1}, func(key, value []byte) error {
		if count++; moved != 0 && count%moved == 0 {
			return nil
		}
		require.NoError(t, db.Set(append([]byte{tableRequest}, key[statePrefixBytes:]...), value, nil))
		return db.Delete(key, nil)
	}))
	require.NoError(t, scan(ctx, db, []byte{tableDecided}, []byte{tableDecided + 1}, func(key, value []byte) error {
		if count++; moved != 0 && count%moved == 0 {
			return nil
		}
		ref, row, err := decodeDecidedKey(key)
		require.NoError(t, err)
		old := binary.BigEndian.AppendUint64([]byte{tableDecided}, row)
		require.NoError(t, db.Set(old, append(encodeRef(nil, ref), value...), nil))
		return db.Delete(key, nil)
	}))
	meta := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(nil, layoutFirst), 16)
	require.NoError(t, db.Set([]byte{tableMeta}, meta, nil))
	require.NoError(t, db.Delete(rowBoundKey, nil))
	require.NoError(t, db.Close())
}
