package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/wire"
)

// An echo proves what was known when its heartbeat left, not when it came back:
// one that took as long as the timeout proves nothing any more.
func TestEchoProvesTheMomentItsHeartbeatLeft(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	p := a.node.peers[0]
	timeout := a.node.t.C.HeartbeatTimeout
	left := p.Beats.Due()
	w.mono = left
	var e Effects
	a.node.Step(w.now(), &Tick{}, &e)
	b.mute = true
	var sent wire.Heartbeat
	require.NoError(t, sent.Decode(e.Ops[0].Frame[wire.EnvelopeBytes:]))
	echo := wire.HeartbeatEcho{Number: sent.Number}
	frame := echo.AppendTo(nil, p.link.Session)
	w.mono += timeout - time.Millisecond
	a.step(&FrameIn{
		Link: p.link.Link, Body: frame[wire.EnvelopeBytes:],
		Envelope: wire.Envelope{Kind: wire.FrameHeartbeatEcho, Session: p.link.Session},
	})
	require.True(t, a.node.Status(w.now()).Peers[0].Durable.Known)
	require.Equal(t, timeout-time.Millisecond, a.node.Status(w.now()).Peers[0].RTT)
	w.mono = left + timeout + time.Millisecond
	lag := a.node.Status(w.now()).Peers[0].Durable
	require.False(t, lag.Known)
	require.Zero(t, lag.Time, "nothing is unconfirmed")
}

// What was under way when the link broke is still outstanding.
func TestInflightBytesSurviveBrokenLink(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	b.noFlush = true
	h := a.append(0, 10)
	w.pass(100 * time.Millisecond)
	b.noDial = true
	for _, p := range w.pipes {
		p.cut(errors.New("reset"))
	}
	w.pass(100 * time.Millisecond)
	s := a.node.Status(w.now()).Peers[0]
	require.Zero(t, s.WindowUsed)
	require.Equal(t, int64(h.Bytes()), s.Durable.Bytes)
	require.Equal(t, int64(10), s.Durable.Entries)
}

// Once a peer has said that it has more, the log is not admitted for want of an
// answer: the link may break before everything is back.
func TestShorterLogIsNotAdmittedUnverified(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(2 * time.Second)
	a.append(0, 1)
	w.pass(2 * time.Second)
	image := a.copyDisks()
	a.append(0, 1)
	w.pass(2 * time.Second)
	a.crash()
	a.own, a.mirror, a.peers, a.applied = image.own, image.mirror, image.peers, image.applied
	a.open()
	for !a.node.own[0].Short() {
		w.tickAll(time.Millisecond)
		for _, m := range w.moves() {
			m()
		}
	}
	b.noDial = true
	for _, p := range w.pipes {
		p.cut(errors.New("reset"))
	}
	w.pass(5 * time.Second)
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.ErrorIs(t, a.node.own[0].Err, ErrDataLost)
	require.ErrorContains(t, a.node.own[0].Err, "site site-b has seq 2")
	require.Equal(t, AdmitVerified, a.node.own[1].State)
	b.noDial = false
	w.pass(5 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.NoError(t, w.fault)
}

// Control records are written one Persist at a time, what was not written is
// written again, and nothing is sent to a new peer before it is registered.
func TestPersistsAreOneAtATimeAndTriedAgain(t *testing.T) {
	w, a, _ := pair()
	n := New(a.c, Boot{Term: 1})
	var e Effects
	at := func(mono time.Duration, in Input) {
		e.Reset()
		n.Step(Now{Mono: mono, Wall: w.now().Wall}, in, &e)
	}
	at(time.Second, &Tick{})
	require.Empty(t, e.Persists, "nobody has answered to that name")
	require.Equal(t, OpDial, e.Ops[0].Kind)
	at(time.Second, &LinkUp{Link: 1, Peer: a.c.Peers[0].Site})
	l, p := n.links[1], n.peers[0]
	in := func(kind wire.FrameKind, m wire.Message) *FrameIn {
		return &FrameIn{
			Link: 1, Body: m.AppendTo(nil, l.Session)[wire.EnvelopeBytes:],
			Envelope: wire.Envelope{Kind: kind, Session: l.Session},
		}
	}
	at(time.Second, in(wire.FrameWelcome, &wire.Welcome{Version: 1, Site: p.Site, Node: 1, Term: 1, SiteName: p.Name}))
	require.Len(t, e.Persists, 1)
	require.Equal(t, "site-b", e.Persists[0].Peers[0].Name)
	require.NotEmpty(t, e.Persists[0].Peers[0].Cursors, "they say that it was heard")
	at(time.Second, in(wire.FrameCursorPage, &wire.CursorPage{Flags: wire.PageResume | wire.PageLast}))
	require.Empty(t, e.Persists, "one is under way")
	require.NotContains(t, kinds(e.Ops), OpSeek)
	at(2*time.Second, &Persisted{Ticket: 1, Err: errors.New("no space left on device")})
	require.True(t, event.Alarm(e.Events[0]))
	require.NotZero(t, e.Wake)
	at(3*time.Second, &Tick{})
	require.Len(t, e.Persists, 1)
	at(3*time.Second, &Persisted{Ticket: 2})
	require.Contains(t, kinds(e.Ops), OpSeek)

	n.t.Now, n.t.E = Now{Mono: 4 * time.Second}, &e
	p.Confirm(3, wire.Position{Seq: 4})
	p.Confirm(1, wire.Position{Seq: 9})
	p.Confirm(3, wire.Position{Seq: 5})
	at(5*time.Second, in(wire.FrameHeartbeatEcho, &wire.HeartbeatEcho{Number: 1}))
	at(5*time.Second, &Tick{})
	require.Len(t, e.Persists[0].Peers[0].Cursors, 2)
	n.t.E = &e
	p.Confirm(1, wire.Position{Seq: 10})
	at(5*time.Second, &Persisted{Ticket: 3, Err: errors.New("no space left on device")})
	at(6*time.Second, &Tick{})
	cursors := e.Persists[0].Peers[0].Cursors
	require.Equal(t, []wire.Seq{10, 5}, []wire.Seq{cursors[0].Position.Seq, cursors[1].Position.Seq})
}

// A reader sees what is durable before the flush is reported. A batch that is shipped,
// acknowledged and applied by then is not outstanding permanently (I14).
func TestAckBeforeTheFlushIsReportedCounts(t *testing.T) {
	w, a, b := livelyPair()
	p := a.node.peers[0]
	first := a.append(0, 1)
	a.flush(Own)
	second := a.append(0, 1)
	flushed := a.own.staged
	a.own.batches, a.own.staged = append(a.own.batches, second), nil // and nobody said so
	w.pass(2 * time.Second)
	require.Equal(t, second.End(), b.mirror.tail(first.Log()).Position)
	require.Equal(t, second.End(), p.Logs[0].Durable)
	a.step(&OwnDurable{Headers: flushed})
	w.pass(2 * time.Second)
	s := a.node.Status(w.now()).Peers[0]
	require.Equal(t, lag.Lag{Known: true}, s.Durable)
	require.Equal(t, lag.Lag{Known: true}, s.Applied)
	require.NoError(t, w.fault)
}

// The own Store stands where the journal ends: both may have been restored together, so
// that says nothing of what a peer has.
func TestStoreThatWasFedFromTheJournalIsNoWitness(t *testing.T) {
	w, a, b := livelyPair()
	a.append(1, 2)
	w.pass(2 * time.Second)
	b.crash()
	a.crash()
	a.applied = slices.DeleteFunc(a.applied, func(c wire.Cursor) bool { return c.Log.Shard == 0 })
	a.open()
	w.pass(a.node.t.C.VerifyWait + time.Second)
	require.Equal(t, a.node.own[0].Tail, a.node.own[0].store, "it has caught up")
	require.Equal(t, AdmitUnverified, a.node.own[0].State)
	require.Equal(t, AdmitUnverified, a.node.own[1].State, "it stood there")
	b.open()
	w.pass(2 * time.Second)
	require.Equal(t, AdmitVerified, a.node.own[0].State)
	require.Equal(t, AdmitVerified, a.node.own[1].State)
	require.NoError(t, w.fault)
}
