//go:build rdma && linux && cgo

package verbs

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// These tests need a device; each one drives both ends.

func TestDeviceTellsItsLimits(t *testing.T) {
	p := openPort(t)
	require.Positive(t, p.limits.QPWRMax)
	require.Positive(t, p.limits.SGEMax)
	require.Positive(t, p.limits.CQEMax)
	require.GreaterOrEqual(t, p.attr.MTUActive.Bytes(), 256)
	require.Equal(t, LinkEthernet, p.attr.LinkLayer)
	_, err := p.context.QueryPort(200)
	require.Error(t, err)
	require.ErrorContains(t, err, "ibv_query_port: ")
}

func TestSendLandsInAReceive(t *testing.T) {
	a, b := pair(t)
	b.receives(2, 32)
	copy(a.memory, "first")
	a.post(&SendWR{ID: 1, Opcode: WRSend, Flags: SendSignaled}, 5)
	w := b.ends(0, WCSuccess)
	require.Equal(t, WCRecv, w.Opcode)
	require.EqualValues(t, 5, w.Bytes)
	require.False(t, w.WithImm)
	require.Equal(t, "first", string(b.memory[:5]))
	require.Equal(t, WCSend, a.ends(1, WCSuccess).Opcode)

	a.post(&SendWR{ID: 2, Opcode: WRSendImm, Flags: SendSignaled, Imm: 0xfeedbeef}, 5)
	w = b.ends(1, WCSuccess)
	require.True(t, w.WithImm)
	require.EqualValues(t, 0xfeedbeef, w.Imm)
	require.Equal(t, "first", string(b.memory[32:37]))
	a.ends(2, WCSuccess)
}

func TestWriteWithImmediateTakesOneReceive(t *testing.T) {
	a, b := pair(t)
	b.receives(entries, 0)
	for i := range a.memory {
		a.memory[i] = byte(i * 7)
	}
	const size = 1000
	for i := range 32 { // a list: one crossing
		a.sends.Set(i, write(b, uint64(i), WRRDMAWriteImm, SendSignaled, i*size))
		a.sends.Add(i, a.part(i*size, 600))
		a.sends.Add(i, a.part(i*size+600, 400))
	}
	n, err := a.qp.PostSend(a.sends, 32)
	require.NoError(t, err)
	require.Equal(t, 32, n)
	for i := range 32 {
		w := b.ends(uint64(i), WCSuccess)
		require.Equal(t, WCRecvRDMAImm, w.Opcode)
		require.EqualValues(t, size, w.Bytes)
		require.EqualValues(t, i+100, w.Imm)
		a.ends(uint64(i), WCSuccess)
	}
	require.Equal(t, a.memory[:32*size], b.memory[:32*size])
}

// I11: a key that was not given is worth nothing, and who uses one is cut off.
func TestWrongKeyEndsTheQueuePair(t *testing.T) {
	a, b := pair(t)
	copy(a.memory, "mischief")
	w := write(b, 1, WRRDMAWrite, SendSignaled, 0)
	w.RKey ^= 0x5a5a5a00
	a.post(w, 8)
	a.ends(1, WCRemoteAccessError)
	a.is(QPErr)
	require.NotEqual(t, "mischief", string(b.memory[:8]))
	a.post(write(b, 2, WRRDMAWrite, SendSignaled, 0), 8)
	a.ends(2, WCFlushed)
}

// I11: a region that is closed is closed, for those too who hold its key.
func TestStaleKeyIsARemoteAccessError(t *testing.T) {
	a, b := pair(t)
	mr, err := b.pd.RegMR(b.address(4096), 4096, AccessLocalWrite|AccessRemoteWrite)
	require.NoError(t, err)
	w := write(b, 1, WRRDMAWrite, SendSignaled, 4096)
	w.RKey = mr.RKey()
	copy(a.memory, "in time")
	a.post(w, 7)
	a.ends(1, WCSuccess)
	require.Equal(t, "in time", string(b.memory[4096:][:7]))
	require.NoError(t, mr.Close())
	require.ErrorIs(t, mr.Close(), ErrClosed)
	copy(a.memory, "too late")
	a.post(w, 8)
	a.ends(1, WCRemoteAccessError)
	require.Equal(t, "in time", string(b.memory[4096:][:7]))
}

func TestWithoutAReceiveAndRetriesASendEndsAtOnce(t *testing.T) {
	a, _ := pair(t)
	a.post(&SendWR{ID: 1, Opcode: WRSend, Flags: SendSignaled}, 8)
	a.ends(1, WCRNRRetryExceeded)
	a.is(QPErr)
}

func TestErrorStateFlushesBothQueues(t *testing.T) {
	a, _ := pair(t)
	a.receives(3, 8)
	require.NoError(t, a.qp.Modify(&QPAttr{State: QPErr}, QPToErr))
	a.is(QPErr)
	for i := range 3 {
		a.ends(uint64(i), WCFlushed)
	}
	a.post(&SendWR{ID: 9, Opcode: WRSend}, 8)
	a.ends(9, WCFlushed) // it asked for no completion, and has one all the same
}

func TestInlineBytesAreFreeAtOnce(t *testing.T) {
	a, b := pair(t)
	b.receives(1, 0)
	copy(a.memory, "then")
	a.sends.Set(0, write(b, 1, WRRDMAWriteImm, SendSignaled|SendInline, 50))
	a.sends.Add(0, SGE{Address: a.address(0), Bytes: 4}) // no key: the processor copies
	_, err := a.qp.PostSend(a.sends, 1)
	require.NoError(t, err)
	copy(a.memory, "next")
	b.ends(0, WCSuccess)
	a.ends(1, WCSuccess)
	require.Equal(t, "then", string(b.memory[50:54]))
}

func TestOnlyOneOfSixteenCompletes(t *testing.T) {
	a, b := pair(t)
	for round := range 20 { // more than the queue holds
		for i := range 16 {
			var flags SendFlags
			if i == 15 {
				flags = SendSignaled
			}
			a.sends.Set(i, write(b, uint64(round*16+i), WRRDMAWrite, flags, 0))
			a.sends.Add(i, a.part(0, 8))
		}
		n, err := a.qp.PostSend(a.sends, 16)
		require.NoError(t, err)
		require.Equal(t, 16, n)
		a.ends(uint64(round*16+15), WCSuccess)
		a.nothing()
	}
}

func TestListEndsAtTheEntryAtFault(t *testing.T) {
	a, b := pair(t)
	for i := range 4 {
		flags := SendSignaled
		size := 8
		if i == 2 { // more than goes inline
			flags, size = SendSignaled|SendInline, a.qp.Cap().InlineBytes+1
		}
		a.sends.Set(i, write(b, uint64(i), WRRDMAWrite, flags, 0))
		a.sends.Add(i, a.part(0, size))
	}
	n, err := a.qp.PostSend(a.sends, 4)
	require.Error(t, err)
	require.ErrorContains(t, err, "ibv_post_send: entry 2: ")
	require.Equal(t, 2, n)
	a.ends(0, WCSuccess)
	a.ends(1, WCSuccess)
	a.nothing()
	require.Equal(t, a.sends.entries[3].next, a.sends.entries[0].next.next.next.next, "the list is linked as before")
}

func TestFullQueueIsENOMEM(t *testing.T) {
	p := openPort(t)
	e := openEnd(t, p, limits{2 * entries, 0})
	defer e.close()
	require.NoError(t, e.qp.Modify(&QPAttr{State: QPInit, Port: p.number}, QPToInit))
	posted := 0
	for range 64 { // the driver may have rounded the queue up
		for i := range entries {
			e.recvs.Set(i, uint64(i))
		}
		n, err := e.qp.PostRecv(e.recvs, entries)
		posted += n
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOMEM)
			require.GreaterOrEqual(t, posted, entries)
			return
		}
	}
	t.Fatalf("%d receives fit", posted)
}

func TestArmedQueueTellsByItsDescriptor(t *testing.T) {
	a, b := pair(t)
	_, err := b.channel.GetCQEvent()
	require.ErrorIs(t, err, syscall.EAGAIN)
	for round := range 50 {
		require.NoError(t, b.cq.ReqNotify(false))
		b.receives(1, 8)
		a.post(&SendWR{ID: 1, Opcode: WRSend, Flags: SendSignaled}, 8)
		readable(t, b.channel.FD())
		cookie, err := b.channel.GetCQEvent()
		require.NoError(t, err, "round %d", round)
		require.EqualValues(t, 77, cookie)
		b.cq.AckEvents(1)
		b.ends(0, WCSuccess)
		a.ends(1, WCSuccess)
	}
}

func TestSolicitedSendWakesWhoWaitsForThatOnly(t *testing.T) {
	a, b := pair(t)
	b.receives(2, 8)
	require.NoError(t, b.cq.ReqNotify(true))
	a.post(&SendWR{ID: 1, Opcode: WRSend, Flags: SendSignaled}, 8)
	a.ends(1, WCSuccess)
	b.ends(0, WCSuccess)
	_, err := b.channel.GetCQEvent()
	require.ErrorIs(t, err, syscall.EAGAIN)
	a.post(&SendWR{ID: 2, Opcode: WRSend, Flags: SendSignaled | SendSolicited}, 8)
	readable(t, b.channel.FD())
	_, err = b.channel.GetCQEvent()
	require.NoError(t, err)
	b.cq.AckEvents(1)
	b.ends(1, WCSuccess)
	a.ends(2, WCSuccess)
}

func TestOverrunIsAnEventWithTheQueuesCookie(t *testing.T) {
	p := openPort(t)
	require.NoError(t, unix.SetNonblock(p.context.AsyncFD(), true))
	_, err := p.context.GetAsyncEvent()
	require.ErrorIs(t, err, syscall.EAGAIN)
	a, b := pairWith(t, p, limits{cqEntries: 4})
	if a.cq.Entries() >= entries {
		t.Skip("skipped: the device made the completion queue too large to overrun")
	}
	for i := range entries {
		a.sends.Set(i, write(b, uint64(i), WRRDMAWrite, SendSignaled, 0))
		a.sends.Add(i, a.part(0, 8))
	}
	_, err = a.qp.PostSend(a.sends, entries)
	require.NoError(t, err)
	for {
		readable(t, p.context.AsyncFD())
		event, err := p.context.GetAsyncEvent()
		require.NoError(t, err)
		event.Ack()
		if event.Type == EventCQError {
			require.EqualValues(t, 77, event.Cookie)
			require.NotEmpty(t, event.Type.String())
			return
		}
		require.True(t, event.Type.aboutQP(), "%s", event.Type)
	}
}

func TestParentsDoNotCloseBeforeTheirChildren(t *testing.T) {
	p := openPort(t)
	e := openEnd(t, p, limits{2 * entries, 0})
	require.ErrorIs(t, e.pd.Close(), syscall.EBUSY)
	require.ErrorIs(t, e.cq.Close(), syscall.EBUSY)
	require.ErrorIs(t, e.channel.Close(), syscall.EBUSY)
	e.close() // all are still open
}

// held is what a process has of the kernel: descriptors, pinned and resident KiB.
func held(t *testing.T) (descriptors int, pinned, resident int) {
	t.Helper()
	debug.FreeOSMemory() // what the Go heap holds is not what is looked for
	open, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmPin: %d kB", &pinned)
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &resident)
	}
	return len(open), pinned, resident
}

// I10: what is opened and closed a thousand times leaves nothing behind.
func TestThousandConnectionsLeaveNothingBehind(t *testing.T) {
	p := openPort(t)
	cycle := func() {
		a, b := openEnd(t, p, limits{2 * entries, 0}), openEnd(t, p, limits{2 * entries, 0})
		a.connect(b, 0)
		b.connect(a, 0)
		a.post(write(b, 1, WRRDMAWrite, SendSignaled, 0), 8)
		a.ends(1, WCSuccess)
		a.close()
		b.close()
	}
	for range 50 { // heaps and caches fill
		cycle()
	}
	descriptors, pinned, resident := held(t)
	for range 1000 {
		cycle()
	}
	descriptors2, pinned2, resident2 := held(t)
	require.Equal(t, descriptors, descriptors2)
	require.Equal(t, pinned, pinned2)
	// One list of each connection would be 1000 * 64 * 128 B.
	require.Less(t, resident2-resident, 6<<10, "KiB that stay resident")
}
