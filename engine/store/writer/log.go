package writer

import (
	"sync"
	"time"

	"github.com/claudefs/repl/wire"
)

// claimBytesMax is how far ahead of its entries an open batch counts as pending, at
// most: so that a small entry needs nothing that all shards share.
const claimBytesMax = 4 << 10

// shardLog is the end of one shard's log. The fields say what the next batch
// continues; what is appended and not yet durable is included. What each append
// touches lies at the beginning, in two of a processor's cache lines: with many
// shards they, and the batch's end, come from memory every time.
type shardLog struct {
	mu         sync.Mutex
	bytes      []byte     // of the open batch: room for its header, then the body so far
	seq        wire.Seq   // last given out
	stamp      wire.Stamp // last given out, or the floor
	firstStamp wire.Stamp // of the open batch
	index      uint64     // last of the host's

	incarnation wire.Incarnation // zero: there is no log yet
	open        *buffer
	claimed     int    // of the open batch: what of it counts as pending, its bytes at least
	copied      uint64 // see Totals
	dirty       bool
	reserved    bool    // placed is a reservation's
	paused      bool    // it takes no entries, see Pause
	told        bool    // where the log ends, see GoOn
	opened      bool    // by Open: what older incarnations come to does not matter any more
	first, last *buffer // closed and not yet staged, in order

	placed     placed
	chain      wire.Chain    // of the last closed batch
	token      uint64        // of the last reservation
	turn       chan struct{} // closed when the reservation ends; nil while nobody waits
	opening    *Opening      // waits for that
	epoch      wire.Epoch    // of incarnation
	usualBytes int           // of data batches lately, see seal
	totals     Totals        // of closed batches

	_ [24]byte // to whole cache lines
}

// placed is an entry that is encoded behind its batch and does not count yet.
type placed struct {
	at    int // of the batch's bytes
	stamp wire.Stamp
	index uint64
}

// fits says whether size more bytes go into the open batch. One with memory of
// growBytesMax or more is closed rather than copied.
func (l *shardLog) fits(size int) bool {
	n := len(l.bytes)
	return n+size <= cap(l.bytes) || cap(l.bytes) < growBytesMax && n+size <= wire.BatchBytesMax
}

// next is the stamp of the next batch's first entry: the wall clock's, unless the
// log is ahead. A wall clock before 1970 has no stamp; the log then counts on by
// itself, as it does within a batch.
func (l *shardLog) next(wall time.Time) wire.Stamp {
	if wall.UnixMicro() < 0 {
		return l.stamp + 1
	}
	return max(l.stamp+1, wire.StampOf(wall))
}

// seal closes the open batch, if there is one, behind the last closed one.
func (l *shardLog) seal() {
	if l.open == nil {
		return
	}
	h := l.open.header()
	h.Prev, h.LastStamp, h.LastIndex = l.chain, l.stamp, l.index
	h.Count = uint32(l.seq - h.FirstSeq + 1)
	wire.CloseBatch(l.bytes, h)
	l.chain = h.Chain
	if h.Kind == wire.BatchData {
		// Flushes differ in length: a short one must not have the next batch begin small
		// and be copied as it grows.
		l.usualBytes = max(len(l.bytes), min(l.usualBytes-l.usualBytes/64, growBytesMax))
	}
	b := l.take()
	if l.last == nil {
		l.first = b
	} else {
		l.last.next = b
	}
	l.last = b
}

// take takes the open batch out of the log, with what it adds to the totals.
func (l *shardLog) take() *buffer {
	b := l.open
	b.bytes, b.claimed = l.bytes, l.claimed
	if b.header().Kind == wire.BatchData {
		l.totals = l.total()
		l.copied = 0
	}
	l.open, l.bytes, l.claimed = nil, nil, 0
	return b
}

// total is the totals with those of the open batch, but for a reservation's entry.
func (l *shardLog) total() Totals {
	t := l.totals
	t.CopiedBytes += l.copied
	if l.open == nil || l.open.header().Kind != wire.BatchData {
		return t
	}
	end := len(l.bytes)
	if l.reserved {
		end = l.placed.at
	}
	t.Entries += uint64(l.seq + 1 - l.open.header().FirstSeq)
	t.Bytes += uint64(end - wire.BatchHeaderBytes)
	return t
}
