package node

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/claudefs/repl/wire"
)

// hostile draws inputs that are well formed and otherwise anything: few values,
// so that they hit what the node knows.
type hostile struct {
	t *rapid.T
	a *site
}

func (h hostile) n(hi int, what string) int { return rapid.IntRange(0, hi).Draw(h.t, what) }

func (h hostile) log() wire.LogID {
	sites := []wire.SiteID{wire.SiteIDOf("prod", "site-a"), wire.SiteIDOf("prod", "site-b"), 77}
	return wire.LogID{Site: sites[h.n(2, "site")], Shard: wire.Shard(h.n(5, "shard"))}
}

func (h hostile) position() wire.Position {
	known := h.a.own.batches[h.n(len(h.a.own.batches)-1, "known")].End()
	switch h.n(4, "position") {
	case 0:
		return wire.Position{}
	case 1:
		known.Seq += wire.Seq(h.n(3, "off"))
	case 2:
		known.Chain[0]++
	case 3:
		known.Incarnation[0]++
	}
	return known
}

func (h hostile) header() wire.BatchHeader {
	b := h.a.own.batches[h.n(len(h.a.own.batches)-1, "batch")]
	switch h.n(6, "header") {
	case 0:
		b.Site, b.Shard = h.log().Site, h.log().Shard
	case 1:
		b.FirstSeq += wire.Seq(h.n(3, "off"))
	case 2:
		b.Prev[0]++
	case 3:
		b.Kind = wire.BatchKind(1 + h.n(3, "kind"))
	case 4:
		b.Incarnation[0]++
	}
	return b
}

func (h hostile) headers() (list []wire.BatchHeader) {
	for range h.n(3, "count") {
		list = append(list, h.header())
	}
	return list
}

func (h hostile) cursors() (list []wire.Cursor) {
	for range h.n(2, "cursors") {
		list = append(list, wire.Cursor{Log: h.log(), Position: h.position()})
	}
	return list
}

func (h hostile) frame(l *link) Input {
	at := h.position()
	level := wire.AckLevel(1 + h.n(1, "level"))
	number := uint64(1 + h.n(9, "number"))
	switch h.n(13, "kind") {
	case 0:
		return frame(l, wire.FrameAck, &wire.Ack{Level: level, Number: number})
	case 1:
		m := wire.CursorPage{Flags: []uint8{0, wire.PageResume, wire.PageResume | wire.PageLast}[h.n(2, "flags")]}
		m.Entries = []wire.PageEntry{{Log: h.log(), Durable: at, Applied: at.Seq}}
		return frame(l, wire.FrameCursorPage, &m)
	case 2:
		code := wire.RefusalCode(32 + h.n(8, "code"))
		return frame(l, wire.FrameBatchRefusal, &wire.BatchRefusal{Code: code, Log: h.log(), Position: at})
	case 3:
		return frame(l, wire.FrameHeartbeatEcho, &wire.HeartbeatEcho{Number: number})
	case 4:
		return frame(l, wire.FrameHeartbeat, &wire.Heartbeat{Number: number})
	case 5:
		return frame(l, wire.FrameFetch, &wire.Fetch{ID: number, Log: h.log(), From: at})
	case 6:
		return frame(l, wire.FrameFetchEnd, &wire.FetchEnd{ID: number, Code: wire.RefusalCode(h.n(40, "code"))})
	case 7:
		in := &FrameIn{Link: l.Link, Headers: h.headers()}
		in.Envelope = wire.Envelope{Kind: wire.FrameFetched, Session: l.Session, Number: number}
		return in
	case 8, 9:
		in := numbered(l, number)
		in.Headers = h.headers()
		return in
	case 10:
		return frame(l, wire.FrameRefusal, &wire.Refusal{Code: wire.RefusalCode(1 + h.n(12, "code"))})
	case 11:
		return frame(l, wire.FrameVerified, &wire.Verified{ID: number})
	case 12:
		kind := wire.VerifyKind(1 + h.n(2, "verify"))
		return frame(l, wire.FrameVerify, &wire.Verify{ID: number, Kind: kind, Count: 1, Log: h.log()})
	}
	return frame(l, wire.FrameWelcome, &wire.Welcome{Version: 1, Site: 1, Term: 1})
}

// other is an answer of a shell that answers what was not asked.
func (h hostile) other(link LinkID) Input {
	ticket := uint64(h.n(9, "ticket"))
	switch h.n(10, "input") {
	case 0:
		return &Sought{Link: link, Tails: h.cursors(), NotRetained: []wire.LogID{h.log()}, Err: h.err()}
	case 1:
		return &ReadDone{Link: link, Headers: h.headers(), Err: h.err()}
	case 2:
		return &OwnDurable{Headers: h.headers()}
	case 3:
		return &Durable{Journal: Journal(1 + h.n(1, "journal")), Ticket: ticket}
	case 4:
		return &StageFailed{Ticket: ticket, Err: errors.New("disk")}
	case 5:
		return &Persisted{Ticket: ticket, Err: h.err()}
	case 6:
		return &Applied{Cursors: h.cursors()}
	case 7:
		return &StoreDurable{Cursors: h.cursors()}
	case 8:
		return &LogDamaged{Log: h.log(), From: h.position(), To: h.position()}
	case 9:
		return &Repaired{Ticket: ticket, Err: h.err()}
	}
	return &ApplyStopped{Log: h.log(), Err: errors.New("unknown operation")}
}

func (h hostile) err() error {
	if h.n(2, "err") == 0 {
		return errors.New("disk")
	}
	return nil
}

// No frame of a peer and no answer of a shell makes the node panic, and what it
// remembers of them stays bounded (I10, I11).
func TestNothingThatArrivesMakesTheNodePanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, a, b := livelyPair()
		h := hostile{t, a}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := []*site{a, b}[h.n(1, "at")]
			p := s.node.peers[0]
			for _, l := range []*link{p.link, p.in} {
				if l == nil {
					continue
				}
				var e Effects
				if h.n(2, "frame") > 0 {
					s.node.Step(w.now(), h.frame(l), &e)
				} else {
					s.node.Step(w.now(), h.other(l.Link), &e)
				}
				s.node.Status(w.now())
			}
			if h.n(5, "time") == 0 {
				w.tickAll(time.Duration(h.n(1000, "ms")) * time.Millisecond)
				w.settle()
			}
		}
	})
}
