package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// other is an incarnation that no site of these worlds writes.
var other = wire.Incarnation{99}

// TestPageOfAnotherIncarnationStopsLog: its seq lies between what the peer confirmed and
// what it was sent, and says nothing about either (I4).
func TestPageOfAnotherIncarnationStopsLog(t *testing.T) {
	w, a, b := livelyPair()
	b.noFlush = true
	a.append(0, 4)
	w.pass(100 * time.Millisecond)
	require.Equal(t, wire.Seq(6), a.node.peers[0].Logs[0].Durable.Seq)
	require.Equal(t, wire.Seq(10), a.node.peers[0].Sender.Sent(0).Seq)
	a.step(frame(a.node.peers[0].link, wire.FrameCursorPage, &wire.CursorPage{Entries: []wire.PageEntry{{
		Log: wire.LogID{Site: a.c.Site}, Applied: 8,
		Durable: wire.Position{Incarnation: other, Seq: 8, Chain: wire.Chain{9}},
	}}}))
	require.Empty(t, a.effects.Progress)
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorIs(t, a.node.own[0].Err, ErrDiverged)
	require.NoError(t, w.fault)
}

// TestStoreOfAnotherIncarnationIsNotTold: the writer lost everything and begins again, the
// standby lost its journal and kept its Store. What that shows is nothing of the new log.
func TestStoreOfAnotherIncarnationIsNotTold(t *testing.T) {
	w, a, b := livelyPair()
	a.crash()
	b.crash()
	a.own, a.applied, a.peers = disk{}, nil, nil
	b.mirror, b.noApply = disk{}, true
	b.open()
	a.open()
	w.pass(2 * time.Second)
	a.appendAs(0, 3, other)
	w.pass(2 * time.Second)
	require.Equal(t, wire.Seq(3), a.node.peers[0].Logs[0].Durable.Seq)
	require.Zero(t, a.node.peers[0].Logs[0].Applied)
	require.EqualValues(t, 3, a.node.Status(w.now()).Peers[0].Applied.Entries)
}

// TestFloorIsZeroWhereNobodyKnowsTheOrder: a higher seq of another incarnation does not
// say that its site has ours (I12). Where epochs are known the older one is the floor.
func TestFloorIsZeroWhereNobodyKnowsTheOrder(t *testing.T) {
	w, a, _ := livelyPair()
	n, log := a.node, wire.LogID{Site: a.c.Site}
	store, there := n.own[0].store, wire.Position{Incarnation: other, Seq: 9}
	require.Equal(t, wire.Seq(6), store.Seq)
	require.Equal(t, store, n.Floor(Own, log))
	n.peers[0].Logs[0].Durable = there
	require.Zero(t, n.Floor(Own, log))
	require.Equal(t, n.peers[0].Site, n.Holder(Own, log))
	n.t.Learn(log, store.Incarnation, 2)
	n.t.Learn(log, other, 1)
	require.Equal(t, there, n.Floor(Own, log))
	n.t.Learn(log, wire.Incarnation{98}, 3)
	n.peers[0].Logs[0].Durable.Incarnation = wire.Incarnation{98}
	require.Equal(t, store, n.Floor(Own, log))
	require.Zero(t, n.Holder(Own, log))
	require.NoError(t, w.fault)
}

// TestCursorOfAnotherIncarnationConfirmsNothing: neither for lag nor for the peer's next
// answer, and the log is not admitted behind it (I1, I4).
func TestCursorOfAnotherIncarnationConfirmsNothing(t *testing.T) {
	w, a, b := livelyPair()
	a.crash()
	b.crash()
	for i := range a.peers[0].Cursors {
		a.peers[0].Cursors[i].Position = wire.Position{Incarnation: other, Seq: 9}
	}
	a.open()
	require.EqualValues(t, 6, a.node.Status(w.now()).Peers[0].Durable.Entries)
	b.open()
	w.take()
	w.pass(2 * time.Second)
	require.Contains(t, w.take(), "peer-behind! ")
	require.NotEqual(t, AdmitVerified, a.node.own[0].State)
	require.NoError(t, w.fault)
}
