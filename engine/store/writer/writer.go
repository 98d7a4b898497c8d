package writer

// From an entry to a durable batch:
//
//  1. Append, or Reserve and Commit, encodes the entry into the open batch of its shard.
//     A full batch is closed; mark lists the shard for the next flush.
//  2. Fill (bound.go) stages a clock bound above the stamps, then flushes.
//  3. Flush closes open batches and stages them in the journal, log by log (stage).
//  4. The journal flushes the unit and releases the memory of its batches, or keeps it
//     lent to readers as a recent unit.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

var (
	// ErrFull: BytesMax is appended and not flushed. Nothing was done. Try again after
	// a flush.
	ErrFull = errors.New("too much appended and not yet flushed")
	// ErrReserved: another caller holds a reservation of the shard. Nothing was done. Turn
	// says when to try again.
	ErrReserved = errors.New("the shard's tail is reserved")
	// ErrClosed: the writer is closed.
	ErrClosed = errors.New("writer closed")
	// ErrPaused: the shard takes no entry until Pause ends. Nothing was done.
	ErrPaused = errors.New("the shard's log is paused")
	// ErrIndex: the host's index does not rise. Nothing was done.
	ErrIndex = errors.New("host index does not rise")
)

// startBytes is the size of a START batch that names no ends.
const startBytes = wire.ShippedBytesMin

// Memory is where batches live. Its methods may be called by any goroutine.
type Memory interface {
	// Alloc lends size bytes of unspecified content.
	Alloc(size int) []byte
	// Free takes back what Alloc lent.
	Free(memory []byte)
}

// Options of a Writer.
type Options struct {
	Cluster wire.ClusterID
	Site    wire.SiteID
	Node    wire.NodeID
	Shards  int
	Domain  wire.Domain
	Epoch   wire.Epoch // of logs that begin here, see Open for others
	// BytesMax bounds what is appended and not yet flushed; then Append returns
	// ErrFull. At least two batches of wire.BatchBytesMax, so that any one entry
	// fits an empty writer.
	BytesMax int64
	// Memory lends the memory of batches; nil = the Go heap. Close the Writer
	// before it ends.
	Memory Memory
	// ClockFloor: no stamp at or below it is given out.
	ClockFloor wire.Stamp
	// Incarnation returns a new random identity.
	Incarnation func() wire.Incarnation
	// Now is the wall clock, asked once per batch; nil = time.Now. It may be
	// called by any goroutine.
	Now func() time.Time
	// Sometimes lets a simulator choose a rare but always allowed step at the named
	// point. nil = never.
	Sometimes func(point string) bool
}

// PointBatchClosed of Options.Sometimes closes a batch that has room.
const PointBatchClosed = "batch-closed"

func (o *Options) sometimes(point string) bool { return o.Sometimes != nil && o.Sometimes(point) }

// Writer turns entries into closed batches, one open batch per shard. Append
// may be called by any goroutine; entries of different shards do not wait for
// one another. An entry is encoded once, into the buffer that the journal
// writes from.
type Writer struct {
	o       Options
	logs    []shardLog
	pool    pool
	pending atomic.Int64
	failure atomic.Pointer[error] // why Stage failed; final

	dirtyMu sync.Mutex
	dirty   []wire.Shard // shards with something to stage, each once

	flushMu  sync.Mutex // one Flush at a time, so that a log's batches stay in order
	flushing []wire.Shard
	oldest   time.Time // see Oldest
	stampMax atomic.Uint64
	bound    wire.Stamp // the last clock bound, see Fill; of its goroutine
}

// Totals are sums since New.
type Totals struct {
	Entries uint64
	Bytes   uint64 // of entries, encoded
	// CopiedBytes of payload were copied between the caller's memory, or
	// Reservation.Payload, and the closed batch: by Append, and by buffers that
	// grew.
	CopiedBytes uint64
}

// New returns a Writer whose shards all start empty; SetTail tells what exists.
func New(o Options) *Writer {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Writer{o: o, logs: make([]shardLog, o.Shards), bound: o.ClockFloor}
	w.pool.idleBytesMax, w.pool.source = o.BytesMax, o.Memory
	w.stampMax.Store(uint64(o.ClockFloor))
	for i := range w.logs {
		w.logs[i].stamp, w.logs[i].epoch = o.ClockFloor, o.Epoch
	}
	return w
}

// SetTail says where the log of a shard ends, before its first Append. It may
// be called again while nothing of the shard is pending.
func (w *Writer) SetTail(shard wire.Shard, t journal.Tail) {
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil || l.first != nil || l.reserved {
		panic(fmt.Sprintf("writer: tail of shard %d set while entries are pending", shard))
	}
	l.incarnation = t.Position.Incarnation
	l.seq = t.Position.Seq
	l.chain = t.Position.Chain
	l.stamp = max(l.stamp, t.LastStamp)
	l.index = max(l.index, t.LastIndex)
	w.raiseStampMax(t.LastStamp)
}

// raiseStampMax has StampMax cover a stamp.
func (w *Writer) raiseStampMax(to wire.Stamp) {
	for {
		at := w.stampMax.Load()
		if at >= uint64(to) || w.stampMax.CompareAndSwap(at, uint64(to)) {
			return
		}
	}
}

// Tail is the last entry given out of a shard's log, durable or not.
func (w *Writer) Tail(shard wire.Shard) (wire.Incarnation, wire.Seq) {
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.incarnation, l.seq
}

// Pause has a shard take no entries, or take them again. A reservation that is out may still
// be committed: Turn says when it has ended. From then on Tail is the last entry.
func (w *Writer) Pause(shard wire.Shard, on bool) {
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = on
}

// Append encodes e as the next entry of its shard's log. index is the host's
// own, or 0; a host that gives one gives rising ones (ErrIndex). An error means
// that nothing was done, except after a failed Flush, whose error it repeats.
func (w *Writer) Append(shard wire.Shard, e *wire.Entry, index uint64) (wire.Ref, error) {
	if err := wire.CheckEntry(e); err != nil {
		return wire.Ref{}, err
	}
	if int64(shard) >= int64(len(w.logs)) {
		return wire.Ref{}, fmt.Errorf("shard %d of %d: %w", shard, len(w.logs), wire.ErrLimit)
	}
	l := &w.logs[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	p, payload, err := w.place(l, shard, e, len(e.Payload), index)
	if err != nil {
		return wire.Ref{}, err
	}
	l.copied += uint64(copy(payload, e.Payload))
	return w.commit(l, shard, p), nil
}

// place makes room for an entry and encodes it there, all but its payload, whose
// room it returns. l.mu is held.
func (w *Writer) place(l *shardLog, shard wire.Shard, e *wire.Entry, payloadBytes int, index uint64) (
	p placed, payload []byte, err error) {
	if failure := w.failure.Load(); failure != nil {
		return p, nil, *failure
	}
	if l.reserved {
		return p, nil, ErrReserved
	}
	if l.paused {
		return p, nil, ErrPaused
	}
	if index != 0 && index <= l.index {
		return p, nil, fmt.Errorf("shard %d: index %d behind %d: %w", shard, index, l.index, ErrIndex)
	}
	size := wire.EntryBytes(e) - len(e.Payload) + payloadBytes
	p = placed{stamp: l.stamp + 1, index: index}
	switch fits := l.open != nil && l.fits(size) && !w.o.sometimes(PointBatchClosed); {
	case !fits:
		if p.stamp, err = w.openBatch(l, shard, size); err != nil {
			return p, nil, err
		}
	case len(l.bytes)+size > l.claimed:
		if err := w.claim(l, len(l.bytes)+size-l.claimed); err != nil {
			return p, nil, err
		}
	}
	if len(l.bytes)+size > cap(l.bytes) {
		l.copied += uint64(len(l.bytes))
		l.bytes = w.pool.grow(l.open, l.bytes, size)
	}
	p.at = len(l.bytes)
	l.bytes = wire.AppendEntryHead(l.bytes, l.firstStamp, p.stamp, e, payloadBytes)
	n := len(l.bytes)
	l.bytes = l.bytes[:n+payloadBytes]
	return p, l.bytes[n : n+payloadBytes : n+payloadBytes], nil
}

// claim counts size more bytes of the open batch as pending, and some of those
// behind them if there is room.
func (w *Writer) claim(l *shardLog, size int) error {
	if plant.ClaimsUncounted {
		return nil
	}
	ahead := max(size, min(l.claimed, claimBytesMax))
	if w.pending.Add(int64(ahead)) > w.o.BytesMax {
		w.pending.Add(-int64(ahead))
		if ahead = size; w.pending.Add(int64(ahead)) > w.o.BytesMax {
			w.pending.Add(-int64(ahead))
			return ErrFull
		}
	}
	l.claimed += ahead
	return nil
}

// openBatch opens the batch of an entry of size bytes, of a new log behind its
// START, and returns the entry's stamp.
func (w *Writer) openBatch(l *shardLog, shard wire.Shard, size int) (wire.Stamp, error) {
	created := l.incarnation == wire.Incarnation{}
	size += wire.BatchHeaderBytes
	need := size
	if created {
		need += startBytes
	}
	if w.pending.Add(int64(need)) > w.o.BytesMax {
		w.pending.Add(-int64(need))
		return 0, ErrFull
	}
	now := w.o.Now()
	stamp := l.next(now)
	if created {
		w.start(l, shard, stamp, nil)
		stamp++
	}
	if l.open != nil {
		full := len(l.bytes)
		l.seal()
		l.usualBytes = min(2*full, wire.BatchBytesMax) // the next one is wanted larger
	}
	w.newBatch(l, shard, wire.BatchData, stamp, w.hinted(l, size))
	l.open.at = now
	l.claimed = size
	return stamp, nil
}

// commit makes the placed entry the log's last one. l.mu is held.
func (w *Writer) commit(l *shardLog, shard wire.Shard, p placed) wire.Ref {
	if p.index != 0 {
		l.index = p.index
	}
	l.seq++
	l.stamp = p.stamp
	if !l.dirty {
		w.mark(l, shard)
	}
	return wire.Ref{Log: wire.LogID{Site: w.o.Site, Shard: shard}, Incarnation: l.incarnation, Seq: l.seq}
}

// hinted is how much memory a batch that needs size bytes begins with: as much as
// the shard's last ones came to, because growing copies; but no more than it needs
// once what is pending takes BytesMax of memory.
func (w *Writer) hinted(l *shardLog, size int) int {
	if l.usualBytes > size && w.pool.heldBytes.Load()+int64(2*l.usualBytes) <= w.o.BytesMax {
		return l.usualBytes
	}
	return size
}

// start opens a new incarnation with its START batch, closed at once; its size counts as
// pending. ends were checked.
func (w *Writer) start(l *shardLog, shard wire.Shard, stamp wire.Stamp, ends []wire.LogEnd) {
	l.incarnation = w.o.Incarnation()
	l.seq, l.chain = 0, wire.Chain{}
	size := startBytesFor(len(ends))
	w.newBatch(l, shard, wire.BatchStart, stamp, size)
	var err error
	if l.bytes, err = wire.AppendStart(l.bytes, ends); err != nil {
		panic(err)
	}
	l.seq, l.stamp, l.claimed = 1, stamp, size
	l.seal()
}

// newBatch opens a batch behind the log's last entry, with room for its header
// and size bytes in all.
func (w *Writer) newBatch(l *shardLog, shard wire.Shard, kind wire.BatchKind, stamp wire.Stamp, size int) {
	b := w.pool.take(size)
	b.writer = w
	*b.header() = wire.BatchHeader{
		Kind: kind, Incarnation: l.incarnation, Cluster: w.o.Cluster, Site: w.o.Site, Node: w.o.Node,
		Shard: shard, Domain: w.o.Domain, Epoch: l.epoch, FirstSeq: l.seq + 1, FirstStamp: stamp,
	}
	l.open, l.bytes, l.firstStamp = b, b.bytes[:wire.BatchHeaderBytes], stamp
}

// mark puts a shard on the list that Flush works through, once.
func (w *Writer) mark(l *shardLog, shard wire.Shard) {
	if l.dirty {
		return
	}
	l.dirty = true
	w.dirtyMu.Lock()
	w.dirty = append(w.dirty, shard)
	w.dirtyMu.Unlock()
}

// Flush closes all open batches except those with a reservation, and stages them in the
// journal in rising order of shard. A new log gets its START batch first. It returns the
// number of staged batches. After an error the outcome of all pending entries is unknown,
// the rest is dropped, and every later Append and Flush returns the same error.
func (w *Writer) Flush(j *journal.Journal, wall time.Time) (int, error) {
	w.flushMu.Lock()
	defer w.flushMu.Unlock()
	w.dirtyMu.Lock()
	w.dirty, w.flushing = w.flushing[:0], w.dirty
	w.dirtyMu.Unlock()
	slices.Sort(w.flushing)
	staged := 0
	w.oldest = time.Time{}
	for _, shard := range w.flushing {
		n, err := w.stage(j, shard)
		staged += n
		if err != nil {
			w.fail(err)
		}
	}
	if failure := w.failure.Load(); failure != nil {
		return staged, *failure
	}
	return staged, nil
}

// stage hands the batches of one shard to the journal. After a failure it only
// gives their memory back.
func (w *Writer) stage(j *journal.Journal, shard wire.Shard) (int, error) {
	l := &w.logs[shard]
	l.mu.Lock()
	if !l.reserved { // else Commit or Abort has the shard flushed again
		l.seal()
	}
	b := l.first
	l.first, l.last, l.dirty = nil, nil, false
	l.mu.Unlock()
	staged := 0
	var failed error
	for b != nil {
		next := b.next
		b.next = nil
		if w.failure.Load() != nil || failed != nil {
			b.Release()
			b = next
			continue
		}
		last, at := b.header().LastStamp, b.at
		b.refs[0].Bytes = b.bytes
		if _, err := j.Stage(b.refs[:], b); err != nil {
			failed = fmt.Errorf("shard %d: %w", shard, err)
		} else {
			staged++
			w.raiseStampMax(last)
			if !at.IsZero() && (w.oldest.IsZero() || at.Before(w.oldest)) {
				w.oldest = at
			}
		}
		b = next
	}
	return staged, failed
}

// Oldest is when the oldest entry that the last Flush staged was appended, by Options.Now;
// zero if it staged none.
func (w *Writer) Oldest() time.Time {
	w.flushMu.Lock()
	defer w.flushMu.Unlock()
	return w.oldest
}

// fail makes the first error final.
func (w *Writer) fail(err error) { w.failure.CompareAndSwap(nil, &err) }

// Close drops pending entries and releases their memory; the memory of a reservation is
// released when it ends. All later calls fail. The journal releases the batches that it has.
func (w *Writer) Close() {
	w.fail(ErrClosed)
	w.flushMu.Lock()
	defer w.flushMu.Unlock()
	for i := range w.logs {
		l := &w.logs[i]
		l.mu.Lock()
		if l.open != nil && !l.reserved {
			l.take().Release()
		}
		b := l.first
		l.first, l.last = nil, nil
		l.mu.Unlock()
		for b != nil {
			next := b.next
			b.Release()
			b = next
		}
	}
	w.pool.drain()
}

// PendingBytes is the size of appended entries that are not flushed, and up to 4 KiB more
// for each open batch. The journal may lend a batch's memory to readers for longer: its
// Stats.RecentBytes.
func (w *Writer) PendingBytes() int64 { return w.pending.Load() }

// Totals returns the sums over all shards.
func (w *Writer) Totals() Totals {
	var sum Totals
	for i := range w.logs {
		l := &w.logs[i]
		l.mu.Lock()
		t := l.total()
		l.mu.Unlock()
		sum.Entries += t.Entries
		sum.Bytes += t.Bytes
		sum.CopiedBytes += t.CopiedBytes
	}
	return sum
}

// StampMax is the highest stamp that Flush has staged or a tail has, at least
// ClockFloor, for the clock bound: what the next Flush stages may come right behind.
func (w *Writer) StampMax() wire.Stamp { return wire.Stamp(w.stampMax.Load()) }
