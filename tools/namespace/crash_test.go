package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// Writes, renames and truncations are taken back by crashes and redone from the
// journal, again and again; the end is that of an undisturbed store (I2, I3).
func TestCrashesAndRedoEndInTheSameState(t *testing.T) {
	_, l := newTest(t)
	r := rand.New(rand.NewPCG(4, 4))
	for range 250 {
		op := randomOp(r)
		op.Request = wire.RequestID{byte(r.Uint32()), byte(r.Uint32()), 1}
		l.all([]Operation{op})
	}
	want := totalOf(t, l.s)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		disk := vfs.NewCrashableMem()
		crash := func() *Store {
			disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			return openTest(t, Options{Dir: "db", Shards: l.s.shards, FS: disk})
		}
		s := crash()
		crashes := 0
		for i := 0; i < len(l.changes); i++ {
			c := l.changes[i]
			if s.applied(wire.Ref{Log: c.Batch.Log(), Incarnation: c.Batch.Incarnation, Seq: c.Batch.LastSeq()}) {
				continue
			}
			require.NoError(t, s.Apply(context.Background(), c))
			switch r.IntN(15) {
			case 0:
				s = crash()
				crashes++
				i = -1 // The journal gives everything again.
			case 1, 2:
				require.NoError(t, s.Sync(context.Background()))
			}
		}
		require.NotZero(t, crashes)
		require.Equal(t, want, totalOf(t, s))
		seen := map[wire.Ref]bool{}
		require.NoError(t, s.Decided(context.Background(), 0, func(d Decided) error {
			require.False(t, seen[d.Ref], "%v was done twice", d.Ref)
			seen[d.Ref] = true
			return nil
		}))
		require.Len(t, seen, len(l.changes))
	}
}

// I1: cp flushes nothing; what an opening of the copy counts, a power cut leaves.
func TestCopyWithoutFlushIsFlushedAtOpen(t *testing.T) {
	disk, to := vfs.NewMem(), vfs.NewCrashableMem()
	s := openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
	l := newLoop(t, s)
	l.all(prepared)
	require.NoError(t, s.Sync(context.Background()))
	want := totalOf(t, s)
	require.NoError(t, s.Close())
	require.NoError(t, to.MkdirAll("db", 0o700))
	top, err := to.OpenDir("")
	require.NoError(t, err)
	require.NoError(t, top.Sync()) // its name is the node's to flush
	names, err := disk.List("db")
	require.NoError(t, err)
	for _, name := range names {
		copyFile(t, disk, to, "db/"+name)
	}
	s = openTest(t, Options{Dir: "db", Shards: 16, FS: to})
	require.Equal(t, want, totalOf(t, s))
	to = to.CrashClone(vfs.CrashCloneCfg{})
	require.Equal(t, want, totalOf(t, openTest(t, Options{Dir: "db", Shards: 16, FS: to})))
}

func copyFile(t *testing.T, from, to vfs.FS, name string) {
	source, err := from.Open(name)
	require.NoError(t, err)
	defer source.Close()
	target, err := to.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = io.Copy(target, source)
	require.NoError(t, errors.Join(err, target.Close()))
}

// I1: a disk that fails stops the Store at its next sync at the latest, ends
// every later call with the reason, and neither hangs nor ends the process.
func TestFailingDiskStopsTheStore(t *testing.T) {
	for _, what := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
		t.Run(fmt.Sprint(what), func(t *testing.T) {
			var broken atomic.Bool
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData ||
					op.Kind == errorfs.OpFileSyncTo
				if broken.Load() && strings.HasSuffix(op.Path, ".log") && (syncs || op.Kind == what) {
					return errorfs.ErrInjected
				}
				return nil
			}))
			s, err := Open(Options{Dir: "db", Shards: 16, FS: disk, MemTableBytes: 1 << 20})
			require.NoError(t, err)
			l := newLoop(t, s)
			l.all(prepared)
			require.NoError(t, s.Sync(context.Background()))
			durable, err := s.Durable(ShardOf("/a", 16))
			require.NoError(t, err)
			broken.Store(true)
			results := make([]Result, 1)
			_, receipt, err := s.Submit(context.Background(), l, []Operation{{Op: engine.OpMkDir, Path: "/a/x"}},
				results)
			require.NoError(t, err)
			if err = receipt.Wait(context.Background()); err == nil {
				err = s.Sync(context.Background())
			}
			require.ErrorIs(t, err, ErrBroken)
			require.ErrorContains(t, err, "injected")
			_, err = s.Cursors(0)
			require.ErrorIs(t, err, ErrBroken)
			require.Equal(t, durable, s.cursors[ShardOf("/a", 16)].durable)
			require.ErrorIs(t, s.Close(), ErrBroken)
		})
	}
}
