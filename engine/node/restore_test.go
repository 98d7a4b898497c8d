package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/event"
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
func TestRestoreGoesOnBehindWhatIsStaged(t *testing.T) {
	w, a, b := losing(t)
	cutAll(w)
	w.pass(time.Second)
	require.Len(t, a.own.staged, 2, "the third batch came over the next link")
	require.Equal(t, AdmitWaiting, a.node.own[0].State)
	cutAll(w)
	w.pass(time.Second)
	require.Len(t, a.own.staged, 2)
	require.Empty(t, a.node.peers[0].link.Open, "nothing is left to ask for")
	a.noFlush = false
	w.pass(time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, b.mirror.batches, a.own.batches)
	require.NoError(t, w.fault)
}

// All of it becomes durable while no link is up: what the peer said it had is
// reached, so the log is admitted.
func TestRestoreEndsWithoutALink(t *testing.T) {
	w, a, b := losing(t)
	w.pass(100 * time.Millisecond)
	require.Len(t, a.own.staged, 2)
	b.noDial = true
	cutAll(w)
	w.pass(5 * time.Second)
	require.Equal(t, AdmitWaiting, a.node.own[0].State, "it is on its way to the medium")
	a.noFlush = false
	w.pass(time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.NoError(t, w.fault)
}

// The own journal does not take what comes back: the link ends, the log stays
// refused after the wait, and the next session tries again.
func TestRestoreThatCannotBeStagedIsTriedAgain(t *testing.T) {
	w, a, b := losing(t)
	ticket := a.own.ticket
	a.own.staged = nil
	b.noDial = true
	a.step(&StageFailed{Ticket: ticket, Err: errors.New("no space left on device")})
	require.True(t, event.Alarm(a.effects.Events[0]))
	require.Nil(t, a.node.peers[0].link)
	a.noFlush = false
	w.pass(5 * time.Second)
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorIs(t, a.node.own[0].Err, ErrDataLost)
	require.Equal(t, wire.Seq(2), a.own.tail(wire.LogID{Site: a.c.Site}).Seq)
	b.noDial = false
	w.pass(5 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, b.mirror.batches, a.own.batches)
	require.NoError(t, w.fault)
}

// A new journal's term is 1 again. Its sessions have other numbers all the same, so that
// no frame of the first life passes for one of theirs (I4).
func TestNewJournalUsesNoSessionOfTheOldOne(t *testing.T) {
	w, a, b := livelyPair()
	peer := a.node.peers[0]
	term, session := peer.Term, peer.link.Session
	a.crash()
	b.crash() // so that nobody remembers the sessions
	a.term, a.own.batches, a.peers = 0, nil, nil
	a.open()
	b.open()
	w.pass(2 * time.Second)
	peer = a.node.peers[0]
	require.Equal(t, term, peer.Term)
	require.Greater(t, peer.Sessions, uint64(0))
	require.Less(t, uint32(1<<16), max(session, peer.link.Session)-min(session, peer.link.Session))
	require.Equal(t, b.mirror.batches, a.own.batches, "given back")
	require.NoError(t, w.fault)
}

// No site can give a lost tail back, because each copy is damaged somewhere. They mend
// each other, and no link fails meanwhile: they are asked again (I14), at a rising pause.
func TestWhatNoSiteCouldGiveBackIsAskedForAgain(t *testing.T) {
	w, a, b := livelyPair()
	a.crash()
	a.own.batches, a.applied = a.own.batches[:1], nil
	b.mirror.base = 2
	a.open()
	w.pass(10 * time.Second)
	require.Equal(t, wire.RefuseNotRetained, a.node.peers[0].Logs[0].Stop.Code)
	before := a.node.peers[0].Sessions
	w.pass(10 * time.Minute)
	require.Less(t, a.node.peers[0].Sessions-before, uint64(20))
	b.mirror.base = 0
	w.pass(65 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, b.mirror.batches, a.own.batches)
	require.Nil(t, a.node.peers[0].Logs[0].Stop)
	require.NoError(t, w.fault)
}

// The repair was fetched and could not be written: it is asked again on the
// next link.
func TestRepairThatCannotBeWrittenIsAskedAgain(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	b.step(&LogDamaged{Log: log, To: b.mirror.batches[0].End()})
	b.step(&LogDamaged{Log: log, From: b.mirror.batches[0].End(), To: b.mirror.batches[1].End()})
	require.Equal(t, 1, repairs(b), "the second waits: one question about the log is out")
	b.step(&Repaired{Ticket: lastPiece(w, b), Err: errors.New("no space left on device")})
	require.Contains(t, w.take(), "repair-failed!")
	cutAll(w)
	w.pass(2 * time.Second)
	require.Zero(t, repairs(b))
	require.Contains(t, w.take(), "log-repaired")
}

// Damage took the end of a mirror that the Store had applied: it comes again,
// is not applied again, and the source's lag still returns to 0 (I2, I14).
func TestStoreAheadOfItsDamagedMirrorIsNotBehind(t *testing.T) {
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

// Of two logs that site-a lost, site-b cannot give back either, and site-c has one. That
// one is whole again while site-b is still asked for the other, in vain: site-b is served
// all the same (I14).
func TestSiteIsServedWhateverBecameOfTheOtherLogs(t *testing.T) {
	w, a, b, c := trio()
	for _, s := range w.sites {
		s.open()
	}
	w.pass(time.Second)
	a.append(0, 2)
	w.pass(2 * time.Second)
	c.crash()
	a.append(1, 2)
	w.pass(2 * time.Second)
	a.crash()
	b.crash()
	a.own, a.applied = disk{}, nil
	for shard := range wire.Shard(2) {
		b.suspect[Mirror] = append(b.suspect[Mirror], wire.LogID{Site: a.c.Site, Shard: shard})
	}
	a.c.VerifyWait = time.Minute
	b.open()
	a.open()
	var last *FrameIn // what site-b says of its copy of shard 1
	for range 2000 {
		w.tickAll(time.Millisecond)
		for _, m := range w.moves() {
			if l := a.node.peer(b.c.Site).link; last == nil && l != nil && len(l.Open) == 2 {
				if last = a.end(l.Link).hold(wire.FrameFetchEnd, l.Open[1].ID); last != nil {
					c.open()
				}
			}
			m()
		}
	}
	require.NotNil(t, last)
	require.Equal(t, wire.Seq(2), a.node.own[0].Tail.Seq)
	require.NotNil(t, a.node.peer(b.c.Site).Logs[0].Stop)
	a.step(last)
	w.pass(2 * time.Second)
	require.Nil(t, a.node.peer(b.c.Site).Logs[0].Stop)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	a.append(0, 1)
	w.pass(2 * time.Second)
	require.Equal(t, wire.Seq(3), b.mirror.tail(wire.LogID{Site: a.c.Site}).Seq)
	require.NoError(t, w.fault)
}

// hold takes the frame of a kind and number out of those that are yet to come, or nil.
func (e *end) hold(kind wire.FrameKind, number uint64) *FrameIn {
	for i, in := range e.queue {
		if in.Envelope.Kind == kind && in.Envelope.Number == number {
			e.queue = slices.Delete(e.queue, i, i+1)
			return &in
		}
	}
	return nil
}

// What site-b could not give back came from site-c, and is flushed before site-c has
// said that this was all: site-b is served again nevertheless (I14). So it is where
// the answer was the last of two, and where site-c's link ends instead.
func TestPartlyFlushedAnswerIsServedToAll(t *testing.T) {
	for _, ending := range []func(*world, *end){
		func(*world, *end) {},
		func(w *world, e *end) { e.goDown(errors.New("reset")); e.far.goDown(errors.New("reset")) },
	} {
		w, a, b, c := trio()
		for _, s := range []*site{a, b, c} {
			s.open()
		}
		w.pass(time.Second)
		log := wire.LogID{Site: a.c.Site}
		a.append(0, 3)
		w.pass(time.Second)
		a.append(0, 3)
		w.pass(time.Second)
		a.crash()
		a.own.batches, a.applied = a.own.batches[:1], nil
		b.crash()
		b.suspect[Mirror] = append(b.suspect[Mirror], log)
		c.crash()
		b.open()
		a.open()
		w.pass(time.Second)
		require.Len(t, a.node.Status(w.now()).Peers[0].Stopped, 1, "site-b could not give it back")
		c.open()
		for len(a.own.staged) == 0 {
			if moves := w.moves(); len(moves) > 0 {
				moves[0]()
			} else {
				w.tickAll(10 * time.Millisecond)
			}
		}
		a.flush(Own)
		for len(a.work) > 0 {
			told := a.work[0]
			a.work = a.work[1:]
			told()
		}
		require.Equal(t, wire.Seq(6), a.node.own[0].Tail.Seq)
		l := a.node.peer(c.c.Site).link
		require.NotEmpty(t, l.Open, "the answer has not ended")
		ending(w, a.end(l.Link))
		w.pass(5 * time.Second)
		a.append(0, 1)
		w.pass(5 * time.Second)
		require.NoError(t, w.fault)
		require.Empty(t, a.node.Status(w.now()).Peers[0].Stopped)
		require.Equal(t, a.own.batches, b.mirror.batches)
		require.Equal(t, a.own.batches, c.mirror.batches)
	}
}
