package bench

import (
	"fmt"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
)

const firstStamp = wire.Stamp(1 << 12)

func newEntry(payload int) *wire.Entry {
	return &wire.Entry{Op: 1, Keys: [][]byte{[]byte("sixteen bytes ok")}, Payload: random(payload)}
}

// newHeader is that of a batch behind the first of its log.
func newHeader(count int) wire.BatchHeader {
	return wire.BatchHeader{
		Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: uint32(count),
		FirstSeq: 2, FirstStamp: firstStamp, LastStamp: firstStamp + wire.Stamp(count-1), Prev: wire.Chain{1},
	}
}

// newBatch is a closed batch of count entries.
func newBatch(count, payload int) (wire.BatchHeader, []byte) {
	e := newEntry(payload)
	b := make([]byte, wire.BatchHeaderBytes)
	for i := range count {
		b = wire.AppendEntry(b, firstStamp, firstStamp+wire.Stamp(i), e)
	}
	h := newHeader(count)
	wire.CloseBatch(b, &h)
	return h, b
}

// bodies are batches as they are met: many small entries, and one of each size.
var bodies = []struct{ count, payload int }{{250, 256}, {1, 4 << 10}, {1, 64 << 10}, {1, 1 << 20}}

func bodyName(count, payload int) string { return fmt.Sprintf("%dx%s", count, sizeName(payload)) }

func sizeName(bytes int) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%dMiB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%dKiB", bytes>>10)
	}
	return fmt.Sprintf("%dB", bytes)
}

func BenchmarkAppendEntry(b *testing.B) {
	for _, size := range []int{64, 256, 4 << 10, 64 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			e := newEntry(size)
			room := make([]byte, 0, wire.BatchBytesMax)
			c := costOf(b, size)
			for b.Loop() {
				if len(room)+wire.EntryBytes(e) > cap(room) {
					room = room[:0]
				}
				room = wire.AppendEntry(room, firstStamp, firstStamp, e)
			}
			c.report(size)
		})
	}
}

func BenchmarkCloseBatch(b *testing.B) {
	for _, body := range bodies {
		b.Run(bodyName(body.count, body.payload), func(b *testing.B) {
			h, batch := newBatch(body.count, body.payload)
			size := body.count * body.payload
			c := costOf(b, size)
			for b.Loop() {
				wire.CloseBatch(batch, &h)
			}
			c.report(size)
		})
	}
}

func BenchmarkDigest(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			p := random(size)
			c := costOf(b, size)
			for b.Loop() {
				_ = xxh3.Hash128(p)
			}
			c.report(size)
		})
	}
}

// BenchmarkSplitBatches is what a receiver does with a frame: headers decoded,
// chains and digests verified.
func BenchmarkSplitBatches(b *testing.B) {
	for _, body := range bodies {
		b.Run(bodyName(body.count, body.payload), func(b *testing.B) {
			_, batch := newBatch(body.count, body.payload)
			refs := make([]wire.BatchRef, 0, 1)
			size := body.count * body.payload
			c := costOf(b, size)
			for b.Loop() {
				if _, err := wire.SplitBatches(batch, 1, refs); err != nil {
					b.Fatal(err)
				}
			}
			c.report(size)
		})
	}
}

// BenchmarkWalk is what an applier does with a batch: each entry decoded, its
// payload not looked at.
func BenchmarkWalk(b *testing.B) {
	for _, body := range bodies {
		b.Run(bodyName(body.count, body.payload), func(b *testing.B) {
			h, batch := newBatch(body.count, body.payload)
			var r wire.EntryReader
			var e wire.Entry
			c := costOf(b, 0)
			for b.Loop() {
				r.Reset(&h, batch[wire.BatchHeaderBytes:])
				for r.Next(&e) {
				}
			}
			c.report(0)
			require.NoError(b, r.Err())
		})
	}
}
