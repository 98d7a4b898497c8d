package node

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// losing returns a pair whose site-a has come back with one batch of three, and
// has staged and not flushed the second of what site-b gives back.
func losing(t *testing.T) (w *world, a, b *site) {
	w, a, b = livelyPair()
	a.crash()
	a.own.batches = a.own.batches[:1]
	a.noFlush = true
	a.open()
	for len(a.own.staged) == 0 {
		for _, m := range w.moves() {
			m()
		}
		if len(w.moves()) == 0 {
			w.tickAll(time.Millisecond)
		}
	}
	require.Len(t, a.own.staged, 1)
	return w, a, b
}

func cutAll(w *world) {
	for _, p := range w.pipes {
		p.cut(errors.New("reset"))
	}
}

// The link breaks while given-back batches are staged: the next session asks
// only for what lies behind them, so nothing is staged twice (I2).
func TestARestoreGoesOnBehindWhatIsStaged(t *testing.T) {
	w, a, b := losing(t)
	cutAll(w)
	w.pass(time.Second)
	require.Len(t, a.own.staged, 2, "the third batch came over the next link")
	require.Equal(t, AdmitWaiting, a.node.own[0].admission)
	cutAll(w)
	w.pass(time.Second)
	require.Len(t, a.own.staged, 2)
	require.Nil(t, a.node.peers[0].link.fetch, "nothing is left to ask for")
	a.noFlush = false
	w.pass(time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].admission)
	require.Equal(t, b.mirror.batches, a.own.batches)
	require.NoError(t, w.fault)
}

// All of it becomes durable while no link is up: what the peer said it had is
// reached, so the log is admitted.
func TestARestoreEndsWithoutALink(t *testing.T) {
	w, a, b := losing(t)
	w.pass(100 * time.Millisecond)
	require.Len(t, a.own.staged, 2)
	b.noDial = true
	cutAll(w)
	w.pass(5 * time.Second)
	require.Equal(t, AdmitWaiting, a.node.own[0].admission, "it is on its way to the medium")
	a.noFlush = false
	w.pass(time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].admission)
	require.NoError(t, w.fault)
}

// The own journal does not take what comes back: the link ends, the log stays
// refused after the wait, and the next session tries again.
func TestARestoreThatCannotBeStagedIsTriedAgain(t *testing.T) {
	w, a, b := losing(t)
	ticket := a.own.ticket
	a.own.staged = nil
	b.noDial = true
	a.step(&StageFailed{Ticket: ticket, Err: errors.New("no space left on device")})
	require.True(t, a.effects.Events[0].Alarm)
	require.Nil(t, a.node.peers[0].link)
	a.noFlush = false
	w.pass(5 * time.Second)
	require.Equal(t, AdmitRefused, a.node.own[0].admission)
	require.ErrorIs(t, a.node.own[0].err, ErrDataLost)
	require.Equal(t, wire.Seq(2), a.own.tail(wire.LogID{Site: a.c.Site}).Seq)
	b.noDial = false
	w.pass(5 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].admission)
	require.Equal(t, b.mirror.batches, a.own.batches)
	require.NoError(t, w.fault)
}

// The repair was fetched and could not be written: it is asked again on the
// next link.
func TestARepairThatCannotBeWrittenIsAskedAgain(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	b.step(&MirrorDamaged{Log: log, From: wire.Position{}, To: 2})
	b.step(&MirrorDamaged{Log: log, From: b.mirror.batches[0].End(), To: 4})
	require.Len(t, b.node.repairs, 1, "the second waits: one question about the log is out")
	for len(b.node.repairing) == 0 {
		for _, m := range w.moves() {
			m()
		}
	}
	b.step(&StageFailed{Ticket: b.node.repairing[0].ticket, Err: errors.New("no space left on device")})
	require.Contains(t, w.take(), "repair-failed!")
	cutAll(w)
	w.pass(2 * time.Second)
	require.Empty(t, b.node.repairs)
	require.Contains(t, w.take(), "mirror-repaired")
}

// Damage took the end of a mirror that the Store had applied: it comes again,
// is not applied again, and the source's lag still returns to 0 (I2, I14).
func TestAStoreAheadOfItsDamagedMirrorIsNotBehind(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	b.mirror.batches = b.mirror.batches[:1]
	b.noApply = true // its Store has everything
	b.open()
	w.pass(5 * time.Second)
	require.Equal(t, a.own.batches, b.mirror.batches)
	s := a.node.Status(w.now()).Peers[0]
	require.True(t, s.Applied.Known)
	require.Zero(t, s.Applied.Entries)
}
