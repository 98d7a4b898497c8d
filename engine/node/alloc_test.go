package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

const frameOf = 64 // batches in a frame of the allocation tests

// filler closes batches in place, so that a test allocates nothing itself.
type filler struct {
	tails   [frameOf]wire.BatchHeader
	headers []wire.BatchHeader
	room    [wire.BatchHeaderBytes + 400]byte
}

func (f *filler) next(s *site) []wire.BatchHeader {
	f.headers = f.headers[:0]
	for i := range f.tails {
		last := &f.tails[i]
		h := wire.BatchHeader{
			Kind: wire.BatchData, DigestKind: wire.DigestXXH3, Prev: last.Chain, Incarnation: wire.Incarnation{1},
			Cluster: s.c.Cluster, Site: s.c.Site, Shard: wire.Shard(i), Epoch: 1, Count: 10,
			FirstSeq: last.FirstSeq + wire.Seq(last.Count),
		}
		if h.FirstSeq == 0 {
			h.FirstSeq = 1
		}
		h.FirstStamp = wire.Stamp(h.FirstSeq)
		h.LastStamp = h.FirstStamp + 9
		wire.CloseBatch(f.room[:], &h)
		*last = h
		f.headers = append(f.headers, h)
	}
	return f.headers
}

// livePair returns two nodes with a session between them and nothing to do.
func livePair(t *testing.T) (w *world, a, b *site, dialed, accepted LinkID) {
	w = newWorld()
	a = w.addSite("site-a", frameOf, "site-a", "site-b")
	b = w.addSite("site-b", frameOf, "site-a", "site-a")
	a.c.WindowBytesMin = 1 << 20
	a.open()
	b.open()
	w.pass(2 * time.Second)
	require.NoError(t, w.fault)
	return w, a, b, a.node.peers[0].link.Link, b.node.peers[0].in.Link
}

func expect(t *testing.T, ok bool) {
	if !ok {
		t.Fatal("another effect was expected")
	}
}

func TestShippingAFrameAllocatesNothing(t *testing.T) {
	w, a, _, link, _ := livePair(t)
	var (
		f       filler
		e       Effects
		now     = w.now()
		number  uint64
		end     = ReadDone{Link: link}
		durable OwnDurable
		read    ReadDone
		ack     FrameIn
		body    []byte
	)
	step := func(in Input) {
		e.Reset()
		a.node.Step(now, in, &e)
	}
	frame := func() {
		durable.Headers = f.next(a)
		step(&durable)
		expect(t, len(e.Ops) == 1 && e.Ops[0].Kind == OpRead)
		read = ReadDone{Link: link, Headers: durable.Headers}
		step(&read)
		number++
		expect(t, e.Ops[0].Kind == OpShip)
		step(&end)
		for _, level := range []wire.AckLevel{wire.LevelReceived, wire.LevelDurable} {
			m := wire.Ack{Level: level, Number: number}
			body = m.AppendTo(body[:0], a.node.peers[0].link.Session)
			ack = FrameIn{Link: link, Body: body[wire.EnvelopeBytes:]}
			ack.Envelope = wire.Envelope{Kind: wire.FrameAck, Session: a.node.peers[0].link.Session}
			step(&ack)
			expect(t, len(e.Progress) == frameOf)
		}
	}
	a.node.t.C.FrameBytesMax = 1 << 20
	frame()
	require.Zero(t, testing.AllocsPerRun(200, frame))
}

func TestMirroringAFrameAllocatesNothing(t *testing.T) {
	w, a, b, _, link := livePair(t)
	var (
		f       filler
		e       Effects
		now     = w.now()
		in      FrameIn
		applied Applied
		flushed Durable
	)
	step := func(in Input) {
		e.Reset()
		b.node.Step(now, in, &e)
	}
	frame := func() {
		in.Link, in.Headers = link, f.next(a)
		in.Envelope = wire.Envelope{
			Kind: wire.FrameBatches, BatchCount: frameOf, Session: b.node.peers[0].in.Session,
			Number: in.Envelope.Number + 1,
		}
		step(&in)
		expect(t, len(e.Stages) == 1 && len(e.Ops) == 1)
		flushed = Durable{Journal: Mirror, Ticket: e.Stages[0].Ticket}
		step(&flushed)
		expect(t, len(e.Ops) >= 1)
		applied.Cursors = applied.Cursors[:0]
		for i := range in.Headers {
			h := &in.Headers[i]
			applied.Cursors = append(applied.Cursors, wire.Cursor{Log: h.Log(), Position: h.End()})
		}
		now.Mono += 60 * time.Millisecond
		step(&applied)
		expect(t, len(e.Ops) == 1) // a page of positions
	}
	frame()
	require.Zero(t, testing.AllocsPerRun(200, frame))
}
