package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire/link"
)

// counting is a link that counts what it sends.
type counting struct {
	link.Conn
	sent int
}

func (c *counting) Send([][]byte) error {
	c.sent++
	return nil
}

// A welcome waits until the peers of links that are told to close can write here no
// more; what follows it does not, nor do links that this site dialed.
func TestWelcomeWaitsForTheEndOfLinksThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{}
		old := &peerLink{e: e, id: 1, gone: make(chan struct{})}
		conn := &counting{}
		l := &peerLink{e: e, id: 2, conn: conn}
		e.links.open = map[node.LinkID]*peerLink{1: old, 2: l}
		e.links.leaving = make(map[*peerLink]struct{})
		e.links.leave(old)
		e.links.leave(l) // itself it does not wait for
		go func() { _ = l.do(&node.Op{Kind: node.OpSend}) }()
		synctest.Wait()
		require.Zero(t, conn.sent)
		dialed := &peerLink{e: e, id: 3, conn: conn, route: &route{}}
		require.NoError(t, dialed.do(&node.Op{Kind: node.OpSend}))
		require.Equal(t, 1, conn.sent)
		close(old.gone)
		synctest.Wait()
		require.Equal(t, 2, conn.sent)
		e.links.remove(old.id)
		e.links.leave(old) // too late
		require.Len(t, e.links.leaving, 1)
	})
}

// leisurely is a link whose Close takes a while, as that of a queue pair does.
type leisurely struct {
	link.Conn
	closed chan struct{} // with room for each Close
}

func (c *leisurely) Close() error {
	<-time.After(time.Second)
	c.closed <- struct{}{}
	return nil
}

// Whoever pushes holds the heart's mutex: a stalled link that is given up costs the
// others no moment (I10).
func TestStalledLinkIsClosedWithoutWaitingForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &leisurely{closed: make(chan struct{}, 2)}
		l := &peerLink{e: &Engine{}, id: 1, conn: conn, ready: make(chan struct{}, 1), shut: make(chan struct{})}
		began := time.Now()
		for range queueOpsMax + 2 {
			l.push(&node.Op{Kind: node.OpRead})
		}
		require.Zero(t, time.Since(began))
		require.ErrorContains(t, l.why, "65537 operations with 0 bytes of control frames wait")
		<-conn.closed
	})
}
