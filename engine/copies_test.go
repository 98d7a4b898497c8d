package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/stretchr/testify/require"
)

// overTCP has a pair talk over real sockets, with the engines' own transport.
func overTCP(t testing.TB, left, right *site, io string) {
	for _, s := range []*site{left, right} {
		s.quiet(t)
		s.options.Transport, s.options.FS, s.options.IO = nil, nil, io
		s.options.Listen = "127.0.0.1:0"
	}
	right.options.Peers[0].Addrs = nil
	right.start()
	left.options.Peers[0].Addrs = []string{right.Addr()}
	left.start()
}

// TestHowOftenAPayloadByteIsCopied counts, at the places where bytes are copied,
// what a steady stream costs: at the source from Reserve to the journal's and the
// socket's system calls, at the receiver from the socket's to the journal's. What
// is neither copied nor read back reaches both from where it lies. Batches below
// 16 KiB are copied once: by a journal that goes past the system's cache into
// aligned memory, by one that does not nowhere; larger ones never.
func TestHowOftenAPayloadByteIsCopied(t *testing.T) {
	for _, io := range []string{"portable", "io_uring"} {
		for _, payloadBytes := range []int{200, 4 << 10, 12 << 10, 16 << 10, 64 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s, payloads of %d bytes", io, payloadBytes), func(t *testing.T) {
				copiesMax := 0.0
				if payloadBytes < 16<<10 {
					copiesMax = 1
				}
				c := streamed(t, payloadBytes, io)
				// Headers count too. Control frames, of which heartbeats are the most, are
				// small, and 16 KiB behind one are read ahead.
				headers := 100 / float64(payloadBytes)
				control := 4 + c.took.Seconds()*8
				rest := control * (16 << 10) / float64(c.bytes)
				for _, end := range []copies{c.source, c.receiver} {
					// Where others have the processor, a batch goes in several units, and each of
					// them is padded to a block.
					padding := float64(max(0, end.flushes-c.batches)) * 4096 / float64(c.bytes)
					require.LessOrEqual(t, end.copied+end.staged, copiesMax*(1+headers+padding)+rest)
				}
				if io == "portable" {
					require.Zero(t, c.source.staged+c.receiver.staged)
				}
			})
		}
	}
}

// costs is what a stream of so many bytes came to.
type costs struct {
	source, receiver copies
	bytes            int
	batches          int // that the source waited for
	took             time.Duration
}

// copies of each byte, at one end.
type copies struct {
	copied float64 // on its way into the journal's memory
	staged float64 // to go past the system's cache

	flushes int
}

// copiesSince is what was copied since the counters were taken: of the own journal
// for the source, of the mirror for the receiver.
func copiesSince(before, now engine.Counters, journal func(*engine.Counters) engine.JournalCounters,
	bytes int) copies {
	each := func(now, before uint64) float64 { return float64(now-before) / float64(bytes) }
	return copies{
		copied:  each(journal(&now).CopiedBytes, journal(&before).CopiedBytes),
		staged:  each(now.Files.StagedBytes, before.Files.StagedBytes),
		flushes: int(journal(&now).Flushes - journal(&before).Flushes),
	}
}

// streamed has payloads of one size go from site to site, and counts.
func streamed(t *testing.T, payloadBytes int, io string) costs {
	left, right := pair(t)
	overTCP(t, left, right, io)
	run := func(bytes int) {
		var last engine.Ref
		for n := 0; n < bytes; n += payloadBytes {
			last = left.reserve(0, "some key", payloadBytes, engine.Async)
			if payloadBytes >= 16<<10 || n%(16*payloadBytes) == 0 { // about one batch at a time
				require.NoError(t, left.Wait(soon(t), last, engine.Local))
			}
		}
		require.NoError(t, left.Wait(soon(t), last, engine.Applied(1)))
		require.NoError(t, left.Wait(soon(t), last, engine.AppliedHere))
	}
	c := costs{bytes: min(24<<20, 16_000*payloadBytes)}
	c.batches = c.bytes / (16 * payloadBytes)
	run(c.bytes / 4)
	began := time.Now()
	source, receiver := left.Counters(), right.Counters()
	run(c.bytes)
	source2, receiver2 := left.Counters(), right.Counters()
	c.took = time.Since(began)
	own := func(c *engine.Counters) engine.JournalCounters { return c.Own }
	mirror := func(c *engine.Counters) engine.JournalCounters { return c.Mirror }
	c.source = copiesSince(source, source2, own, c.bytes)
	c.receiver = copiesSince(receiver, receiver2, mirror, c.bytes)
	t.Logf("copies of a byte: %+v at the source, %+v at the receiver; %d flushes, %d wakes", c.source, c.receiver,
		source2.Own.Flushes-source.Own.Flushes, source2.Own.Wakes-source.Own.Wakes)
	require.Equal(t, source.Own.FileReadBytes, source2.Own.FileReadBytes, "nobody is behind")
	require.Equal(t, receiver.Mirror.FileReadBytes, receiver2.Mirror.FileReadBytes, "nobody is behind")
	require.Positive(t, source2.Own.RecentBytes)
	return c
}

// reserve appends an entry whose payload is written where it lies.
func (s *site) reserve(shard engine.Shard, key string, payloadBytes int, level engine.Level) engine.Ref {
	s.t.Helper()
	r, err := s.Reserve(soon(s.t), shard, entry(key, ""), payloadBytes)
	require.NoError(s.t, err)
	for i := range r.Payload {
		r.Payload[i] = byte(i)
	}
	ref, err := r.Commit(soon(s.t), level)
	require.NoError(s.t, err)
	return ref
}

func TestFlusherIsNotWokenByEveryEntry(t *testing.T) {
	a, _ := pair(t)
	a.quiet(t)
	a.options.Peers, a.options.Listen = nil, ""
	a.start()
	a.put(0, "k", "v", engine.AppliedHere)
	before := a.Counters().Own
	const entries = 20_000
	var last engine.Ref
	for i := range entries {
		ref, err := a.Append(context.Background(), engine.Shard(i%4), entry("k", "v"), engine.Async)
		require.NoError(t, err)
		last = ref
	}
	require.NoError(t, a.Wait(soon(t), last, engine.Local))
	after := a.Counters().Own
	t.Logf("%d entries, %d flushes, %d wakes", entries, after.Flushes-before.Flushes, after.Wakes-before.Wakes)
	require.LessOrEqual(t, after.Wakes-before.Wakes, after.Flushes-before.Flushes+10)
	require.Less(t, after.Wakes-before.Wakes, uint64(entries/4))
}
