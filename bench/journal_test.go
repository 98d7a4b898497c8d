package bench

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// disks are where journals are measured: memory without copies that crash, and
// the disk of the test's directory, by system calls and by a ring.
var disks = []struct {
	name string
	open func(b *testing.B) (vfs.FS, string)
}{
	{"memory", func(*testing.B) (vfs.FS, string) {
		// Units that only seem to be written: the journal's own work and no disk's.
		return vfs.WithFaults(vfs.NewMem(vfs.MemOptions{}),
			vfs.Fault{Op: vfs.OpWrite, Call: 3, Forever: true, Effect: vfs.LoseWrite}), "/j"
	}},
	{"disk", func(b *testing.B) (vfs.FS, string) { return vfs.OS{}, b.TempDir() }},
	{"disk-io_uring", func(b *testing.B) (vfs.FS, string) {
		disk, err := uring.OpenDisk(uring.DiskOptions{})
		if err != nil {
			b.Skip(err)
		}
		b.Cleanup(func() { disk.Close() })
		return disk, b.TempDir()
	}},
}

func openJournal(b *testing.B, fs vfs.FS, dir string) *journal.Journal {
	b.Helper()
	j, _, err := journal.Open(journal.Options{FS: fs, Dir: dir, Kind: journal.Own, Cluster: 1, Site: 1})
	require.NoError(b, err)
	b.Cleanup(func() { j.Close() })
	return j
}

// flush makes what is staged durable, in as many units as it takes.
func flush(j *journal.Journal) error {
	for f := j.BeginFlush(); f != nil; f = j.BeginFlush() {
		err := f.Write()
		if err == nil {
			err = f.Sync()
		}
		if _, err := j.EndFlush(f, err); err != nil {
			return err
		}
	}
	return nil
}

// giveBack returns every segment that is full, as an engine does whose peers have
// everything.
func giveBack(j *journal.Journal) error {
	for more := true; more; {
		var err error
		if more, err = j.Prepare(); err != nil {
			return err
		}
	}
	_, err := j.Reclaim(func(log wire.LogID) wire.Position {
		tail, _ := j.Tail(log)
		return tail.Position
	})
	return err
}

// BenchmarkJournalCommit stages one batch of one entry and flushes it: a commit
// is one unit. Segments are given back, so after the first they are recycled.
func BenchmarkJournalCommit(b *testing.B) {
	for _, disk := range disks {
		for _, size := range []int{256, 4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%s", disk.name, sizeName(size)), func(b *testing.B) {
				fs, dir := disk.open(b)
				commitEach(b, openJournal(b, fs, dir), size)
			})
		}
	}
}

func commitEach(b *testing.B, j *journal.Journal, size int) {
	start := newHeader(1)
	start.Kind, start.FirstSeq, start.Prev = wire.BatchStart, 1, wire.Chain{}
	body, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), nil)
	require.NoError(b, err)
	wire.CloseBatch(body, &start)
	_, err = j.Stage([]wire.BatchRef{{Header: start, Bytes: body}}, nil)
	require.NoError(b, err)
	h, batch := newBatch(1, size)
	h.Chain, h.FirstSeq = start.Chain, 1
	refs := make([]wire.BatchRef, 1)
	c := costOf(b, size)
	written := 0
	for b.Loop() {
		h.Prev, h.FirstSeq = h.Chain, h.FirstSeq+1
		h.FirstStamp++
		h.LastStamp = h.FirstStamp
		wire.CloseBatch(batch, &h)
		refs[0] = wire.BatchRef{Header: h, Bytes: batch}
		if _, err = j.Stage(refs, nil); err != nil {
			b.Fatal(err)
		}
		if err = flush(j); err != nil {
			b.Fatal(err)
		}
		if written += size + 4096; written > 16<<20 {
			written = 0
			if err = giveBack(j); err != nil {
				b.Fatal(err)
			}
		}
	}
	c.report(size)
	c.perSecond("commits")
}

// BenchmarkWriter has 1, 4 or 64 producers append entries of 256 bytes while one
// goroutine flushes, into a journal in memory.
func BenchmarkWriter(b *testing.B) {
	const size = 256
	for _, shards := range []int{1, 256} {
		for _, producers := range []int{1, 4, 64} {
			b.Run(fmt.Sprintf("shards=%d/producers=%d", shards, producers), func(b *testing.B) {
				made := byte(0)
				w := writer.New(writer.Options{
					Cluster: 1, Site: 1, Shards: shards, Epoch: 1, BytesMax: 32 << 20,
					Incarnation: func() wire.Incarnation { made++; return wire.Incarnation{made, 1} },
				})
				fs, dir := disks[0].open(b)
				p := &production{w: w, j: openJournal(b, fs, dir), shards: uint64(shards)}
				c := costOf(b, size)
				require.NoError(b, p.run(producers, int64(b.N), newEntry(size)))
				c.report(size)
				c.perSecond("entries")
			})
		}
	}
}

// production is one flusher and its producers.
type production struct {
	w      *writer.Writer
	j      *journal.Journal
	shards uint64
	room   sync.Cond
	mu     sync.Mutex
}

func (p *production) run(producers int, entries int64, e *wire.Entry) error {
	p.room.L = &p.mu
	var left atomic.Int64
	left.Store(entries)
	var working sync.WaitGroup
	errs := make(chan error, producers)
	for n := range producers {
		working.Go(func() { errs <- p.produce(uint64(n), &left, e) }) // Ends when nothing is left.
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }() // Ends with the producers.
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		if _, err := p.w.Flush(p.j, time.Now()); err != nil {
			return err
		}
		if err := flush(p.j); err != nil {
			return err
		}
		if err := giveBack(p.j); err != nil {
			return err
		}
		p.room.Broadcast()
	}
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func (p *production) produce(at uint64, left *atomic.Int64, e *wire.Entry) error {
	const grain = 64 // entries taken at once, so that the counter is not what is measured
	for {
		n := min(grain, left.Add(-grain)+grain)
		if n <= 0 {
			return nil
		}
		for range n {
			at += 7
			for {
				_, err := p.w.Append(wire.Shard(at%p.shards), e, 0)
				if err == nil {
					break
				}
				if !errors.Is(err, writer.ErrFull) {
					return err
				}
				p.mu.Lock()
				if p.w.PendingBytes() > 16<<20 {
					p.room.Wait()
				}
				p.mu.Unlock()
			}
		}
	}
}
