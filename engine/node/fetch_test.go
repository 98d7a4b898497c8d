package node

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// livelyPair has three batches of shard 0 at both ends.
func livelyPair() (*world, *site, *site) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(time.Second)
	for range 3 {
		a.append(0, 2)
	}
	w.pass(2 * time.Second)
	return w, a, b
}

// A reader that found the end while a flush moved it looks again; else what
// was flushed waits for the next flush (I14).
func TestReaderThatLooksWhileTheEndMovesLooksAgain(t *testing.T) {
	_, a, _ := livelyPair()
	link := a.node.peers[0].link.Link
	h := a.append(0, 1)
	a.own.staged = nil
	a.node.Step(a.w.now(), &OwnDurable{Headers: []wire.BatchHeader{h}}, &Effects{}) // it reads
	next := h
	next.FirstSeq, next.Prev = h.LastSeq()+1, h.Chain
	a.node.Step(a.w.now(), &OwnDurable{Headers: []wire.BatchHeader{next}}, &Effects{})
	var e Effects
	a.node.Step(a.w.now(), &ReadDone{Link: link}, &e)
	require.Len(t, e.Ops, 1)
	require.Equal(t, OpRead, e.Ops[0].Kind)
	e.Reset()
	a.node.Step(a.w.now(), &ReadDone{Link: link}, &e)
	require.Empty(t, e.Ops, "now it waits for a flush")
}

// What is given back must continue what is there; else it is another history:
// nothing of it is staged and the log stops (I4).
func TestAnswerThatDoesNotContinueStopsTheLog(t *testing.T) {
	for name, forge := range map[string]func(*wire.BatchHeader){
		"chain":       func(h *wire.BatchHeader) { h.Prev = wire.Chain{9} },
		"incarnation": func(h *wire.BatchHeader) { h.Incarnation = wire.Incarnation{9} },
		"gap":         func(h *wire.BatchHeader) { h.FirstSeq++ },
		"stamp":       func(h *wire.BatchHeader) { h.FirstStamp = 1 },
		"log":         func(h *wire.BatchHeader) { h.Shard = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w, a, _ := livelyPair()
			a.crash()
			a.own.batches = a.own.batches[:1]
			a.open()
			for range 1000 {
				moves := w.moves()
				if len(moves) == 0 {
					w.tickAll(time.Millisecond)
				}
				for _, m := range moves {
					m()
				}
				for _, p := range w.pipes {
					for _, e := range p.ends {
						for i := range e.queue {
							in := &e.queue[i]
							if in.Envelope.Kind == wire.FrameFetched && in.Headers[0].LastSeq() == 6 {
								forged := in.Headers[0]
								forge(&forged)
								in.Headers = []wire.BatchHeader{forged}
							}
						}
					}
				}
			}
			require.NoError(t, w.fault)
			require.Equal(t, AdmitRefused, a.node.own[0].State)
			require.ErrorIs(t, a.node.own[0].Err, ErrDiverged)
			require.Equal(t, wire.Seq(4), a.own.tail(wire.LogID{Site: a.c.Site}).Seq, "only what continued was staged")
			require.Equal(t, AdmitVerified, a.node.own[1].State, "the others go on")
		})
	}
}

// A fetch is answered only from a log that is whole and shares the asker's
// history (I9, I11).
func TestFetchIsRefusedWithItsOwnCode(t *testing.T) {
	_, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	first, tail := b.mirror.batches[0].End(), b.mirror.tail(log).Position
	other := tail
	other.Chain = wire.Chain{9}
	stranger := first
	stranger.Incarnation = wire.Incarnation{9}
	beyond := tail
	beyond.Seq += 5
	ask := func(log wire.LogID, from wire.Position) (code wire.RefusalCode, answers bool) {
		f := wire.Fetch{ID: 7, Log: log, From: from}
		l := b.node.peers[0].in
		body := f.AppendTo(nil, l.Session)[wire.EnvelopeBytes:]
		var e Effects
		b.node.Step(b.w.now(), &FrameIn{
			Link: l.Link, Body: body, Envelope: wire.Envelope{Kind: wire.FrameFetch, Session: l.Session, Number: 7},
		}, &e)
		if e.Ops[0].Kind == OpAnswer {
			require.Equal(t, f, e.Ops[0].Fetch)
			return 0, true
		}
		var end wire.FetchEnd
		require.NoError(t, end.Decode(e.Ops[0].Frame[wire.EnvelopeBytes:]))
		return end.Code, false
	}
	code, answers := ask(log, first)
	require.True(t, answers)
	require.Zero(t, code)
	code, answers = ask(log, tail)
	require.False(t, answers, "nothing lies behind the tail")
	require.Zero(t, code)
	code, _ = ask(log, other)
	require.Equal(t, wire.RefuseChain, code)
	code, _ = ask(log, stranger)
	require.Equal(t, wire.RefuseUnknownIncarnation, code)
	code, _ = ask(log, beyond)
	require.Equal(t, wire.RefuseGap, code)
	code, _ = ask(wire.LogID{Site: 99}, first)
	require.Equal(t, wire.RefuseNotRetained, code)
	b.node.mirrorLog(log).Suspect = true
	code, _ = ask(log, first)
	require.Equal(t, wire.RefuseSuspect, code)
}

// A repair that nobody could give is asked for again on the next link (I14).
func TestFailedRepairIsAskedAgainOnTheNextLink(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	a.own.base = 3                                // site-a no longer keeps them
	b.node.mirrorLog(log).Store = wire.Position{} // and the Store needs them
	b.step(&LogDamaged{Log: log, From: b.mirror.batches[0].End(), To: b.mirror.batches[1].End()})
	w.pass(time.Second)
	require.Equal(t, 1, repairs(b))
	require.Contains(t, w.take(), "repair-failed!")
	a.own.base = 0
	w.pipes[0].cut(nil)
	w.pipes[1].cut(nil)
	w.pass(2 * time.Second)
	require.Zero(t, repairs(b))
	require.Contains(t, w.take(), "log-repaired")
	require.NoError(t, w.fault)
}

// The site that is asked for a repair goes, and does not come back: the other one that
// has the log is asked, though its links are as they were (I9, I14).
func TestRepairGoesOnAtAnotherLinkedSite(t *testing.T) {
	w, a, b, c := trio()
	for _, s := range w.sites {
		s.open()
	}
	w.pass(time.Second)
	for range 3 {
		a.append(0, 2)
	}
	w.pass(2 * time.Second)
	log := wire.LogID{Site: a.c.Site}
	a.answers, c.answers = "off", "off"
	b.step(&LogDamaged{Log: log, From: b.mirror.batches[0].End(), To: b.mirror.batches[1].End()})
	first := map[string]*site{"site-a": a, "site-c": c}[b.node.SiteName(asking(b).peer.Site)]
	a.answers, c.answers = "", ""
	first.answers = "off"
	w.pass(100 * time.Millisecond)
	require.NotNil(t, asking(b))
	first.crash()
	w.pass(time.Second)
	require.Zero(t, repairs(b))
	require.Contains(t, w.take(), "log-repaired")
	require.NoError(t, w.fault)
}

// repairs is how many of a site's repairs are not asked for.
func repairs(s *site) int {
	waiting, _ := s.node.desk.Counts()
	return waiting
}

// lastPiece lets the world go on until the last piece of a repair is to be written, and
// returns its ticket.
func lastPiece(w *world, s *site) (ticket uint64) {
	for ticket == 0 {
		for _, m := range w.moves() {
			m()
			for _, stage := range s.effects.Stages {
				if stage.Last {
					ticket = stage.Ticket
				}
			}
		}
	}
	return ticket
}

// asking is the site's link with a question out, or nil.
func asking(s *site) *link {
	for _, l := range s.node.order {
		if len(l.Open) > 0 {
			return l
		}
	}
	return nil
}

// What is missing no more while it is asked for is not asked for again, whatever the
// answer: nobody may have it any longer, and it would be asked permanently.
func TestRepairThatIsNotNeededAnyMoreEnds(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	damaged := &LogDamaged{Log: log, From: b.mirror.batches[0].End(), To: b.mirror.batches[1].End()}
	a.own.base = 3 // site-a keeps them no longer
	b.step(damaged)
	require.NotNil(t, asking(b))
	gone := *damaged
	gone.Gone = true
	b.step(&gone) // nor does site-b
	w.pass(10 * time.Second)
	require.Zero(t, repairs(b))
	require.Empty(t, b.node.Status(w.now()).Stopped)
	require.NotContains(t, w.take(), "repair-failed!")

	a.own.base = 0
	b.step(damaged)
	last := lastPiece(w, b)
	b.step(&gone)
	b.step(&Repaired{Ticket: last, Err: errors.New("no space left on device")})
	require.Zero(t, repairs(b))
	require.NoError(t, w.fault)
}
