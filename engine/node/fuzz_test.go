package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// program is the bytes of a fuzz input, taken one by one; 0 behind the end.
type program struct{ b []byte }

func (p *program) byte() (v byte) {
	if len(p.b) > 0 {
		v, p.b = p.b[0], p.b[1:]
	}
	return v
}

// n is a number below limit.
func (p *program) n(limit int) int { return int(p.byte()) % limit }

// tamperer stands on the way between two sites and does to its frames what the
// program says, in either direction, within one session and across its ends.
type tamperer struct {
	t       *testing.T
	p       program
	w       *world
	a, b, c *site
}

// ends are the ends of open links between the two sites.
func (m *tamperer) ends() (ends []*end) {
	for _, p := range m.w.pipes {
		for _, e := range p.ends {
			if !e.down && e.site != m.c && e.far.site != m.c {
				ends = append(ends, e)
			}
		}
	}
	return ends
}

// op does one thing.
func (m *tamperer) op() {
	kind := m.p.n(12)
	switch kind {
	case 0:
		if moves := m.w.moves(); len(moves) > 0 {
			moves[m.p.n(len(moves))]()
		}
		return
	case 1:
		m.w.pass(time.Duration(m.p.byte()) * 10 * time.Millisecond)
		return
	case 2:
		if shard := wire.Shard(m.p.n(3)); m.a.takes[shard] {
			m.a.append(shard, 1+uint32(m.p.n(4)))
		}
		return
	}
	ends := m.ends()
	if len(ends) == 0 {
		return
	}
	e := ends[m.p.n(len(ends))]
	switch {
	case kind == 3:
		m.forge(e)
	case kind == 4:
		m.forgeBatches(e)
	case kind >= 10:
		m.say(e)
	case len(e.queue) == 0:
	case kind == 5: // lost
		e.queue = e.queue[1:]
	case kind == 6: // twice
		e.queue = append(e.queue, e.queue[0])
	case kind == 7: // late
		e.queue = append(e.queue[1:], e.queue[0])
	default:
		m.change(&e.queue[m.p.n(len(e.queue))])
	}
}

// forge puts a control frame of any bytes on the way.
func (m *tamperer) forge(e *end) {
	in := FrameIn{Link: e.id, Envelope: wire.Envelope{Kind: wire.FrameKind(1 + m.p.n(15)), Session: m.session(e)}}
	for range m.p.byte() {
		in.Body = append(in.Body, m.p.byte())
	}
	if in.Envelope.Kind == wire.FrameFetch || in.Envelope.Kind == wire.FrameFetchEnd {
		in.Envelope.Number = uint64(m.p.byte())
	}
	e.queue = append(e.queue, in)
}

// log is one of theirs, or nearly.
func (m *tamperer) log() wire.LogID {
	sites := []wire.SiteID{m.a.c.Site, m.b.c.Site, m.c.c.Site, 77}
	return wire.LogID{Site: sites[m.p.n(4)], Shard: wire.Shard(m.p.n(5))}
}

// position is one of the own log's at site-a, or nearly.
func (m *tamperer) position() wire.Position {
	at := m.a.own.batches[m.p.n(len(m.a.own.batches))].End()
	switch m.p.n(5) {
	case 0:
		return wire.Position{}
	case 1:
		at.Seq += wire.Seq(m.p.byte())
	case 2:
		at.Chain[0] ^= m.p.byte()
	case 3:
		at.Incarnation[0] ^= m.p.byte()
	}
	return at
}

// say puts a well-formed control message on the way.
func (m *tamperer) say(e *end) {
	log, at, number := m.log(), m.position(), uint64(m.p.byte())
	code := wire.RefusalCode(1 + m.p.n(41))
	var said wire.Message
	kind := []wire.FrameKind{
		wire.FrameAck, wire.FrameCursorPage, wire.FrameBatchRefusal, wire.FrameHeartbeat, wire.FrameHeartbeatEcho,
		wire.FrameFetch, wire.FrameFetchEnd, wire.FrameRefusal, wire.FrameVerify, wire.FrameVerified,
	}[m.p.n(10)]
	switch kind {
	case wire.FrameAck:
		said = &wire.Ack{Level: wire.LevelReceived + wire.AckLevel(m.p.n(2)), Number: max(number, 1)}
	case wire.FrameCursorPage:
		said = &wire.CursorPage{
			Flags:   []uint8{0, wire.PageResume, wire.PageResume | wire.PageLast}[m.p.n(3)],
			Entries: []wire.PageEntry{{Log: log, Durable: at, Applied: min(at.Seq, wire.Seq(number))}},
		}
	case wire.FrameBatchRefusal:
		said = &wire.BatchRefusal{Code: code, Log: log, Position: at}
	case wire.FrameHeartbeat:
		said = &wire.Heartbeat{Number: number}
	case wire.FrameHeartbeatEcho:
		said = &wire.HeartbeatEcho{Number: number}
	case wire.FrameFetch:
		said = &wire.Fetch{ID: max(number, 1), Log: log, From: at}
	case wire.FrameFetchEnd:
		said = &wire.FetchEnd{ID: max(number, 1), Code: code}
	case wire.FrameRefusal:
		said = &wire.Refusal{Code: code, Term: 1, Counter: uint32(max(number, 1))}
	case wire.FrameVerify:
		said = &wire.Verify{ID: max(number, 1), Kind: wire.VerifyTails, Count: 1, Log: log}
	case wire.FrameVerified:
		said = &wire.Verified{ID: max(number, 1)}
	}
	body := said.AppendTo(nil, 1)[wire.EnvelopeBytes:]
	in := FrameIn{Link: e.id, Envelope: wire.Envelope{Kind: kind, Session: m.session(e)}, Body: body}
	if m.p.n(2) == 0 { // it overtakes
		e.queue = append([]FrameIn{in}, e.queue...)
		return
	}
	e.queue = append(e.queue, in)
}

// session is mostly the right one.
func (m *tamperer) session(e *end) uint32 {
	l := e.site.node.links[e.id]
	if l == nil || m.p.n(8) == 7 {
		return uint32(m.p.byte())
	}
	return l.Session
}

// forgeBatches puts a frame of known batches on the way, with one field changed.
func (m *tamperer) forgeBatches(e *end) {
	known := m.a.own.batches
	in := FrameIn{Link: e.id, Envelope: wire.Envelope{
		Kind: wire.FrameBatches, Session: m.session(e), Number: uint64(m.p.byte()),
	}}
	if m.p.n(2) == 1 {
		in.Envelope.Kind = wire.FrameFetched
	}
	for range 1 + m.p.n(3) {
		h := known[m.p.n(len(known))]
		m.changeHeader(&h)
		in.Headers = append(in.Headers, h)
	}
	e.queue = append(e.queue, in)
}

func (m *tamperer) changeHeader(h *wire.BatchHeader) {
	by := m.p.byte()
	switch m.p.n(9) {
	case 0:
		h.FirstSeq += wire.Seq(by)
	case 1:
		h.Prev[0] ^= by
	case 2:
		h.Chain[0] ^= by
	case 3:
		h.Incarnation[0] ^= by
	case 4:
		h.Shard = wire.Shard(by)
	case 5:
		h.Site ^= wire.SiteID(by)
	case 6:
		h.Epoch += wire.Epoch(by)
	case 7:
		h.Cluster ^= wire.ClusterID(by)
	case 8:
		h.Kind = wire.BatchKind(1 + by%4)
	}
}

// change flips bits of a frame on the way. What its sum would show is shown.
func (m *tamperer) change(in *FrameIn) {
	at, by := int(m.p.byte()), m.p.byte()
	switch {
	case in.Link == 0: // the end of the stream
	case len(in.Headers) > 0 && at%2 == 0:
		in.BatchErr, in.Headers = fmt.Errorf("batch 0: body digest differs: %w", wire.ErrCorrupt), nil
	case len(in.Headers) > 0:
		m.changeHeader(&in.Headers[at%len(in.Headers)])
	case at%16 == 15:
		in.Envelope.Session ^= uint32(by)
	case at%16 == 14:
		in.Envelope.Kind = wire.FrameKind(1 + by%15)
	case len(in.Body) > 0:
		in.Body[at%len(in.Body)] ^= by
	}
}

// check holds what a peer, however hostile, must not get done.
func (m *tamperer) check() {
	if f := m.w.fault; f != nil {
		// Who forges the word of site-b is believed about site-b.
		text := f.Error()
		if !strings.Contains(text, "is said to be at") || strings.Contains(text, "at site-c, it is not") {
			m.t.Fatal(f)
		}
		m.w.fault = nil
	}
	for _, s := range m.w.sites {
		n := s.node
		repairs, restores := n.desk.Counts()
		refused, foreign := n.peers[0].Inbound.Counts()
		logs := len(m.w.sites) * int(s.c.Shards)
		for what, size := range map[string][2]int{
			"links":           {len(n.order), 2*len(n.peers) + strangerMax},
			"stopped logs":    {len(n.t.Stopped()), logs + 2*stream.ForeignLogMax},
			"repairs":         {repairs, 2 * logs},
			"restores":        {restores, 64},
			"foreign logs":    {foreign, stream.ForeignLogMax},
			"refused logs":    {refused, int(s.c.Shards)},
			"bytes of a step": {s.effects.Room(), 1 << 20},
		} {
			if size[0] > size[1] {
				m.t.Fatalf("%s: %d %s, at most %d are expected (I10)", s.name, size[0], what, size[1])
			}
		}
		n.Status(m.w.now())
	}
}

// FuzzSession does anything to the frames between two sites of three: nothing
// panics, memory stays bounded, and the third site's session goes on (I10, I11).
func FuzzSession(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 0, 3, 0, 8, 0, 0, 30, 1, 1, 60})
	f.Add([]byte{2, 1, 1, 0, 4, 1, 0, 9, 0, 0, 0, 3, 1, 90, 2, 1, 0, 6, 0, 7, 1, 1, 200})
	f.Add([]byte{10, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 1, 20, 11, 1, 2, 1, 1, 9, 9, 5, 3, 0, 1, 1, 90})
	f.Add([]byte{3, 0, 3, 0, 24, 5, 0, 0, 0, 0, 0, 0, 0, 1, 200, 3, 1, 13, 0, 4, 9, 9, 9, 9, 1, 100})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4<<10 {
			return
		}
		w, a, bb, c := trio()
		for _, s := range w.sites {
			s.quiet = true
			s.open()
		}
		w.pass(time.Second)
		for shard := range wire.Shard(3) {
			a.append(shard, 2)
		}
		w.pass(time.Second)
		session := a.node.peer(c.c.Site).Sessions
		m := &tamperer{t: t, p: program{b}, w: w, a: a, b: bb, c: c}
		for len(m.p.b) > 0 {
			m.op()
			m.check()
		}
		m.othersGoOn(session)
	})
}

// othersGoOn: the session to site-c is still the one from before, and what the own
// logs take arrives there.
func (m *tamperer) othersGoOn(session uint64) {
	m.w.pass(5 * time.Second)
	m.check()
	p := m.a.node.peer(m.c.c.Site)
	if p.Phase != stream.PhaseLive || p.Sessions != session {
		m.t.Fatalf("session %d to site-c is %s, it was %d and live: %s", p.Sessions, p.Phase, session, p.Reason)
	}
	for shard := range wire.Shard(3) {
		log := wire.LogID{Site: m.a.c.Site, Shard: shard}
		if !m.a.takes[shard] || m.a.node.own[shard].Stopped || p.Logs[shard].Stop != nil {
			continue // a peer's word that histories differ stops the log (I4)
		}
		h := m.a.append(shard, 1)
		m.w.pass(3 * time.Second)
		if p.Logs[shard].Stop == nil && m.c.mirror.tail(log).Seq != h.LastSeq() {
			m.t.Fatalf("shard %d ends at seq %d at site-c, at seq %d at site-a", shard,
				m.c.mirror.tail(log).Seq, h.LastSeq())
		}
	}
}
