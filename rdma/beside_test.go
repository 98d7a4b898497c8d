package rdma_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// beside is plain TCP links at an RDMA transport's listener.
type beside struct {
	*tcp.Transport
	rdma *rig
}

func (b *beside) Listen(addr string) (link.Listener, error) {
	return b.rdma.ListenBeside(addr, func(c *net.TCPConn) (link.Conn, error) { return b.Adopt(c), nil })
}

func openBeside(t *testing.T) *beside {
	plain, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	return &beside{plain, open(t, fakeverbs.Options{}, rdma.Options{HandshakeMax: time.Second})}
}

// Each gets its own, and who says nothing holds nobody up (I11).
func TestTwoTransportsListenAtOneAddress(t *testing.T) {
	b := openBeside(t)
	l, err := b.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	silent, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	defer silent.Close()
	frame := newFrame(300, 1)
	for range 3 {
		for _, tr := range []link.Transport{b.rdma.Transport, b.Transport} {
			dialed, err := tr.Dial(t.Context(), l.Addr())
			require.NoError(t, err)
			require.NoError(t, dialed.Send([][]byte{frame}))
			accepted, err := l.Accept()
			require.NoError(t, err)
			require.Equal(t, tr.Name(), accepted.(link.Informer).Info().Transport)
			recvSame(t, accepted, frame).Release()
			require.NoError(t, accepted.Send([][]byte{frame}))
			recvSame(t, dialed, frame).Release()
			require.NoError(t, dialed.Close())
			require.NoError(t, accepted.Close())
		}
	}
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err, "it is shown the door after HandshakeMax")
}

// A setup begins like no frame, of this release or a later one: what FORMAT.md lets a
// frame's first byte be, its kind, is far below.
func TestSetupBeginsLikeNoFrame(t *testing.T) {
	var e wire.Envelope
	begin := append([]byte("CFSV\x01\x01"), make([]byte, wire.EnvelopeBytes)...)
	require.Error(t, wire.DecodeEnvelope(begin, &e))
	require.Less(t, byte(wire.FrameJoin), byte('C'))
}

func TestDialToPeerWithoutRDMASaysSo(t *testing.T) {
	b := openBeside(t)
	l, err := b.Transport.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Recv() // garbage
			_ = c.Close()
		}
	}()
	_, err = b.rdma.Dial(t.Context(), l.Addr())
	require.ErrorIs(t, err, rdma.ErrSetup)
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.ErrorContains(t, err, "the peer hung up on the setup: it has no RDMA")
}

func TestDialThatReachesNobodyIsNoFailedSetup(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	_, err = r.Dial(t.Context(), gone.Addr().String())
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.NotErrorIs(t, err, rdma.ErrSetup)
}

// The setup goes by TCP; a fabric that carries nothing is found out all the same.
func TestDialFindsOutThatNothingComesThrough(t *testing.T) {
	r := open(t, fakeverbs.Options{}, rdma.Options{AckTimeout: time.Millisecond, Retries: 1})
	r.listen(t)
	r.fabric.SetPort("fake0", false)
	_, err := r.Dial(t.Context(), r.listener.Addr())
	require.ErrorIs(t, err, rdma.ErrSetup)
	require.ErrorContains(t, err, rdma.StatusRetryExceeded.String())
	r.fabric.SetPort("fake0", true)
	// The peer had taken the setup for a link; it has heard since.
	accepted, err := r.listener.Accept()
	require.NoError(t, err)
	require.ErrorIs(t, within(t, ended(accepted)), link.ErrLost)
	require.NoError(t, accepted.Close())
	dialed, accepted := r.pair(t)
	frame := newFrame(300, 1)
	require.NoError(t, dialed.Send([][]byte{frame}))
	recvSame(t, accepted, frame).Release()
}
