package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

const here, there = wire.SiteID(1), wire.SiteID(2)

// rest is the rest of the heart: it notes what it is asked for.
type rest struct {
	said []string
	own  *OwnLogs
	from *Inbound

	copies map[wire.LogID]wire.Position // at the peer
}

func (r *rest) Refuse(link step.LinkID, _ wire.RefusalCode, text string) {
	r.said = append(r.said, "refuse: "+text)
	for _, o := range r.own.Peers {
		if o.Link == link {
			o.Ended(text)
			o.Redial(text)
		}
	}
	if r.from.link == link {
		r.from.Ended()
	}
}

func (r *rest) Malformed(link step.LinkID, err error) { r.Refuse(link, 0, err.Error()) }
func (r *rest) Ahead(*Outbound, wire.Shard)           { r.said = append(r.said, "ahead") }
func (r *rest) CursorMoved(wire.Shard)                {}
func (r *rest) Mirrored() []wire.SiteID               { return nil }
func (r *rest) Full(*Outbound)                        { r.said = append(r.said, "full") }

func (r *rest) Learn(s *wire.Start) error {
	t := r.own.t
	if at := s.Before; at.Seq != 0 {
		t.Learn(s.Log, at.Incarnation, r.own.role.Known.EpochOf(s.Log.Shard, at.Incarnation))
	}
	t.Learn(s.Log, s.Incarnation, s.Epoch)
	return r.from.mirrors.Learn(s)
}

func (r *rest) Held(log wire.LogID) wire.Position {
	if log.Site == here {
		return r.own.gate.Logs[log.Shard].Tail
	}
	if l := r.from.mirrors.Log(log); l != nil {
		return l.Durable
	}
	return wire.Position{}
}

func (r *rest) OwnRow(s wire.Shard) wire.Position { return r.own.Closed(s) }

func (r *rest) Copy(_ *Outbound, log wire.LogID) wire.Position { return r.copies[log] }

// shut has no shard opened in a later epoch.
type shut struct{}

func (shut) Ready(wire.Shard) bool         { return false }
func (shut) Opening(wire.Shard) *step.Open { return nil }

// sides are both of one site towards one peer, without links.
func sides(writer wire.SiteID) (r *rest, o *Outbound, in *Inbound) {
	t := &step.Turn{Term: 1, E: &step.Effects{}, C: step.Config{
		Cluster: 7, Site: here, SiteName: "here", Shards: 2, Primary: writer,
	}}
	t.C.SetDefaults()
	t.Now.Wall = time.Unix(1000, 0)
	who := role.New(t, true)
	peer := &role.Peer{Peer: step.Peer{Site: there, Name: "there"}, Configured: true}
	who.Peers = []*role.Peer{peer}
	gate := admission.New(t, who, shut{})
	r = &rest{}
	r.own = NewOwnLogs(t, who, gate, r)
	m := NewMirrors(t, who, r)
	o, in = r.own.Add(peer), m.Add(peer)
	o.Configure(7)
	in.Configure()
	r.own.Start()
	gate.Start()
	r.from = in
	return r, o, in
}

// did returns the operations since it was asked last.
func did(t *step.Turn) (kinds []step.OpKind, ops []step.Op) {
	for _, op := range t.E.Ops {
		kinds, ops = append(kinds, op.Kind), append(ops, op)
	}
	t.E.Reset()
	return kinds, ops
}

// TestOutboundGoesFromDialToConfirmed, by its own timers and what comes: no other room
// is needed for it.
func TestOutboundGoesFromDialToConfirmed(t *testing.T) {
	r, o, _ := sides(here)
	turn := r.own.t
	list := batches(0, 3, 2) // of site 1: ends at 3 and 5
	for i := range list {
		r.own.Flushed(list[i:i+1], nil)
	}
	require.Zero(t, o.Due())
	o.Tick()
	kinds, _ := did(turn)
	require.Equal(t, []step.OpKind{step.OpDial}, kinds)
	require.Equal(t, step.Never, o.Due(), "it is dialing")

	o.Hello(5)
	require.NoError(t, o.Welcomed(&wire.Welcome{Version: wire.Version, Site: there, SiteName: "there", Term: 1}))
	o.Begin()
	kinds, ops := did(turn)
	require.Equal(t, []step.OpKind{step.OpSend, step.OpSend}, kinds)
	var h wire.Hello
	require.NoError(t, h.Decode(ops[0].Frame[wire.EnvelopeBytes:]))
	require.Equal(t, uint32(8), h.Counter)
	require.Equal(t, turn.C.HeartbeatEvery, o.Beats.Due())

	page := wire.CursorPage{Flags: wire.PageResume | wire.PageLast, Entries: []wire.PageEntry{{
		Log: list[0].Log(), Durable: list[0].End(), Applied: 1,
	}}}
	complete, err := o.Page(&page, nil)
	require.NoError(t, err)
	require.True(t, complete)
	o.Resume()
	o.Seek()
	kinds, _ = did(turn)
	require.Empty(t, kinds, "its registration is not written")
	o.Written()
	kinds, _ = did(turn)
	require.Equal(t, []step.OpKind{step.OpSeek}, kinds)

	o.Sought(&step.Sought{Link: 5, Tails: []wire.Cursor{{Log: list[0].Log(), Position: list[0].End()}}})
	o.ReadDone(&step.ReadDone{Link: 5, Headers: list[1:]})
	kinds, _ = did(turn)
	require.Equal(t, []step.OpKind{step.OpRead, step.OpShip, step.OpRead}, kinds)
	require.NoError(t, o.Acked(&wire.Ack{Level: wire.LevelReceived, Number: 1}))
	require.NoError(t, o.Acked(&wire.Ack{Level: wire.LevelDurable, Number: 1}))
	require.Equal(t, list[1].End(), o.Logs[0].Durable)
	require.Equal(t, []wire.Cursor{{Log: list[0].Log(), Position: list[1].End()}}, o.Save(false))
	require.Error(t, o.Acked(&wire.Ack{Level: wire.LevelDurable, Number: 2}))
	require.NoError(t, r.own.Check())
	require.Empty(t, r.said)

	o.ReadDone(&step.ReadDone{Link: 5})
	for range readErrorMax {
		o.reader = readerReads
		o.ReadDone(&step.ReadDone{Link: 5, Err: wire.ErrCorrupt})
	}
	require.Len(t, r.said, 1, "the reader finds nothing that holds")
	require.Equal(t, PhaseDown, o.Phase)
	require.NotEqual(t, step.Never, o.Due(), "it is dialed again")
	require.NoError(t, r.own.Check())
}

// TestInboundGoesFromHelloToPage: staged, flushed, applied, each told once.
func TestInboundGoesFromHelloToPage(t *testing.T) {
	r, _, in := sides(there)
	turn, m := r.own.t, in.mirrors
	in.Begin(9, 4)
	in.Welcome()
	kinds, _ := did(turn)
	require.Equal(t, []step.OpKind{step.OpSend, step.OpSend}, kinds)

	list := batches(0, 3, 2)
	for i := range list {
		list[i].Site = there
	}
	frame := &step.FrameIn{Link: 9, Headers: list, Envelope: wire.Envelope{Kind: wire.FrameBatches, Number: 1}}
	require.NoError(t, in.Batches(frame))
	require.Len(t, turn.E.Stages, 1)
	ticket := turn.E.Stages[0].Ticket
	kinds, _ = did(turn)
	require.Equal(t, []step.OpKind{step.OpSend}, kinds, "received")
	require.Equal(t, step.Never, in.Due())
	in.Flushed(ticket)
	kinds, _ = did(turn)
	require.Equal(t, []step.OpKind{step.OpSend}, kinds, "durable")
	require.Equal(t, list[1].End(), m.Log(list[0].Log()).Durable)
	require.Equal(t, turn.C.PageEvery, in.Due(), "the Store is behind")
	m.Applied([]wire.Cursor{{Log: list[0].Log(), Position: list[1].End()}})
	require.Equal(t, pageGapMin, in.Due(), "a source that idles learns it soon")
	turn.Now.Mono = in.Due()
	in.Tick()
	_, ops := did(turn)
	var page wire.CursorPage
	require.NoError(t, page.Decode(ops[0].Frame[wire.EnvelopeBytes:]))
	require.Equal(t, []wire.PageEntry{{Log: list[0].Log(), Durable: list[1].End(), Applied: 5}}, page.Entries)
	require.Equal(t, step.Never, in.Due())
	require.NoError(t, m.Check())

	list[0].Cluster++
	require.NoError(t, in.Batches(&step.FrameIn{
		Link: 9, Headers: list[:1], Envelope: wire.Envelope{Kind: wire.FrameBatches, Number: 2},
	}))
	require.Len(t, r.said, 1, "it is of another cluster: the session ends")
	require.Zero(t, in.Status(turn.Now).Accepted)
	require.NoError(t, m.Check())
}
