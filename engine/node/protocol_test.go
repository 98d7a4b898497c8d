package node

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// frame puts a control message into an input, as a link would.
func frame(l *link, kind wire.FrameKind, m wire.Message) *FrameIn {
	b := m.AppendTo(nil, l.Session)
	return &FrameIn{
		Link: l.Link, Body: b[wire.EnvelopeBytes:], Envelope: wire.Envelope{Kind: kind, Session: l.Session},
	}
}

// numbered is a frame of no batches.
func numbered(l *link, number uint64) *FrameIn {
	return &FrameIn{
		Link: l.Link, Envelope: wire.Envelope{Kind: wire.FrameBatches, Session: l.Session, Number: number},
	}
}

// violations are frames that are not due: a is the dialed end of a session from
// site-a to site-b, b the accepted one.
func violations() map[string]func(a, b *link) (to *link, in *FrameIn) {
	return map[string]func(a, b *link) (to *link, in *FrameIn){
		"an ack of a frame never sent": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameAck, &wire.Ack{Level: wire.LevelReceived, Number: 99})
		},
		"durable before received": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameAck, &wire.Ack{Level: wire.LevelDurable, Number: 4})
		},
		"an echo of a heartbeat never sent": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameHeartbeatEcho, &wire.HeartbeatEcho{Number: 1 << 40})
		},
		"a second welcome": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameWelcome, &wire.Welcome{Version: 1, Site: 1, Term: 1})
		},
		"a second answer to the hello": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameCursorPage, &wire.CursorPage{Flags: wire.PageResume | wire.PageLast})
		},
		"a page of a shard that does not exist": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameCursorPage, &wire.CursorPage{
				Entries: []wire.PageEntry{{Log: wire.LogID{Site: wire.SiteIDOf("prod", "site-a"), Shard: 77}}}})
		},
		"a page that falls behind an ack": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameCursorPage, &wire.CursorPage{
				Entries: []wire.PageEntry{{Log: wire.LogID{Site: wire.SiteIDOf("prod", "site-a")}}}})
		},
		"a refusal of a log that is not ours": func(a, _ *link) (*link, *FrameIn) {
			m := wire.BatchRefusal{Code: wire.RefuseGap, Log: wire.LogID{Site: 5}}
			return a, frame(a, wire.FrameBatchRefusal, &m)
		},
		"an answer to a question never asked": func(a, _ *link) (*link, *FrameIn) {
			return a, frame(a, wire.FrameFetchEnd, &wire.FetchEnd{ID: 12345})
		},
		"batches from the receiver": func(a, _ *link) (*link, *FrameIn) {
			return a, numbered(a, 1)
		},
		"a frame of another session": func(_, b *link) (*link, *FrameIn) {
			in := frame(b, wire.FrameHeartbeat, &wire.Heartbeat{Number: 1})
			in.Envelope.Session++
			return b, in
		},
		"a frame number with a gap": func(_, b *link) (*link, *FrameIn) {
			return b, numbered(b, 99)
		},
		"a body that cannot be read": func(_, b *link) (*link, *FrameIn) {
			in := frame(b, wire.FrameHeartbeat, &wire.Heartbeat{Number: 1})
			in.Body = in.Body[:5]
			return b, in
		},
		"an ack from the source": func(_, b *link) (*link, *FrameIn) {
			return b, frame(b, wire.FrameAck, &wire.Ack{Level: wire.LevelReceived, Number: 1})
		},
		"an unknown kind": func(_, b *link) (*link, *FrameIn) {
			in := frame(b, wire.FrameHeartbeat, &wire.Heartbeat{Number: 1})
			in.Envelope.Kind = 200
			return b, in
		},
	}
}

// Whoever does not keep to the protocol loses the link and is told why; the
// node goes on, and the next session replicates as if nothing had been (I11).
func TestWhoeverBreaksTheProtocolLosesTheLink(t *testing.T) {
	for name, breaks := range violations() {
		t.Run(name, func(t *testing.T) {
			w, a, b := livelyPair()
			l, in := breaks(a.node.peers[0].link, b.node.peers[0].in)
			s := a
			if !l.Dialed {
				s = b
			}
			s.step(in)
			require.True(t, l.Closed)
			ops := s.effects.Ops
			require.Equal(t, OpClose, ops[len(ops)-1].Kind)
			var told wire.Refusal
			require.NoError(t, told.Decode(ops[len(ops)-2].Frame[wire.EnvelopeBytes:]))
			require.Equal(t, wire.RefuseMalformed, told.Code)
			require.NotEmpty(t, told.Text)
			require.True(t, event.Alarm(s.effects.Events[0]))
			a.append(0, 2)
			w.pass(5e9)
			require.NoError(t, w.fault)
			require.Equal(t, a.own.batches, b.mirror.batches)
		})
	}
}

// A cursor page names the seq that we know with another chain, or a seq that
// was never sent: that log stops, the session goes on (I4).
func TestCursorPageWithAnotherChainStopsTheLog(t *testing.T) {
	for name, forge := range map[string]func(*wire.Position){
		"chain":  func(p *wire.Position) { p.Chain[0]++ },
		"beyond": func(p *wire.Position) { p.Seq += 9 },
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := livelyPair()
			l := a.node.peers[0].link
			log := wire.LogID{Site: a.c.Site}
			at := a.own.tail(log).Position
			forge(&at)
			a.step(frame(l, wire.FrameCursorPage, &wire.CursorPage{Entries: []wire.PageEntry{{Log: log, Durable: at}}}))
			require.False(t, l.Closed)
			require.Equal(t, AdmitRefused, a.node.own[0].State)
			require.ErrorContains(t, a.node.own[0].Err, at.Chain.String())
			require.Equal(t, wire.RefuseChain, a.node.Status(w.now()).Stopped[0].Code)
			a.append(1, 1)
			w.pass(1e9)
			require.Equal(t, wire.Seq(1), b.mirror.tail(wire.LogID{Site: a.c.Site, Shard: 1}).Seq)
		})
	}
}

// TestExtensionsReachTheHeart: every control frame brings its own, known or not, and none
// of them changes what the frame does.
func TestExtensionsReachTheHeart(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	later := wire.Extensions{}.Append(0x60, []byte("later"))
	w.carry = func(in *FrameIn) { in.Ext = append(in.Ext, later...) }
	w.pass(time.Second)
	a.append(0, 3)
	w.pass(2 * time.Second)
	require.Equal(t, a.own.batches, b.mirror.batches)
	require.Equal(t, later, a.node.msg.in.Ext, "of an echo or a page")
	b.step(frame(b.node.peers[0].in, wire.FrameHeartbeat, &wire.Heartbeat{Number: 1000}))
	require.Empty(t, b.node.msg.in.Ext)
	require.NoError(t, w.fault)
}

// A peer that has seen the highest counter there is, whoever said it, is reached in a
// later term (I14).
func TestSessionFollowsTheHighestCounter(t *testing.T) {
	w, a, b := livelyPair()
	p := b.node.peers[0]
	p.seenTerm, p.seen = a.term, math.MaxUint32
	cutAll(w)
	a.append(0, 1)
	w.pass(5 * time.Second)
	require.Equal(t, stream.PhaseLive, a.node.peers[0].Phase)
	require.Equal(t, a.own.batches, b.mirror.batches)
	require.NoError(t, w.fault)
}
