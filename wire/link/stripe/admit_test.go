package stripe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

func same(c link.Conn) link.Conn { return c }

// I10: who was refused is read no further, whatever he goes on to send.
func TestAdmitComesBeforeTheSecondFrame(t *testing.T) {
	for _, streams := range []uint16{1, 3} {
		r := newJudgedRig(t, limitsDefault, same)
		var dialed link.Conn
		if streams == 1 {
			dialed = r.dial(heartbeat(1), heartbeat(2))
		} else {
			all := make([]link.Conn, streams)
			for i := range all {
				all[i] = r.dial((&wire.Join{Streams: streams, Stream: uint16(i)}).AppendTo(nil, 0))
			}
			dialed = &conn{streams: all}
			require.NoError(t, dialed.Send([][]byte{heartbeat(1)}))
			require.NoError(t, dialed.Send([][]byte{heartbeat(2)}))
		}
		c, err := r.Accept()
		require.NoError(t, err)
		defer c.Close()
		f, err := c.Recv()
		require.NoError(t, err)
		f.Release()
		second := make(chan error, 1)
		go func() { // ends with the frame, or with the link
			f, err := c.Recv()
			if err == nil {
				f.Release()
			}
			second <- err
		}()
		require.NoError(t, c.Send([][]byte{heartbeat(7)})) // A refusal reaches him all the same.
		f, err = dialed.Recv()
		require.NoError(t, err)
		f.Release()
		select {
		case err := <-second:
			t.Fatalf("read before it was admitted: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		require.Equal(t, int(streams), r.light.Len())
		c.(link.Admitter).Admit()
		require.NoError(t, <-second)
		require.Zero(t, r.light.Len())
	}
}

func TestAdmittedConnectionsAreAdopted(t *testing.T) {
	adopted := 0
	r := newJudgedRig(t, limitsDefault, func(c link.Conn) link.Conn { adopted++; return c })
	for i := range uint16(3) {
		c := r.dial((&wire.Join{Streams: 3, Stream: i}).AppendTo(nil, 0))
		if i == 0 {
			require.NoError(t, c.Send([][]byte{heartbeat(1)}))
		}
	}
	c, err := r.Accept()
	require.NoError(t, err)
	require.Zero(t, adopted)
	c.(link.Admitter).Admit()
	c.(link.Admitter).Admit()
	require.Equal(t, 3, adopted)
	require.NoError(t, c.Close())
}

// A link that was closed before anybody admitted it gives its place back, and Recv ends.
func TestRefusedLinkLeavesAtClose(t *testing.T) {
	r := newJudgedRig(t, limitsDefault, same)
	r.dial(heartbeat(1))
	c, err := r.Accept()
	require.NoError(t, err)
	f, err := c.Recv()
	require.NoError(t, err)
	f.Release()
	require.NoError(t, c.Close())
	_, err = c.Recv()
	require.ErrorIs(t, err, link.ErrClosed)
	require.Zero(t, r.light.Len())
	c.(link.Admitter).Admit() // too late
}

// Whatever the number of those who say nothing, who speaks gets in.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	r := newJudgedRig(t, limits{count: 16, wait: time.Hour}, same)
	for range 10 {
		for range 20 {
			r.dial()
		}
		r.dial(heartbeat(1))
		c, err := r.Accept()
		require.NoError(t, err)
		c.(link.Admitter).Admit()
		require.NoError(t, c.Close())
		require.LessOrEqual(t, r.light.Len(), 16)
	}
	in := r.Incoming()
	require.Equal(t, uint64(210), in.Accepted)
	require.LessOrEqual(t, in.Silent, 12)
	require.GreaterOrEqual(t, in.Evicted, uint64(200-12))
}
