package rdma_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// lending returns memory to send from, and the options that say so.
func lending(t *testing.T, bytes int) ([]byte, rdma.Options) {
	t.Helper()
	memory, err := rdma.MapMemory(bytes)
	require.NoError(t, err)
	t.Cleanup(func() { rdma.UnmapMemory(memory) })
	return memory, rdma.Options{Regions: [][]byte{memory}}
}

func TestLentFrameIsOneWriteWithoutCopy(t *testing.T) {
	for _, size := range []int{16 << 10, 64 << 10, 1 << 20} {
		memory, o := lending(t, size)
		r := open(t, fakeverbs.Options{}, o)
		dialed, accepted := r.pair(t)
		const count = 320
		var released atomic.Int64
		release := func() { released.Add(1) }
		for range count {
			fillFrame(memory[:size], 5)
			frame := memory[:size]
			require.NoError(t, dialed.SendLent([][]byte{frame[:size/2], frame[size/2:]}, release))
			recvSame(t, accepted, frame).Release()
		}
		s, c := r.Stats(), r.fabric.Counts()
		require.EqualValues(t, count, s.FramesSent)
		require.EqualValues(t, count, s.FramesReceived)
		require.EqualValues(t, count, s.WriteImms)
		require.EqualValues(t, count, c.WriteImms, "one write with immediate per frame, as the device counts")
		require.Zero(t, c.Writes)
		require.Zero(t, s.CopiedBytes)
		require.Zero(t, s.LandCopied)
		require.LessOrEqual(t, c.Signalled, (c.WriteImms+c.Sends)/16+1)
		require.True(t, s.RNRsKnown)
		require.Zero(t, s.RNRs)
		require.Zero(t, c.RNRs)
		require.NoError(t, dialed.Close())
		require.EqualValues(t, count, released.Load(), "every frame was given back, once, at the latest by Close")
	}
}

func TestEnvelopeFromTheHeapIsAllThatIsCopied(t *testing.T) {
	memory, o := lending(t, 64<<10)
	r := open(t, fakeverbs.Options{}, o)
	dialed, accepted := r.pair(t)
	fillFrame(memory, 1)
	envelope := append([]byte(nil), memory[:wire.EnvelopeBytes]...)
	require.NoError(t, dialed.SendLent([][]byte{envelope, memory[wire.EnvelopeBytes:]}, func() {}))
	recvSame(t, accepted, memory).Release()
	require.EqualValues(t, wire.EnvelopeBytes, r.Stats().CopiedBytes)
	require.EqualValues(t, 1, r.fabric.Counts().WriteImms)
}

func TestSmallFramesAreInlineAndSeldomSignalled(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	dialed, accepted := r.pair(t)
	frame := newFrame(200, 1)
	const count = 3200
	for range count {
		require.NoError(t, dialed.Send([][]byte{frame}))
		recvSame(t, accepted, frame).Release()
	}
	s, c := r.Stats(), r.fabric.Counts()
	require.EqualValues(t, count, s.Inline)
	require.EqualValues(t, count, c.WriteImms)
	require.LessOrEqual(t, c.Signalled, (c.WriteImms+c.Sends)/16+2)
	require.Less(t, s.Credits, uint64(count/40), "credits are batched")
	require.Zero(t, c.RNRs)
}

func TestLargeFrameHasOneImmediate(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{StageBytes: 64 << 10})
	dialed, accepted := r.pair(t)
	frame := newFrame(1<<20, 1)
	for range 5 {
		require.NoError(t, dialed.Send([][]byte{frame}))
		recvSame(t, accepted, frame).Release()
	}
	c := r.fabric.Counts()
	require.EqualValues(t, 5, c.WriteImms)
	require.GreaterOrEqual(t, c.Writes, uint64(5*15))
	require.EqualValues(t, 5<<20, r.Stats().CopiedBytes)
}

func TestWithoutImmediatesAFrameIsAWriteAndANotice(t *testing.T) {
	r := open(t, fakeverbs.Options{NoImmediate: true}, rdma.Options{})
	dialed, accepted := r.pair(t)
	frame := newFrame(64<<10, 1)
	for range 50 {
		require.NoError(t, dialed.Send([][]byte{frame}))
		recvSame(t, accepted, frame).Release()
	}
	c := r.fabric.Counts()
	require.Zero(t, c.WriteImms)
	require.EqualValues(t, 50, c.Writes)
	require.GreaterOrEqual(t, c.Sends, uint64(50))
}

// I10: what is held is bounded by the ring, and its release lets the sender go on.
func TestHeldFramesHoldTheSenderUp(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{RingBytes: 4 << 20})
	dialed, accepted := r.pair(t)
	frame := newFrame(1<<20, 1)
	sent := make(chan error)
	go func() { // ends with the frames, or with the link
		for range 12 {
			sent <- dialed.Send([][]byte{frame})
		}
	}()
	var held []*link.Frame
	for range 4 {
		require.NoError(t, within(t, sent))
		f := recvSame(t, accepted, frame)
		require.True(t, f.Scarce())
		held = append(held, f)
	}
	require.Eventually(t, func() bool { return r.Stats().CreditWaits == 1 }, patience, tick)
	held[1].Release() // out of order: the first still holds the ring
	select {
	case <-sent:
		t.Fatal("a message was sent over one that is held")
	default:
	}
	require.Equal(t, frame, held[0].Bytes)
	held[0].Release()
	held = held[2:]
	for range 8 {
		require.NoError(t, within(t, sent))
		held = append(held, recvSame(t, accepted, frame))
		held[0].Release()
		held = held[1:]
	}
	require.NoError(t, accepted.Close())
	for _, f := range held {
		require.Equal(t, frame, f.Bytes, "a held frame outlives its link")
		f.Release()
	}
}

func TestWhatCannotBePinnedIsNamed(t *testing.T) {
	r := open(t, fakeverbs.Options{PinnedBytesMax: 17 << 20}, rdma.Options{})
	dialed, accepted := r.pair(t) // two links of 10 MiB were wanted
	frame := newFrame(wire.FrameBytesMax, 1)
	require.NoError(t, dialed.Send([][]byte{frame}))
	recvSame(t, accepted, frame).Release()
	require.NotZero(t, r.Stats().UnpinnedBytes)
	_, err := r.Dial(t.Context(), r.listener.Addr())
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.ErrorContains(t, err, "RLIMIT_MEMLOCK")
}
