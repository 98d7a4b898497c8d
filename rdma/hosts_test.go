//go:build rdma && linux && cgo

package rdma_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// stream is a link to a far process with the frames that it has yet to acknowledge.
type stream struct {
	t      *testing.T
	conn   *rdma.Conn
	memory []byte
	acks   chan uint64 // closed when the link has ended
	sent   uint64
	acked  uint64
}

const streamWindow = 32 // frames

// openStream dials until a link is there: a port that has just come up takes its time.
func openStream(t *testing.T, tr *rdma.Transport, memory []byte, addr string) *stream {
	t.Helper()
	var conn link.Conn
	require.Eventually(t, func() bool {
		ctx, cancel := contextWithin(farPatience / 4)
		defer cancel()
		c, err := tr.Dial(ctx, addr)
		if err != nil {
			t.Logf("dial: %v", err)
			return false
		}
		conn = c
		return true
	}, farPatience, 100*time.Millisecond)
	s := &stream{t: t, conn: conn.(*rdma.Conn), memory: memory, acks: make(chan uint64, streamWindow)}
	t.Cleanup(func() { _ = s.conn.Close() })
	go s.receive() // ends with the link
	return s
}

func (s *stream) receive() {
	defer close(s.acks)
	for {
		f, err := s.conn.Recv()
		if err != nil {
			return
		}
		var ack wire.Ack
		err = ack.Decode(f.Body())
		f.Release()
		if err != nil {
			s.t.Errorf("ack: %v", err)
			return
		}
		s.acks <- ack.Number
	}
}

// send sends a frame of 64 KiB from lent memory; with a full window it takes an ack first.
func (s *stream) send() error {
	if s.sent-s.acked == streamWindow {
		if err := s.take(); err != nil {
			return err
		}
	}
	slot := s.memory[int(s.sent%streamWindow)*frameBytes:][:frameBytes]
	fillFrame(slot, s.sent+1)
	if err := s.conn.SendLent([][]byte{slot[:frameBytes/2], slot[frameBytes/2:]}, func() {}); err != nil {
		return err
	}
	s.sent++
	return nil
}

const frameBytes = 64 << 10

// take waits for the next ack, which must be the next number.
func (s *stream) take() error {
	select {
	case number, ok := <-s.acks:
		if !ok {
			return link.ErrLost
		}
		require.Equal(s.t, s.acked+1, number)
		s.acked++
		return nil
	case <-time.After(farPatience):
		s.t.Fatalf("no ack after %d of %d", s.acked, s.sent)
		return nil
	}
}

// carries sends count frames and takes all their acks.
func (s *stream) carries(count int) {
	s.t.Helper()
	for range count {
		require.NoError(s.t, s.send())
	}
	for s.acked < s.sent {
		require.NoError(s.t, s.take())
	}
}

// breaks sends until the link is lost.
func (s *stream) breaks() {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(farPatience); err == nil && time.Now().Before(deadline); {
		err = s.send()
	}
	require.ErrorIs(s.t, err, link.ErrLost)
	require.NoError(s.t, s.conn.Close())
}

// openNear returns a transport of this process and memory to send from.
func openNear(t *testing.T) (*rdma.Transport, []byte) {
	t.Helper()
	memory, o := lending(t, streamWindow*frameBytes)
	return openReal(t, o), memory
}

// I2, I4 and what a frame costs: one write with immediate, a sixteenth of a signal,
// no copy at either end, no receive missing.
func TestFarFramesCostOneWriteEach(t *testing.T) {
	f := openFar(t)
	if f == nil {
		return
	}
	tr, memory := openNear(t)
	s := openStream(t, tr, memory, f.start())
	const count = 640
	s.carries(count)
	stats := tr.Stats()
	require.NoError(t, s.conn.Close())
	report := f.end()
	t.Logf("near %+v", stats)
	t.Logf("far  %+v", report)
	require.EqualValues(t, count, stats.FramesSent)
	require.EqualValues(t, count, stats.Writes)
	require.EqualValues(t, count, stats.WriteImms)
	require.LessOrEqual(t, stats.Signalled, stats.Sends/16+2)
	require.Zero(t, stats.CopiedBytes)
	require.Zero(t, stats.RNRs)
	require.EqualValues(t, count, report.Frames)
	require.EqualValues(t, 1, report.Closed)
	require.Zero(t, report.Lost)
	require.EqualValues(t, count, report.Stats.WriteImms, "its acks")
	require.LessOrEqual(t, report.Stats.Signalled, report.Stats.Sends/16+2)
	require.Zero(t, report.Stats.LandCopied)
	require.Zero(t, report.Stats.RNRs)
}

func TestFarProcessKilledLosesItsLink(t *testing.T) {
	f := openFar(t)
	if f == nil {
		return
	}
	tr, memory := openNear(t)
	for range 3 {
		s := openStream(t, tr, memory, f.start())
		s.carries(100)
		for range streamWindow / 2 { // under way
			require.NoError(t, s.send())
		}
		f.signal(syscall.SIGKILL)
		s.breaks()
	}
	s := openStream(t, tr, memory, f.start())
	s.carries(100)
	require.NoError(t, s.conn.Close())
	require.EqualValues(t, 100, f.end().Frames)
}

func TestFarProcessOutlivesAPeerThatIsKilled(t *testing.T) {
	f := openFar(t)
	if f == nil {
		return
	}
	addr := f.start()
	for range 3 {
		p, _, err := startProcess(nearEnv + "=" + addr)
		require.NoError(t, err)
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait() // killed
	}
	tr, memory := openNear(t)
	s := openStream(t, tr, memory, addr)
	s.carries(100)
	require.NoError(t, s.conn.Close())
	report := f.end()
	require.Equal(t, 3, report.Lost)
	require.Equal(t, 1, report.Closed)
	require.Zero(t, report.Stats.RNRs)
}

// I10: the device answers for a process that is stopped. Its receives are used up and
// the sender waits for credits: nothing is lost, and no receive is missing.
func TestFarProcessStoppedLosesNothing(t *testing.T) {
	f := openFar(t)
	if f == nil {
		return
	}
	tr, memory := openNear(t)
	s := openStream(t, tr, memory, f.start())
	s.carries(64)
	f.signal(syscall.SIGSTOP)
	const count = 400 // over 8 MiB of ring, and over its receives
	frame := newFrame(frameBytes, 0)
	sent := make(chan error, 1)
	go func() { // ends with the frames, or with the link
		var err error
		for i := range uint64(count) {
			fillFrame(frame, s.sent+i+1)
			if err = s.conn.Send([][]byte{frame}); err != nil {
				break
			}
		}
		sent <- err
	}()
	require.Eventually(t, func() bool { return tr.Stats().CreditWaits > 0 }, farPatience, tick)
	require.Empty(t, s.acks)
	f.signal(syscall.SIGCONT)
	for range count {
		require.NoError(t, s.take())
	}
	require.NoError(t, <-sent)
	require.Zero(t, tr.Stats().RNRs)
	require.NoError(t, s.conn.Close())
	require.EqualValues(t, 64+count, f.end().Frames)
}

// ip runs iproute2 on this host.
func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoErrorf(t, err, "ip %v: %s", args, out)
}

// openHosts is openFar for tests that take the interface between two hosts away.
func openHosts(t *testing.T) *far {
	t.Helper()
	require.NotEmpty(t, os.Getenv("RXE_ROLE"), "a test for two guests")
	return openFar(t)
}

func TestHostsLinkThatIsDownForAMomentLosesNothing(t *testing.T) {
	f := openHosts(t)
	if f == nil {
		return
	}
	tr, memory := openNear(t)
	s := openStream(t, tr, memory, f.start())
	s.carries(64)
	for range 3 {
		for range streamWindow / 2 { // under way
			require.NoError(t, s.send())
		}
		ip(t, "link", "set", "eth0", "down")
		ip(t, "link", "set", "eth0", "up")
		s.carries(64)
	}
	require.NoError(t, s.conn.Close())
	report := f.end()
	require.Equal(t, s.sent, report.Frames)
	require.Zero(t, report.Lost)
}

func TestHostsLinkThatStaysDownIsLostAndComesBack(t *testing.T) {
	f := openHosts(t)
	if f == nil {
		return
	}
	tr, memory := openNear(t)
	addr := f.start()
	s := openStream(t, tr, memory, addr)
	s.carries(64)
	ip(t, "link", "set", "eth0", "down")
	t.Cleanup(func() { ip(t, "link", "set", "eth0", "up") })
	s.breaks()
	ip(t, "link", "set", "eth0", "up")
	s = openStream(t, tr, memory, addr)
	s.carries(64)
	require.NoError(t, s.conn.Close())
	report := f.end()
	require.Equal(t, 1, report.Lost)
	require.Equal(t, 1, report.Closed)
}
