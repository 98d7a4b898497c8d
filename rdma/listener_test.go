package rdma

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire/link"
)

// full is a socket that finds no descriptors left for each connection.
type full struct {
	accepts atomic.Int32
	closed  chan struct{}
	once    sync.Once
}

func (f *full) Accept() (net.Conn, error) {
	f.accepts.Add(1)
	select {
	case <-f.closed:
		return nil, net.ErrClosed
	default:
		return nil, syscall.EMFILE
	}
}

func (f *full) Addr() net.Addr { return &net.TCPAddr{} }

func (f *full) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

// Who accepts hears of a fault once for each try: none wait for him that are over by
// then (I14).
func TestFaultsOfTheListenersSocketDoNotPileUp(t *testing.T) {
	socket := &full{closed: make(chan struct{})}
	l := (&Transport{o: (&Options{}).withDefaults()}).listenOn(socket, nil)
	for range 3 {
		_, err := l.Accept()
		require.ErrorIs(t, err, syscall.EMFILE)
	}
	require.NoError(t, l.Close())
	require.LessOrEqual(t, socket.accepts.Load(), int32(5)) // those three, one ahead, the end
	_, err := l.Accept()
	require.ErrorIs(t, err, link.ErrClosed)
}
