package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func trio() (w *world, a, b, c *site) {
	w = newWorld()
	a = w.addSite("site-a", 3, "site-a", "site-b", "site-c")
	b = w.addSite("site-b", 3, "site-a", "site-a", "site-c")
	c = w.addSite("site-c", 3, "site-a", "site-a", "site-b")
	return w, a, b, c
}

// A dead peer costs the others nothing (I10), holds the retention floors of the
// source and of the other mirror (I12), and catches up when it returns (I14).
func TestDeadPeerHoldsTheFloorsAndNothingElse(t *testing.T) {
	w, a, b, c := trio()
	a.open()
	b.open()
	c.open()
	w.pass(2 * time.Second)
	a.append(0, 4)
	w.pass(3 * time.Second)
	log := wire.LogID{Site: a.c.Site}
	require.Equal(t, wire.Seq(4), a.node.Floor(Own, log).Seq)
	require.Equal(t, wire.Seq(4), b.node.Floor(Mirror, log).Seq, "site-c told site-b that it has it as well")
	c.crash()
	a.append(0, 4)
	w.pass(5 * time.Second)
	require.Equal(t, wire.Seq(8), b.mirror.tail(log).Seq)
	require.Equal(t, wire.Seq(4), a.node.Floor(Own, log).Seq)
	require.Equal(t, wire.Seq(4), b.node.Floor(Mirror, log).Seq)
	s := a.node.Status(w.now())
	require.Equal(t, "site-b", s.Peers[0].Name)
	require.Equal(t, stream.WaitNothing, s.Peers[0].WaitingOn)
	require.Equal(t, stream.WaitLink, s.Peers[1].WaitingOn)
	require.False(t, s.Peers[1].Durable.Known)
	require.Equal(t, int64(4), s.Peers[1].Durable.Entries)
	c.open()
	w.pass(5 * time.Second)
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, c.mirror.batches)
	require.Equal(t, wire.Seq(8), a.node.Floor(Own, log).Seq)
	require.Equal(t, wire.Seq(8), b.node.Floor(Mirror, log).Seq)
}

// restoredBehindOne has site-a come back with an old image, beside site-b, which never
// had more, while site-c, which is down, has acknowledged an entry more.
func restoredBehindOne() (w *world, a, c *site) {
	w, a, b, c := trio()
	a.open()
	b.open()
	c.open()
	w.pass(2 * time.Second)
	a.append(0, 1)
	w.pass(2 * time.Second)
	b.crash()
	image := a.copyDisks()
	a.append(0, 1)
	w.pass(2 * time.Second)
	c.crash()
	a.crash()
	a.own, a.mirror, a.peers, a.applied = image.own, image.mirror, image.peers, image.applied
	a.open()
	b.open()
	return w, a, c
}

// I4: one peer's word does not do while another one may still come: what it has comes
// back, and the log does not fork.
func TestNoLogIsAdmittedBeforeEveryPeerWasHeard(t *testing.T) {
	w, a, c := restoredBehindOne()
	w.pass(a.node.t.C.VerifyWait / 2)
	require.Equal(t, AdmitWaiting, a.node.own[0].State)
	c.open()
	w.pass(3 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, wire.Seq(2), a.node.own[0].Tail.Seq)
	require.NoError(t, w.fault)
}

// A peer that stays away longer than VerifyWait holds up nobody (I10). If it had more
// it contradicts then, and the log stops rather than fork.
func TestSecondPeerThatHasMoreStopsAnAdmittedLog(t *testing.T) {
	w, a, c := restoredBehindOne()
	w.pass(a.node.t.C.VerifyWait + time.Second)
	require.Equal(t, AdmitUnverified, a.node.own[0].State, "site-c was not heard")
	c.open()
	w.pass(3 * time.Second)
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorContains(t, a.node.own[0].Err, "when appends were admitted")
	require.Equal(t, AdmitVerified, a.node.own[1].State)
	require.NoError(t, w.fault)
}

// A peer that does not flush pins its window and no more (I10); what it waits
// on is named, and its lag grows with the age of the oldest entry.
func TestPeerThatDoesNotFlushPinsItsWindowOnly(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	b.noFlush = true
	for range 50 {
		a.append(0, 10)
		w.pass(10 * time.Millisecond)
	}
	s := a.node.Status(w.now()).Peers[0]
	require.LessOrEqual(t, s.WindowUsed, s.WindowBytes+int64(a.c.FrameBytesMax))
	require.Equal(t, stream.WaitWindow, s.WaitingOn)
	require.True(t, s.Durable.Known)
	require.Equal(t, int64(500), s.Durable.Entries)
	require.Equal(t, int64(50*(wire.BatchHeaderBytes+400)), s.Durable.Bytes)
	require.InDelta(t, 0.5, s.Durable.Time.Seconds(), 0.02)
	b.noFlush = false
	w.pass(2 * time.Second)
	require.Equal(t, a.own.batches, b.mirror.batches)
	s = a.node.Status(w.now()).Peers[0]
	require.Equal(t, lag.Lag{Known: true}, s.Durable)
	require.Equal(t, lag.Lag{Known: true}, s.Applied)
	require.NoError(t, w.fault)
}

// An idle hour followed by one entry is not an hour of lag: the age is that of the
// entry, on the source's clock. Trackers report lag that jumps to hours after
// a pause.
func TestLagDoesNotJumpAfterAPause(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	a.append(0, 1)
	w.pass(time.Hour)
	b.noFlush = true
	a.append(0, 1)
	w.pass(300 * time.Millisecond)
	lag := a.node.Status(w.now()).Peers[0].Durable
	require.True(t, lag.Known)
	require.InDelta(t, 0.3, lag.Time.Seconds(), 0.01)
	require.NoError(t, w.fault)
}

// While a peer catches up after an outage its lag falls with what it has, it
// does not stay at the age of the outage until the end.
func TestLagFallsWhileAPeerCatchesUp(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	b.crash()
	for range 60 {
		a.append(0, 10)
		a.append(1, 10)
		w.pass(time.Second)
	}
	before := a.node.Status(w.now()).Peers[0].Durable
	require.False(t, before.Known)
	require.InDelta(t, 60, before.Time.Seconds(), 1)
	b.open()
	last, falls := before.Time, 0
	for range 4000 {
		moves := w.moves()
		for _, m := range moves[:min(1, len(moves))] {
			m()
		}
		if len(moves) == 0 {
			w.tickAll(50 * time.Millisecond)
		}
		if lag := a.node.Status(w.now()).Peers[0].Durable; lag.Known && lag.Time < last-time.Second {
			last = lag.Time
			falls++
		}
	}
	require.NoError(t, w.fault)
	require.Zero(t, last)
	require.Greater(t, falls, 5)
}

// That holds for a log that was suspect as well: damage may have taken what only the
// other peer has.
func TestSuspectLogWaitsForEveryPeer(t *testing.T) {
	w, a, c := restoredBehindOne()
	a.crash()
	a.suspect[Own] = []wire.LogID{{Site: a.c.Site}}
	a.open()
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	w.pass(a.node.t.C.VerifyWait / 2)
	require.Empty(t, a.suspect[Own], "site-b ends where site-a ends")
	require.Equal(t, AdmitWaiting, a.node.own[0].State)
	c.open()
	w.pass(3 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, wire.Seq(2), a.node.own[0].Tail.Seq)
	require.NoError(t, w.fault)
}

// I4: a peer that comes back behind what it once confirmed, and with another history,
// proves nothing: no cursor of it is believed, and the log is not admitted on its word.
func TestPeerWithAnotherHistoryProvesNothing(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	require.Equal(t, wire.Seq(6), a.node.Floor(Own, log).Seq)
	a.crash()
	b.crash()
	other := b.mirror.batches[0]
	other.FirstStamp++
	other.LastStamp++
	wire.CloseBatch(make([]byte, other.Bytes()), &other)
	require.NotEqual(t, b.mirror.batches[0].Chain, other.Chain)
	b.mirror.batches, b.applied = []wire.BatchHeader{other}, nil
	a.open()
	b.open()
	for range 1000 {
		w.tickAll(time.Millisecond)
		for _, m := range w.moves() {
			m()
		}
		require.NoError(t, w.fault)
		require.NotEqual(t, AdmitVerified, a.node.own[0].State)
		require.NotEqual(t, other.End(), a.node.peers[0].Logs[0].Durable)
	}
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorContains(t, a.node.own[0].Err, "histories differ")
	require.Zero(t, a.node.Floor(Own, log).Seq)
}

// I12: a peer that comes back without its copy of a third site's log needs all of it
// again, though its first pages do not name the log.
func TestPeerThatLostItsCopyHoldsTheMirrorsFloor(t *testing.T) {
	w, a, b, c := trio()
	for _, s := range w.sites {
		s.open()
	}
	w.pass(2 * time.Second)
	a.append(0, 4)
	w.pass(3 * time.Second)
	log := wire.LogID{Site: a.c.Site}
	require.Equal(t, wire.Seq(4), b.node.Floor(Mirror, log).Seq)
	a.crash() // so that nobody gives it back
	c.crash()
	c.mirror, c.applied = disk{}, nil
	c.open()
	w.pass(3 * time.Second)
	require.Equal(t, stream.PhaseLive, b.node.peer(c.c.Site).Phase)
	require.Zero(t, b.node.Floor(Mirror, log).Seq)
	a.open()
	w.pass(5 * time.Second)
	require.Equal(t, wire.Seq(4), b.node.Floor(Mirror, log).Seq)
	require.NoError(t, w.fault)
}
