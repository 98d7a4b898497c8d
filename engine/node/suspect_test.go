package node

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// told counts events and admissions that contain a text.
func (w *world) told(text string) (n int) {
	for _, said := range w.said {
		if strings.Contains(said, text) {
			n++
		}
	}
	return n
}

// TestSuspectLogEndsWhereNobodyHasMore: what only this site had lay in the damage. No site
// can prove the tail, and no site contradicts it: once the last one was heard, the loss is
// told, and the log goes on (I9, I14). What it appends now is no second history (I4).
func TestSuspectLogEndsWhereNobodyHasMore(t *testing.T) {
	w, a, b, c := trio()
	for _, s := range w.sites {
		s.open()
	}
	w.pass(2 * time.Second)
	a.append(0, 1)
	w.pass(2 * time.Second)
	b.crash()
	c.crash()
	a.append(0, 1)
	a.append(0, 1)
	a.append(0, 1)
	w.pass(100 * time.Millisecond)
	a.crash()
	a.own.batches, a.applied = a.own.batches[:2], nil
	a.suspect[Own] = []wire.LogID{{Site: a.c.Site}}
	w.said = nil
	a.open()
	b.open()
	w.pass(2 * a.node.t.C.VerifyWait)
	require.Equal(t, AdmitRefused, a.node.own[0].State, "site-c may have more")
	require.ErrorIs(t, a.node.own[0].Err, ErrSuspect)
	require.NotEmpty(t, a.suspect[Own])
	require.Zero(t, w.told("data-lost!"))
	c.open()
	w.pass(5 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Empty(t, a.suspect[Own])
	require.Equal(t, 1, w.told("data-lost!"))
	require.Equal(t, wire.Seq(2), a.node.own[0].Tail.Seq)
	a.append(0, 1)
	w.pass(5 * time.Second)
	for _, s := range []*site{b, c} {
		require.Equal(t, a.node.own[0].Tail, s.mirror.tail(wire.LogID{Site: a.c.Site}).Position)
	}
	require.Empty(t, a.node.Status(w.now()).Stopped)
	require.NoError(t, w.fault)
}

// TestSuspectLogThatPeerConfirmedIsShort: a peer once confirmed more than both have now. That
// is known to be lost, so nothing is appended behind it.
func TestSuspectLogThatPeerConfirmedIsShort(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	for range 3 {
		a.append(0, 1)
	}
	w.pass(3 * time.Second)
	a.crash()
	b.crash()
	a.own.batches, b.mirror.batches = a.own.batches[:2], b.mirror.batches[:1]
	a.applied, b.applied = nil, nil
	a.suspect[Own] = []wire.LogID{{Site: a.c.Site}}
	a.open()
	b.open()
	w.pass(3 * a.node.t.C.VerifyWait)
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorIs(t, a.node.own[0].Err, ErrDataLost)
	require.ErrorContains(t, a.node.own[0].Err, "site site-b has seq 3")
	require.NoError(t, w.fault)
}

// TestSuspectLogGoesOnBehindStore: damage took what the peer confirmed and gave back. The
// Store has it, as of a log that is short without damage.
func TestSuspectLogGoesOnBehindStore(t *testing.T) {
	for _, suspect := range []bool{false, true} {
		w, a, b := pair()
		a.open()
		b.open()
		w.pass(2 * time.Second)
		for range 3 {
			a.append(0, 1)
		}
		w.pass(3 * time.Second)
		a.crash()
		a.own.batches, b.mirror.base = a.own.batches[:1], 3
		log := wire.LogID{Site: a.c.Site}
		if suspect {
			a.suspect[Own] = []wire.LogID{log}
		}
		a.open()
		w.pass(3 * a.node.t.C.VerifyWait)
		require.Equal(t, AdmitVerified, a.node.own[0].State)
		require.Equal(t, wire.Seq(3), a.node.own[0].Tail.Seq)
		require.Empty(t, a.suspect[Own])
		a.append(0, 1)
		w.pass(3 * time.Second)
		require.Equal(t, a.node.own[0].Tail, b.mirror.tail(log).Position)
		require.NoError(t, w.fault)
	}
}
