package node

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

func pair() (*world, *site, *site) {
	w := newWorld()
	a := w.addSite("site-a", 4, "site-a", "site-b")
	b := w.addSite("site-b", 4, "site-a", "site-a")
	return w, a, b
}

func TestTwoNodesReplicateBackToBack(t *testing.T) {
	w, a, b := pair()
	w.trace = true
	a.open()
	b.open()
	w.pass(time.Second)
	a.append(0, 3)
	a.append(1, 1)
	a.append(0, 2)
	w.pass(2 * time.Second)
	t.Log(w.take())
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, b.mirror.batches)
	s := a.node.Status(w.now())
	require.True(t, s.Peers[0].Durable.Known)
	require.Zero(t, s.Peers[0].Durable.Time)
	require.Zero(t, s.Peers[0].Applied.Entries)
	require.Equal(t, wire.Seq(5), a.peers[0].Cursors[0].Position.Seq)
}

// A batch of another cluster ends the session before anything of its frame is
// staged (I11); the next session brings the good one again.
func TestSessionCutInMidFrameStagesNothing(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(time.Second)
	a.append(0, 3)
	a.flush(Own)
	good := a.own.batches[0]
	bad := good
	bad.Cluster++
	p := b.node.peers[0]
	b.step(&FrameIn{
		Link: p.in.Link, Headers: []wire.BatchHeader{good, bad},
		Envelope: wire.Envelope{Kind: wire.FrameBatches, BatchCount: 2, Session: p.in.Session, Number: 1},
	})
	require.Empty(t, b.effects.Stages)
	require.Nil(t, p.in)
	w.pass(3 * time.Second)
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, b.mirror.batches)
}

// Shards beyond the count are refused one by one, and too many of them end the
// session: what a peer can make us remember is bounded (I10, I11).
func TestUnknownShardsAreRefusedWithinBound(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(time.Second)
	p := b.node.peers[0]
	h := a.append(0, 1)
	send := func(number uint64, shard wire.Shard) {
		h.Shard = shard
		b.step(&FrameIn{
			Link: p.in.Link, Headers: []wire.BatchHeader{h},
			Envelope: wire.Envelope{Kind: wire.FrameBatches, BatchCount: 1, Session: p.in.Session, Number: number},
		})
	}
	for i := range uint64(stream.ForeignLogMax) {
		send(2*i+1, wire.Shard(100+i))
		require.Len(t, b.effects.Ops, 3, "refusal, received, durable")
		send(2*i+2, wire.Shard(100+i))
		require.Len(t, b.effects.Ops, 2, "told once")
	}
	send(2*stream.ForeignLogMax+1, 5000)
	require.Nil(t, p.in)
}

// A failed stage takes back what was counted on it: the next session begins at
// what is durable, and the batches come again.
func TestFailedStageIsSentAgainByNextSession(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(time.Second)
	b.noFlush = true
	a.append(0, 3)
	a.append(1, 1)
	w.pass(100 * time.Millisecond)
	require.NotEmpty(t, b.mirror.staged)
	ticket := b.mirror.ticket
	b.mirror.staged = nil
	b.step(&StageFailed{Ticket: ticket, Err: errors.New("no space left on device")})
	b.noFlush = false
	w.pass(3 * time.Second)
	require.NoError(t, w.fault)
	require.Equal(t, a.own.batches, b.mirror.batches)
}

// Links that never say hello are few and do not live long.
func TestStrangersAreFewAndDoNotLiveLong(t *testing.T) {
	w, _, b := pair()
	b.open()
	for i := range 2 * strangerMax {
		b.step(&LinkUp{Link: LinkID(1000 + i)})
	}
	require.Equal(t, strangerMax, b.node.strangers)
	w.mono += b.node.t.C.HeartbeatTimeout
	b.step(&Tick{})
	require.Zero(t, b.node.strangers)
	for i := range 2 * strangerMax {
		b.step(&LinkDown{Link: LinkID(1000 + i)})
	}
	require.Empty(t, b.node.links)
	require.Empty(t, b.node.order)
}

// A tick that finds nothing due changes nothing and asks for nothing.
func TestIdleTickDoesNothing(t *testing.T) {
	w, a, b := pair()
	a.open()
	b.open()
	w.pass(5 * time.Second)
	for _, s := range []*site{a, b} {
		s.step(&Tick{})
		w.settle()
		wake := s.wake
		s.step(&Tick{})
		require.Equal(t, wake, s.wake)
		require.Empty(t, s.effects.Ops)
		require.Empty(t, s.effects.Events)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			s.effects.Reset()
			s.node.Step(w.now(), &Tick{}, &s.effects)
		}))
	}
}
