package uring_test

import (
	"io/fs"
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/vfs/vfstest"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
)

// onDisks runs a test with the best rings and with the plainest.
func onDisks(t *testing.T, test func(t *testing.T, d *uring.Disk)) {
	needRing(t)
	for _, setup := range []uring.Setup{uring.SetupBest, uring.SetupPlain} {
		t.Run(setup.String(), func(t *testing.T) { test(t, openDisk(t, setup)) })
	}
}

func openDisk(t testing.TB, setup uring.Setup) *uring.Disk {
	t.Helper()
	needRing(t)
	d, err := uring.OpenDisk(uring.DiskOptions{Setup: setup})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestDisksFilesConform(t *testing.T) {
	onDisks(t, func(t *testing.T, d *uring.Disk) {
		vfstest.Conformance(t, func(t *testing.T) (vfs.FS, string) { return d, path.Join(t.TempDir(), "a", "b") })
	})
}

func TestDisksQueuesConform(t *testing.T) {
	onDisks(t, func(t *testing.T, d *uring.Disk) {
		vfstest.QueueConformance(t, func(t *testing.T) (vfs.Queuer, string) { return d, t.TempDir() })
	})
}

func TestDiskWithoutDirectWritesUsesCache(t *testing.T) {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		t.Skip("no " + shm)
	}
	onDisks(t, func(t *testing.T, d *uring.Disk) {
		vfstest.QueueConformance(t, func(t *testing.T) (vfs.Queuer, string) {
			dir, err := os.MkdirTemp(shm, "disk")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
			return d, dir
		})
	})
}

func TestManyGoroutinesShareTheDisksRings(t *testing.T) {
	onDisks(t, func(t *testing.T, d *uring.Disk) {
		f, err := d.Create(path.Join(t.TempDir(), "f"))
		require.NoError(t, err)
		const writers, each = 100, 1000
		done := make(chan error, writers)
		for i := range writers {
			go func() { // ends with its write and read
				data := fill(make([]byte, each), i*each)
				err := f.WriteAt([][]byte{data[:1], data[1:]}, int64(i*each))
				got := make([]byte, each)
				if err == nil {
					_, err = f.ReadAt(got, int64(i*each))
				}
				if err == nil && !isPattern(got, i*each) {
					err = fs.ErrInvalid
				}
				done <- err
			}()
		}
		for range writers {
			require.NoError(t, <-done)
		}
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
	})
}

func TestFilesOfAClosedDiskSaySo(t *testing.T) {
	needRing(t)
	d, err := uring.OpenDisk(uring.DiskOptions{})
	require.NoError(t, err)
	name := path.Join(t.TempDir(), "f")
	f, err := d.Create(name)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Close(), uring.ErrClosed)
	err = f.WriteAt([][]byte{[]byte("x")}, 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorContains(t, err, name)
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.NoError(t, f.Close())
}

func TestJournalHasUnitsUnderWayOnTheDisk(t *testing.T) { // I1, I9
	onDisks(t, func(t *testing.T, d *uring.Disk) {
		for _, buffered := range []bool{false, true} {
			o := journal.Options{FS: d, Dir: path.Join(t.TempDir(), "j"), Kind: journal.Own, Cluster: 1, Site: 1,
				SegmentBytes: 4 << 20, UnitBytesMax: 2 << 20}
			j, _, err := journal.Open(o)
			require.NoError(t, err)
			p := j.OpenPipeline(journal.PipelineOptions{Buffered: buffered})
			require.Equal(t, journal.DepthDefault, p.Depth())
			log := newLog()
			end := func() {
				done, err := p.End()
				require.NoError(t, err)
				log.durable += len(done.Headers)
			}
			for i := range 300 {
				_, err := j.Stage([]wire.BatchRef{log.batch(100 + i*i%30_000)}, nil)
				require.NoError(t, err)
				for !p.Begin() {
					end()
				}
			}
			for p.Begin() || p.Inflight() > 0 {
				end()
			}
			require.Equal(t, log.made, log.durable)
			require.NoError(t, p.Close())
			require.NoError(t, j.Close())
			j, found, err := journal.Open(o)
			require.NoError(t, err)
			require.Empty(t, found.Damage)
			require.Zero(t, found.TornBytes)
			tail, _ := j.Tail(log.header.Log())
			require.Equal(t, log.header.End(), tail.Position)
			require.NoError(t, j.Close())
		}
	})
}

// log makes the batches of one log.
type log struct {
	header        wire.BatchHeader
	made, durable int
}

func newLog() *log { return &log{} }

// batch makes the next one; the first opens the log.
func (l *log) batch(payload int) wire.BatchRef {
	h := &l.header
	l.made++
	if l.made == 1 {
		*h = wire.BatchHeader{Kind: wire.BatchStart, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1,
			Count: 1, FirstSeq: 1, FirstStamp: 1 << 12, LastStamp: 1 << 12}
		b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), nil)
		if err != nil {
			panic(err)
		}
		wire.CloseBatch(b, h)
		return wire.BatchRef{Header: *h, Bytes: b}
	}
	h.Kind = wire.BatchData
	h.Prev, h.FirstSeq = h.Chain, h.FirstSeq+1
	h.FirstStamp++
	h.LastStamp = h.FirstStamp
	e := wire.Entry{Op: 1, Keys: [][]byte{[]byte("key")}, Payload: make([]byte, payload)}
	b := wire.AppendEntry(make([]byte, wire.BatchHeaderBytes), h.FirstStamp, h.FirstStamp, &e)
	wire.CloseBatch(b, h)
	return wire.BatchRef{Header: *h, Bytes: b}
}
