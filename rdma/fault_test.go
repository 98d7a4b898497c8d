package rdma_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

// What the device says of an entry ends the link, with its words.
func TestFailedSendLosesTheLinkWithItsStatus(t *testing.T) {
	for _, status := range []rdma.Status{
		rdma.StatusRNRExceeded, rdma.StatusRetryExceeded, rdma.StatusRemoteAccess, rdma.StatusLocalProtect,
		rdma.StatusFlushed, rdma.StatusGeneral,
	} {
		for _, executed := range []bool{false, true} {
			r := open(t, fakeverbs.Options{}, rdma.Options{})
			dialed, accepted := r.pair(t)
			there, here := ended(accepted), ended(dialed)
			r.fabric.Fail(fakeverbs.Fault{Call: fakeverbs.CallExecute, Nth: 20, Status: status, Executed: executed})
			requireLost(t, within(t, sendUntil(dialed)), status.String())
			requireLost(t, within(t, here), status.String())
			requireLost(t, within(t, there), "control connection") // before anybody calls Close
			require.NoError(t, dialed.Close())
			require.NoError(t, accepted.Close())
		}
	}
}

func TestFailedCallLosesTheLink(t *testing.T) {
	for call, nth := range map[fakeverbs.Call]int{fakeverbs.CallPostSends: 5, fakeverbs.CallPostReceives: 1} {
		r := open(t, fakeverbs.Options{}, rdma.Options{})
		dialed, accepted := r.pair(t)
		there := ended(accepted)
		r.fabric.Fail(fakeverbs.Fault{Call: call, Nth: nth, Err: syscall.EIO})
		sender := sendUntil(dialed)
		if call == fakeverbs.CallPostSends {
			requireLost(t, within(t, sender), "input/output error")
			require.NoError(t, dialed.Close())
			requireLost(t, within(t, there), "control connection")
			continue
		}
		requireLost(t, within(t, there), "input/output error")
		require.NoError(t, accepted.Close())
		require.Error(t, within(t, sender))
	}
}

func TestQueuePairThatFailsLosesTheLinkAtBothEnds(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	dialed, accepted := r.pair(t)
	there, here := ended(accepted), ended(dialed)
	r.fabric.FailQueuePairs("fake0")
	require.ErrorIs(t, within(t, there), link.ErrLost)
	require.ErrorIs(t, within(t, here), link.ErrLost)
	require.ErrorIs(t, dialed.Send([][]byte{newFrame(300, 1)}), link.ErrLost)
}

func TestRemovedDeviceIsUsedAgain(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	dialed, accepted := r.pair(t)
	there, here := ended(accepted), ended(dialed)
	r.fabric.Remove("fake0")
	lost := errors.Join(within(t, there), within(t, here)) // one may hear of the other first
	require.ErrorIs(t, lost, link.ErrLost)
	require.ErrorContains(t, lost, rdma.ErrDeviceGone.Error())
	_, err := r.Dial(t.Context(), r.listener.Addr())
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.NoError(t, dialed.Close())
	require.NoError(t, accepted.Close())
	r.fabric.Restore("fake0")
	dialed, accepted = r.pair(t)
	frame := newFrame(300, 1)
	require.NoError(t, dialed.Send([][]byte{frame}))
	recvSame(t, accepted, frame).Release()
}

func TestPortThatIsDownEndsTheRetries(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{AckTimeout: 5 * time.Millisecond})
	dialed, accepted := r.pair(t)
	here := ended(dialed)
	r.fabric.SetPort("fake0", false)
	requireLost(t, within(t, sendUntil(dialed)), rdma.StatusRetryExceeded.String())
	requireLost(t, within(t, here), rdma.StatusRetryExceeded.String())
	_ = accepted
}

func TestPortThatComesBackInTimeLosesNothing(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	dialed, accepted := r.pair(t)
	r.fabric.SetPort("fake0", false)
	for i := range uint64(40) {
		require.NoError(t, dialed.Send([][]byte{newFrame(300, i+1)}))
	}
	r.fabric.SetPort("fake0", true)
	for i := range uint64(40) {
		recvSame(t, accepted, newFrame(300, i+1)).Release()
	}
}

func TestCompletionQueueThatOverrunsLosesTheLink(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	dialed, accepted := r.pair(t)
	there := ended(accepted)
	r.fabric.Overrun("fake0")
	require.ErrorIs(t, within(t, there), link.ErrLost)
	require.ErrorIs(t, within(t, sendUntil(dialed)), link.ErrLost)
}

// The control connection's end without a goodbye is the peer's end.
func TestPeerThatDiesIsLost(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	r.listen(t)
	proxy, err := linktest.NewProxy(r.listener.Addr())
	require.NoError(t, err)
	dialed, accepted := r.pairAt(t, proxy.Addr())
	frame := newFrame(20_000, 1)
	require.NoError(t, dialed.Send([][]byte{frame}))
	held := recvSame(t, accepted, frame)
	require.NoError(t, proxy.Close())
	_, err = accepted.Recv()
	requireLost(t, err, "control connection")
	require.ErrorIs(t, accepted.Send([][]byte{frame}), link.ErrLost)
	require.Equal(t, frame, held.Bytes)
	held.Release()
}

// When Close has returned, nothing of the link lands any more: its queue pair and its
// ring's key are gone.
func TestWhenCloseReturnsTheKeyIsGone(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	_, accepted := r.pair(t)
	before := r.fabric.Objects()
	require.NoError(t, accepted.Close())
	after := r.fabric.Objects()
	require.Equal(t, before.QueuePairs-1, after.QueuePairs)
	require.Equal(t, before.Regions-2, after.Regions)
	require.Equal(t, before.Domains-1, after.Domains)
}

func TestSetupThatFailsLeavesNothing(t *testing.T) {
	for _, call := range []fakeverbs.Call{
		fakeverbs.CallOpenDomain, fakeverbs.CallRegister, fakeverbs.CallCompletionQueue, fakeverbs.CallQueuePair,
		fakeverbs.CallPostReceives, fakeverbs.CallReadyToReceive, fakeverbs.CallReadyToSend,
	} {
		for nth := 1; nth <= 2; nth++ { // at the dialer, at the listener
			r := open(t, fakeverbs.Options{}, rdma.Options{HandshakeMax: time.Second})
			r.listen(t)
			r.fabric.Fail(fakeverbs.Fault{Call: call, Nth: nth, Err: syscall.EIO})
			c, err := r.Dial(t.Context(), r.listener.Addr())
			if call == fakeverbs.CallReadyToSend && nth == 2 && err == nil { // the dialer was quicker to be done
				require.ErrorIs(t, within(t, ended(c)), link.ErrLost)
				require.NoError(t, c.Close())
			} else {
				require.ErrorIs(t, err, link.ErrUnreachable, "%s, call %d", call, nth)
				if call != fakeverbs.CallReadyToSend || nth == 1 { // the last step's failure is not told
					require.ErrorContains(t, err, "input/output error")
				}
			}
			require.NoError(t, r.listener.Close())
		}
	}
}

// I11: who speaks garbage, or nothing, is shown the door and keeps nobody out.
func TestGarbageAtListenerHoldsNobodyUp(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	r.listen(t)
	silent, err := net.Dial("tcp", r.listener.Addr())
	require.NoError(t, err)
	defer silent.Close()
	loud, err := net.Dial("tcp", r.listener.Addr())
	require.NoError(t, err)
	defer loud.Close()
	_, err = loud.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(t, err)
	_, err = loud.Read(make([]byte, 1))
	require.Error(t, err)
	dialed, accepted := r.pair(t)
	frame := newFrame(300, 1)
	require.NoError(t, dialed.Send([][]byte{frame}))
	recvSame(t, accepted, frame).Release()
	require.EqualValues(t, 1, r.Stats().SetupsRefused)
	require.NoError(t, r.listener.Close(), "the silent one does not hold Close up")
}

func TestDialToSomethingElseIsUnreachable(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	go func() { // ends with the listener
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail ready\r\n"))
		}
	}()
	_, err = r.Dial(t.Context(), other.Addr().String())
	require.ErrorIs(t, err, link.ErrUnreachable)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	_, err = r.Dial(ctx, mute.Addr().String())
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestLentPartsComeBackOnceWhateverHappens(t *testing.T) {
	for nth := 1; nth < 30; nth += 4 {
		memory, o := lending(t, 128<<10)
		fillFrame(memory, 1)
		r := open(t, fakeverbs.Options{PartsMax: 2}, o)
		dialed, accepted := r.pair(t)
		there := ended(accepted)
		r.fabric.Fail(fakeverbs.Fault{Call: fakeverbs.CallExecute, Nth: nth, Status: rdma.StatusRetryExceeded})
		var lent, back atomic.Int64
		for err := error(nil); err == nil; {
			var parts [][]byte
			for at := 0; at < len(memory); at += 16 << 10 {
				parts = append(parts, memory[at:at+16<<10])
			}
			lent.Add(1)
			once := new(atomic.Bool)
			err = dialed.SendLent(parts, func() {
				require.False(t, once.Swap(true), "given back twice")
				back.Add(1)
			})
		}
		require.NoError(t, dialed.Close())
		require.Equal(t, lent.Load(), back.Load())
		require.ErrorIs(t, within(t, there), link.ErrLost)
	}
}

func TestOptionsAreRefusedWithTheirNames(t *testing.T) {
	_, err := rdma.New(rdma.Options{RingBytes: 1, StageBytes: 1, Queue: 1, Retries: 8, DeadAfter: 1})
	for _, name := range []string{"Verbs", "RingBytes", "StageBytes", "Queue", "Retries", "dead-after"} {
		require.ErrorContains(t, err, name)
	}
	_, err = rdma.New(rdma.Options{Verbs: fakeverbs.New(fakeverbs.Options{}), Device: rdma.DeviceName{Device: "no"}})
	require.ErrorIs(t, err, rdma.ErrUnsupported)
}
