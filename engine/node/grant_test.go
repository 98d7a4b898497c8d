package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/fetch"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// message steps with a control message that comes over a link.
func (s *site) message(l *link, kind wire.FrameKind, number uint64, m wire.Message) *Effects {
	s.effects.Reset()
	s.node.Step(s.w.now(), &FrameIn{
		Link: l.Link, Body: m.AppendTo(nil, l.Session)[wire.EnvelopeBytes:],
		Envelope: wire.Envelope{Kind: kind, Session: l.Session, Number: number},
	}, &s.effects)
	return &s.effects
}

func (s *site) fetches(l *link, id uint64, log wire.LogID, from wire.Position) *Effects {
	return s.message(l, wire.FrameFetch, id, &wire.Fetch{ID: id, Log: log, From: from})
}

func kinds(ops []Op) (all []OpKind) {
	for i := range ops {
		all = append(all, ops[i].Kind)
	}
	return all
}

// TestGrantWaitsUntilTaken: one piece of an answer is under way, whatever is asked for;
// heartbeats go between, and the next one goes once the peer asked on.
func TestGrantWaitsUntilTaken(t *testing.T) {
	_, a, b := livelyPair()
	l := b.node.peers[0].in
	log := wire.LogID{Site: a.c.Site}
	first := b.mirror.batches[0].End()
	e := b.fetches(l, 7, log, first)
	require.Equal(t, []OpKind{OpAnswer, OpGrant}, kinds(e.Ops))
	require.LessOrEqual(t, e.Ops[1].Bytes, fetch.GrantBytesMax)
	require.Equal(t, Mirror, e.Ops[1].Journal)
	e = b.message(l, wire.FrameHeartbeat, 0, &wire.Heartbeat{Number: 1})
	require.Equal(t, []OpKind{OpSend}, kinds(e.Ops), "an echo, while the grant is under way")

	after := func(in Input) *Effects {
		b.effects.Reset()
		b.node.Step(b.w.now(), in, &b.effects)
		return &b.effects
	}
	e = after(&Granted{Link: l.Link, Open: 7})
	require.Equal(t, []OpKind{OpGrant}, kinds(e.Ops), "it met nothing yet")
	e = after(&Granted{Link: l.Link, Bytes: 1 << 20, Open: 7})
	require.Equal(t, []OpKind{OpSend}, kinds(e.Ops))
	var end wire.FetchEnd
	require.NoError(t, end.Decode(e.Ops[0].Frame[wire.EnvelopeBytes:]))
	require.Equal(t, wire.FetchEnd{ID: 7, Text: stream.AnswerMore}, end)
	require.Empty(t, after(&Tick{}).Ops)
	require.Empty(t, after(&Granted{Link: l.Link, Bytes: 1, Open: 99}).Ops[:0])

	e = b.fetches(l, 8, log, b.mirror.batches[1].End())
	require.Equal(t, []OpKind{OpAnswer, OpGrant}, kinds(e.Ops))
	e = after(&Granted{Link: l.Link, Bytes: 10, Ended: []wire.FetchEnd{{ID: 8}}})
	require.Equal(t, []OpKind{OpSend}, kinds(e.Ops))
	require.Equal(t, step.Never, l.Line.Due())
}

// TestGrantFollowsThePath: on a slow path a grant is small, on a long one large, so that
// neither holds up the rest, nor leaves the path idle.
func TestGrantFollowsThePath(t *testing.T) {
	for _, path := range []struct {
		rate     float64 // bytes per second
		delay    time.Duration
		min, max int
	}{
		{1 << 20, time.Millisecond, fetch.GrantBytesMin, 2*fetch.GrantBytesMin + 4096},
		{1 << 30, 50 * time.Millisecond, fetch.GrantBytesMax, fetch.GrantBytesMax},
	} {
		w, a, b := livelyPair()
		l := b.node.peers[0].in
		log := wire.LogID{Site: a.c.Site}
		bytes := 0
		for id := uint64(1); id < 40; id++ {
			e := b.fetches(l, id, log, b.mirror.batches[0].End())
			bytes = e.Ops[1].Bytes
			b.effects.Reset()
			b.node.Step(w.now(), &Granted{Link: l.Link, Bytes: bytes, Open: id}, &b.effects)
			w.mono += path.delay + time.Duration(float64(bytes)/path.rate*float64(time.Second))
		}
		require.GreaterOrEqual(t, bytes, path.min)
		require.LessOrEqual(t, bytes, path.max)
	}
}

// TestRestoreAsksAsTheMediumTakes: what comes back is asked on for only while little of
// it waits for the medium (I10).
func TestRestoreAsksAsTheMediumTakes(t *testing.T) {
	w, a, b := livelyPair()
	a.crash()
	a.own.batches = a.own.batches[:1]
	a.noFlush, b.answers = true, "off"
	a.open()
	for len(a.node.peers[0].link.fetchesOut()) == 0 {
		w.tickAll(time.Millisecond)
		for _, m := range w.moves() {
			m()
		}
	}
	l := a.node.peers[0].link
	id := l.Open[0].ID
	h := b.mirror.batches[1]
	h.BodyBytes = uint32(a.node.t.C.RestoreBytesMax)
	a.step(&FrameIn{
		Link: l.Link, Headers: []wire.BatchHeader{h},
		Envelope: wire.Envelope{Kind: wire.FrameFetched, Session: l.Session, Number: id},
	})
	e := a.message(l, wire.FrameFetchEnd, id, &wire.FetchEnd{ID: id, Text: stream.AnswerMore})
	require.Empty(t, e.Ops)
	a.effects.Reset()
	a.node.Step(w.now(), &Durable{Journal: Own, Ticket: a.own.ticket}, &a.effects)
	require.Equal(t, []OpKind{OpSend}, kinds(a.effects.Ops))
	var next wire.Fetch
	require.NoError(t, next.Decode(a.effects.Ops[0].Frame[wire.EnvelopeBytes:]))
	require.Equal(t, h.End(), next.From)
	require.Greater(t, next.ID, uint64(0))
}

func (l *link) fetchesOut() []*fetch.Question {
	if l == nil {
		return nil
	}
	return l.Open
}

// TestMoreWithoutAnyFails: a peer that says that there is more, and sends nothing, is not
// asked again and again.
func TestMoreWithoutAnyFails(t *testing.T) {
	w, a, b := livelyPair()
	a.crash()
	a.own.batches = a.own.batches[:1]
	b.answers = "off"
	a.open()
	for len(a.node.peers[0].link.fetchesOut()) == 0 {
		w.tickAll(time.Millisecond)
		for _, m := range w.moves() {
			m()
		}
	}
	l := a.node.peers[0].link
	id := l.Open[0].ID
	e := a.message(l, wire.FrameFetchEnd, id, &wire.FetchEnd{ID: id, Text: stream.AnswerMore})
	require.NotContains(t, kinds(e.Ops), OpSend)
	require.Empty(t, l.Open)
	require.NotEqual(t, step.Never, a.node.desk.Due(), "asked anew after a pause")
}
