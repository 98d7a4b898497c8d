package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// askRows asks site-a, from site-b, for a view of shard 0.
func askRows(b *site, id uint64) {
	b.step(&VerifyAsk{Peer: b.c.Peers[0].Site, Mend: &wire.Mend{ID: id, Kind: wire.MendOpen}})
}

// TestMendedShardKeepsItsFloorsAtTheSource: from before the view is opened until the asker
// ends, or its link does (I12).
func TestMendedShardKeepsItsFloorsAtTheSource(t *testing.T) {
	for _, end := range []string{"end", "link"} {
		w, a, b := livelyPair()
		log := wire.LogID{Site: a.c.Site}
		require.Equal(t, wire.Seq(6), a.node.Floor(Own, log).Seq)
		askRows(b, 1)
		w.settle()
		require.Len(t, a.asked, 1)
		require.NotNil(t, a.asked[0].Mend)
		a.append(0, 3)
		w.pass(3 * time.Second)
		require.Equal(t, wire.Seq(6), a.node.Floor(Own, log).Seq, "pinned")
		require.Equal(t, b.c.Site, a.node.Holder(Own, log))
		a.step(&VerifyAnswer{Link: a.asked[0].Link, Rows: &wire.Rows{ID: 1, View: 9}})
		w.settle()
		require.Len(t, b.told, 1)
		require.NoError(t, b.told[0].Err)
		if end == "end" {
			b.step(&VerifyAsk{Peer: a.c.Site, Ask: wire.Verify{ID: 2, Kind: wire.VerifyEnd, Log: log}})
			w.settle()
		} else {
			cutAll(w)
			w.pass(10 * time.Second)
		}
		require.Equal(t, wire.Seq(9), a.node.Floor(Own, log).Seq, end)
		require.NoError(t, w.fault)
	}
}

// TestMirrorGoesOnBehindAMendedStore: covered, without a source below; the session begins
// again, and what follows comes.
func TestMirrorGoesOnBehindAMendedStore(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	at := a.own.tail(log).Position
	b.node.mirrors.Log(log).Durable = wire.Position{}
	m := b.node.mirrors.Log(log)
	b.node.mirrors.Boot(&Log{ID: log})
	sessions := a.node.Status(w.now()).Peers[0].Sessions
	b.step(&ApplyStopped{Log: log, Err: ErrSuspect})
	require.Len(t, b.node.Status(w.now()).Stopped, 1)
	b.step(&Mended{Shard: 0, Cursors: []wire.Cursor{{Log: log, Position: at}}})
	require.Equal(t, at, m.Durable)
	require.Equal(t, at, m.Store)
	require.Empty(t, b.node.Status(w.now()).Stopped)
	w.pass(10 * time.Second)
	require.Greater(t, a.node.Status(w.now()).Peers[0].Sessions, sessions)
	require.NoError(t, b.node.mirrors.Check())
}

// TestMendedCursorsReplaceAllOthers: a log that the view does not have counts as not applied.
func TestMendedCursorsReplaceAllOthers(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	b.step(&Mended{Shard: 0})
	require.Zero(t, b.node.mirrors.Log(log).Store)
	require.Zero(t, b.node.Floor(Mirror, log).Seq, "the Store needs it again")
	require.NoError(t, b.node.mirrors.Check())
	b.step(&Mended{Shard: 99})
	require.NoError(t, w.fault)
}
