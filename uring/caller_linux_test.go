//go:build !giouring

package uring

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

// A ring that fails loses its link, with its reason, and is not used again.
func TestARingThatFailsLosesItsLinkWithItsReason(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	tr, err := NewTransport(TransportOptions{})
	require.NoError(t, err)
	n, err := tr.Listen("127.0.0.1:0")
	require.NoError(t, err)
	dialed, err := tr.Dial(context.Background(), n.Addr())
	require.NoError(t, err)
	accepted, err := n.Accept()
	require.NoError(t, err)

	c := dialed.(*Conn)
	for _, caller := range []*Caller{c.sending, c.receiving} {
		caller.enterFD = -1 // as of a kernel that has had enough
	}
	for range 2 {
		_, err = dialed.Recv()
		require.ErrorIs(t, err, link.ErrLost)
		require.ErrorIs(t, err, unix.EBADF)
		require.ErrorContains(t, err, "io_uring")
		err = dialed.Send([][]byte{make([]byte, 300)})
		require.ErrorIs(t, err, link.ErrLost)
	}
	idle := len(tr.callers.idle)
	require.NoError(t, dialed.Close())
	require.Len(t, tr.callers.idle, idle)
	require.NoError(t, accepted.Close())
	require.Len(t, tr.callers.idle, idle+2)
	require.NoError(t, n.Close())
	require.NoError(t, tr.Close())
	require.Empty(t, tr.callers.idle)
}
