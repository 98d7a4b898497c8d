package writer

import (
	"bytes"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

func TestReservedPayloadIsWrittenWhereItLies(t *testing.T) {
	w, j := newWriter(t, 3)
	r, err := w.Reserve(1, entry(0), 20_000)
	require.NoError(t, err)
	require.Len(t, r.Payload, 20_000)
	require.Equal(t, 20_000, cap(r.Payload), "appending cannot write behind it")
	copy(r.Payload, bytes.Repeat([]byte("x"), 20_000))
	ref, err := r.Commit()
	require.NoError(t, err)
	require.Equal(t, wire.Seq(2), ref.Seq)
	require.Zero(t, w.Totals().CopiedBytes)
	flush(t, w, j)
	require.Equal(t, []string{string(bytes.Repeat([]byte("x"), 20_000))}, readBack(t, j)[1])
	require.Zero(t, w.PendingBytes())
}

func TestOtherShardsDoNotWaitForAReservation(t *testing.T) {
	w, j := newWriter(t, 3)
	_, err := w.Append(0, entry(1), 0)
	require.NoError(t, err)
	require.Nil(t, w.Turn(0))
	r, err := w.Reserve(0, entry(0), 5)
	require.NoError(t, err)
	_, err = w.Append(0, entry(1), 0)
	require.ErrorIs(t, err, ErrReserved)
	_, err = w.Reserve(0, entry(0), 5)
	require.ErrorIs(t, err, ErrReserved)
	turn := w.Turn(0)
	require.NotNil(t, turn)
	_, err = w.Append(1, entry(1), 0)
	require.NoError(t, err)
	for _, h := range flush(t, w, j) {
		require.True(t, h.Shard == 1 || h.Kind == wire.BatchStart, "the open batch of shard 0 stays")
	}
	_, err = r.Commit()
	require.NoError(t, err)
	<-turn
	headers := flush(t, w, j)
	require.Len(t, headers, 1)
	require.EqualValues(t, 2, headers[0].Count)
	require.Zero(t, w.PendingBytes())
	require.Len(t, readBack(t, j)[0], 2)
}

func TestAbortedReservationLeavesNoEntry(t *testing.T) { // I3, I10
	w, j := newWriter(t, 3)
	r, err := w.Reserve(0, entry(0), 100)
	require.NoError(t, err)
	r.Abort()
	headers := flush(t, w, j)
	require.Len(t, headers, 1)
	require.Equal(t, wire.BatchStart, headers[0].Kind)
	require.Zero(t, w.PendingBytes())
	_, err = w.Append(0, entry(10), 0)
	require.NoError(t, err)
	r, err = w.Reserve(0, entry(0), 1<<20) // a batch of its own
	require.NoError(t, err)
	r.Abort()
	ref, err := w.Append(0, entry(20), 0)
	require.NoError(t, err)
	require.Equal(t, wire.Seq(3), ref.Seq)
	flush(t, w, j)
	require.Zero(t, w.PendingBytes())
	require.Zero(t, w.pool.heldBytes.Load())
	require.Len(t, readBack(t, j)[0], 2)
}

func TestReservationThatHasEndedIsNotUsedAgain(t *testing.T) {
	w, _ := newWriter(t, 1)
	r, err := w.Reserve(0, entry(0), 5)
	require.NoError(t, err)
	second := r
	_, err = r.Commit()
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = r.Commit() })
	require.Panics(t, func() { r.Abort() })
	require.Panics(t, func() { second.Abort() })
	r, err = w.Reserve(0, entry(0), 5)
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = second.Commit() }, "another one's place")
	r.Abort()
	var never Reservation
	require.Panics(t, func() { never.Abort() })
}

func TestReservationBeyondTheLimitsChangesNothing(t *testing.T) {
	w, _ := newWriter(t, 1)
	for _, bytes := range []int{-1, wire.EntryPayloadBytesMax + 1} {
		_, err := w.Reserve(0, entry(0), bytes)
		require.ErrorIs(t, err, wire.ErrLimit)
	}
	_, err := w.Reserve(0, entry(1), 1)
	require.ErrorIs(t, err, wire.ErrProtocol)
	_, err = w.Reserve(1, entry(0), 1)
	require.ErrorIs(t, err, wire.ErrLimit)
	require.Zero(t, w.PendingBytes())
}

func TestReservationOutlivesAFailedFlushAndSaysSo(t *testing.T) {
	w, j := newWriter(t, 2)
	r, err := w.Reserve(0, entry(0), 5)
	require.NoError(t, err)
	_, err = w.Append(1, entry(0), 0)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	_, failed := w.Flush(j, noon)
	require.Error(t, failed)
	_, err = r.Commit()
	require.Equal(t, failed, err)
	_, _ = w.Flush(j, noon)
	require.Zero(t, w.PendingBytes())
}

func TestSteadyBatchSizeCopiesNothing(t *testing.T) {
	w, j := newWriter(t, 1)
	round := func() {
		for range 20 {
			r, err := w.Reserve(0, entry(0), 3000)
			require.NoError(t, err)
			_, err = r.Commit()
			require.NoError(t, err)
		}
		flush(t, w, j)
	}
	round()
	grown := w.Totals().CopiedBytes
	require.Positive(t, grown)
	require.Less(t, grown, uint64(2*64<<10))
	round()
	require.Equal(t, grown, w.Totals().CopiedBytes)
}

func TestShortBatchesCopyNothing(t *testing.T) {
	w, j := newWriter(t, 1)
	round := func(entries int) {
		for range entries {
			r, err := w.Reserve(0, entry(0), 250)
			require.NoError(t, err)
			_, err = r.Commit()
			require.NoError(t, err)
		}
		flush(t, w, j)
	}
	round(25)
	grown := w.Totals().CopiedBytes
	for range 10 {
		round(1)
	}
	round(25)
	require.Equal(t, grown, w.Totals().CopiedBytes)
	round(35) // memory of 16 KiB
	grown = w.Totals().CopiedBytes
	round(200)
	require.Equal(t, grown, w.Totals().CopiedBytes, "full memory of 16 KiB is closed, not copied")
	for range 1000 {
		round(1)
	}
	round(25)
	require.Greater(t, w.Totals().CopiedBytes, grown, "memory follows, in time")
}

// ledger is a Memory that knows what it lent.
type ledger map[*byte]bool

func (l ledger) Alloc(size int) []byte {
	b := make([]byte, size)
	l[&b[0]] = true
	return b
}

func (l ledger) Free(b []byte) {
	if !l[&b[:1][0]] {
		panic("not lent")
	}
	delete(l, &b[:1][0])
}

func TestClosedWriterGivesAllItsMemoryBack(t *testing.T) {
	_, j := newWriter(t, 4)
	l := ledger{}
	w := New(Options{
		Cluster: 7, Site: 1, Shards: 4, Epoch: 1, BytesMax: 4 << 20, Memory: l,
		Incarnation: func() wire.Incarnation { return wire.Incarnation{1} },
	})
	for shard := range wire.Shard(3) {
		for range 100 {
			_, err := w.Append(shard, entry(3000), 0)
			require.NoError(t, err)
		}
		if shard == 0 {
			flush(t, w, j)
		}
	}
	r, err := w.Reserve(3, entry(0), 100_000)
	require.NoError(t, err)
	w.Close()
	require.NotEmpty(t, l, "the reservation's")
	r.Payload[99_999] = 1
	_, err = r.Commit()
	require.ErrorIs(t, err, ErrClosed)
	_, err = w.Append(0, entry(1), 0)
	require.ErrorIs(t, err, ErrClosed)
	require.Zero(t, w.PendingBytes())
	require.Empty(t, l)
}
