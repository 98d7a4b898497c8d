package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

func pair() (*world, *site, *site) {
	w := newWorld()
	a := w.addSite("site-a", 4, "site-a", "site-b")
	b := w.addSite("site-b", 4, "site-a", "site-a")
	return w, a, b
}

func TestTwoNodesReplicateBackToBack(t *testing.T) {
	w, a, b := pair()
	w.trace = true
	a.open()
	b.open()
	w.pass(time.Second)
	a.append(0, 3)
	a.append(1, 1)
	a.append(0, 2)
	w.pass(2 * time.Second)
	t.Log(w.take())
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, b.mirror.batches)
	s := a.node.Status(w.now())
	require.True(t, s.Peers[0].Durable.Known)
	require.Zero(t, s.Peers[0].Durable.Time)
	require.Zero(t, s.Peers[0].Applied.Entries)
	require.Equal(t, wire.Seq(5), a.peers[0].Cursors[0].Position.Seq)
}
