package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/wire"
)

func (s *site) end(id LinkID) *end {
	for _, p := range s.w.pipes {
		for _, e := range p.ends {
			if e.id == id && e.site == s {
				return e
			}
		}
	}
	return nil
}

func (s *site) operate(op *Op) {
	if op.Kind == OpDial {
		s.dial(op.Peer)
		return
	}
	e := s.end(op.Link)
	if e == nil || e.down {
		return
	}
	switch op.Kind {
	case OpClose:
		s.w.tell("%s: closes: %s", s.name, op.Reason)
		e.goDown(nil)
		e.far.queue = append(e.far.queue, FrameIn{Link: 0}) // end of stream behind what was sent
	case OpSend:
		e.sendControl(op.Frame)
	case OpSeek:
		in := s.seek(e, op.Have)
		s.later(func() { s.step(in) })
	case OpRead:
		in := s.read(e, op.Bytes) // what is flushed before it is reported is not in it
		s.later(func() { s.step(in) })
	case OpShip:
		env := op.Envelope
		var headers []wire.BatchHeader
		for _, i := range op.Batches {
			headers = append(headers, e.read[i])
		}
		e.sendBatches(&env, headers)
	case OpAnswer:
		if e.asked = append(e.asked, op.Fetch); op.Fetch.ID == 0 {
			e.asked = nil
		}
	case OpGrant:
		env := op.Envelope
		s.later(func() { s.grant(e, env) })
	}
}

func (w *world) tell(format string, args ...any) {
	if w.trace {
		w.say(format, args...)
	}
}

func (s *site) dial(to wire.SiteID) {
	far := s.w.bySite(to)
	if far == nil || far.node == nil || s.noDial || far.noDial {
		s.later(func() { s.step(&LinkDown{Peer: to, Err: errors.New("connection refused")}) })
		return
	}
	p := s.w.connect(s, far)
	s.later(func() { s.step(&LinkUp{Link: p.ends[0].id, Peer: to}) })
}

// connect joins two sites; the far one hears of it at once.
func (w *world) connect(near, far *site) *pipe {
	p := &pipe{}
	for i, s := range []*site{near, far} {
		w.links++
		p.ends[i] = &end{id: w.links, site: s}
	}
	p.ends[0].far, p.ends[1].far = p.ends[1], p.ends[0]
	w.pipes = append(w.pipes, p)
	id := p.ends[1].id
	far.later(func() { far.step(&LinkUp{Link: id}) })
	return p
}

func (e *end) sendControl(frame []byte) {
	var env wire.Envelope
	if err := wire.DecodeEnvelope(frame, &env); err != nil {
		panic(err)
	}
	if err := wire.CheckFrame(&env, frame); err != nil {
		panic(err)
	}
	body := slices.Clone(wire.Body(&env, frame))
	in := FrameIn{Link: e.far.id, Envelope: env, Ext: slices.Clone(wire.ExtensionsOf(&env, frame)), Body: body}
	if e.site.w.carry != nil {
		e.site.w.carry(&in)
	}
	e.far.queue = append(e.far.queue, in)
	if env.Kind != wire.FrameHeartbeat && env.Kind != wire.FrameHeartbeatEcho {
		e.site.w.tell("%s > %s", e.site.name, describe(&env, wire.Body(&env, frame)))
	}
}

func (e *end) sendBatches(env *wire.Envelope, headers []wire.BatchHeader) {
	e.far.queue = append(e.far.queue, FrameIn{Link: e.far.id, Envelope: *env, Headers: headers})
	text := ""
	for i := range headers {
		h := &headers[i]
		text += fmt.Sprintf(" %d:%d-%d", h.Shard, h.FirstSeq, h.LastSeq())
	}
	e.site.w.tell("%s > %s %d%s", e.site.name, kindNames[env.Kind], env.Number, text)
}

var kindNames = map[wire.FrameKind]string{
	wire.FrameHello: "hello", wire.FrameWelcome: "welcome", wire.FrameRefusal: "refusal", wire.FrameBatches: "batches",
	wire.FrameAck: "ack", wire.FrameBatchRefusal: "batch-refusal", wire.FrameCursorPage: "page",
	wire.FrameHeartbeat: "heartbeat", wire.FrameHeartbeatEcho: "echo", wire.FrameFetch: "fetch",
	wire.FrameFetched: "fetched", wire.FrameFetchEnd: "fetch-end", wire.FrameJoin: "join",
	wire.FrameVerify: "verify", wire.FrameVerified: "verified",
}

// describe words a control frame for a transcript.
func describe(env *wire.Envelope, body []byte) string {
	text := kindNames[env.Kind]
	switch env.Kind {
	case wire.FrameHello:
		var m wire.Hello
		_ = m.Decode(body)
		text += fmt.Sprintf(" %s to %s session %d/%d", m.SiteName, m.PeerName, m.Term, m.Counter)
	case wire.FrameRefusal:
		var m wire.Refusal
		_ = m.Decode(body)
		text += fmt.Sprintf(" code %d: %s", m.Code, m.Text)
	case wire.FrameAck:
		var m wire.Ack
		_ = m.Decode(body)
		text += fmt.Sprintf(" %d level %d", m.Number, m.Level)
	case wire.FrameBatchRefusal:
		var m wire.BatchRefusal
		_ = m.Decode(body)
		text += fmt.Sprintf(" shard %d code %d at seq %d", m.Log.Shard, m.Code, m.Position.Seq)
	case wire.FrameCursorPage:
		var m wire.CursorPage
		_ = m.Decode(body)
		text += fmt.Sprintf(" flags %d", m.Flags)
		for _, row := range m.Entries {
			text += fmt.Sprintf(" %d:%d/%d", row.Log.Shard, row.Durable.Seq, row.Applied)
		}
	case wire.FrameFetch:
		var m wire.Fetch
		_ = m.Decode(body)
		text += fmt.Sprintf(" %d shard %d from %d to %d", m.ID, m.Log.Shard, m.From.Seq, m.To)
	case wire.FrameFetchEnd:
		var m wire.FetchEnd
		_ = m.Decode(body)
		text += fmt.Sprintf(" %d code %d %s", m.ID, m.Code, m.Text)
	}
	return text
}

// segmentBatches is how many batches a segment of a fake journal holds: a
// reader begins at the start of one.
const segmentBatches = 3

func (s *site) seek(e *end, have []wire.Cursor) *Sought {
	in := &Sought{Link: e.id}
	lacks := func(h *wire.BatchHeader) bool {
		for _, c := range have {
			if c.Log == h.Log() {
				return h.Epoch > s.epochOf(c.Position.Incarnation) ||
					h.Incarnation == c.Position.Incarnation && h.LastSeq() > c.Position.Seq
			}
		}
		return true
	}
	at := len(s.own.batches)
	for i := len(s.own.batches) - 1; i >= 0; i-- {
		if lacks(&s.own.batches[i]) {
			at = i
		}
	}
	if at < s.own.base {
		for i := range s.own.batches[:s.own.base] {
			if h := &s.own.batches[i]; lacks(h) {
				in.Err = errors.New("no longer retained")
				in.NotRetained = []wire.LogID{h.Log()}
				return in
			}
		}
	}
	at = max(at/segmentBatches*segmentBatches, s.own.base)
	e.reader = at
	for _, l := range tailsOf(s.own.batches[:at]) {
		in.Tails = append(in.Tails, wire.Cursor{Log: l.ID, Position: l.Tail})
	}
	return in
}

func (s *site) read(e *end, limit int) *ReadDone {
	in := &ReadDone{Link: e.id}
	size := 0
	for e.reader < len(s.own.batches) {
		h := s.own.batches[e.reader]
		if size > 0 && size+h.Bytes() > limit {
			break
		}
		size += h.Bytes()
		in.Headers = append(in.Headers, h)
		e.reader++
	}
	for i := range s.own.batches[e.reader:] {
		in.Backlog += int64(s.own.batches[e.reader+i].Bytes())
	}
	e.read = in.Headers
	return in
}

func (s *site) grant(e *end, env wire.Envelope) {
	in := &Granted{Link: e.id}
	for _, f := range e.asked {
		if end := s.answer(e, f, env, in); s.answers == "" {
			in.Ended = append(in.Ended, end)
		}
	}
	if in.Open = 0; len(in.Ended) < len(e.asked) {
		in.Open, in.Bytes = e.asked[0].ID, 0
		return // neither an end nor more
	}
	e.asked = nil
	s.step(in)
}

func (s *site) answer(e *end, f wire.Fetch, env wire.Envelope, in *Granted) (end wire.FetchEnd) {
	d := s.disk(Mirror)
	if f.Log.Site == s.c.Site {
		d = s.disk(Own)
	}
	if s.answers == "off" {
		return end
	}
	end.ID, env.Number = f.ID, f.ID
	at := wire.Position{}
	for i := range d.batches {
		h := d.batches[i]
		switch {
		case h.Log() != f.Log, s.answers == "short" && h.LastSeq() >= f.To:
		case h.LastSeq() <= f.From.Seq:
			at = h.End()
		case i < d.base:
			end.Code, end.Text = wire.RefuseNotRetained, "no longer retained"
		case end.Code == 0 && f.From.Seq != 0 && at != f.From:
			end.Code, end.Text = wire.RefuseChain, fmt.Sprintf("seq %d has chain %s here", at.Seq, at.Chain)
		case end.Code == 0 && (f.To == 0 || h.FirstSeq <= f.To):
			frame := env
			frame.BatchCount, frame.WireBytes, frame.PlainBytes = 1, uint32(h.Bytes()), uint32(h.Bytes())
			e.sendBatches(&frame, []wire.BatchHeader{h})
			in.Bytes += h.Bytes()
		}
	}
	return end
}

// moves lists everything that could happen next.
func (w *world) moves() (moves []func()) {
	for _, s := range w.sites {
		if len(s.work) > 0 {
			moves = append(moves, func() {
				f := s.work[0]
				s.work = s.work[1:]
				f()
			})
		}
		if s.node != nil && !s.noFlush && (len(s.own.staged) > 0) {
			moves = append(moves, func() { s.flush(Own) })
		}
		if s.node != nil && !s.noFlush && (len(s.mirror.staged) > 0) {
			moves = append(moves, func() { s.flush(Mirror) })
		}
	}
	for _, p := range w.pipes {
		for _, e := range p.ends {
			if len(e.queue) > 0 {
				moves = append(moves, e.deliver)
			}
		}
	}
	return moves
}

func (e *end) deliver() {
	in := e.queue[0]
	e.queue = e.queue[1:]
	if e.down || e.site.node == nil {
		return
	}
	if in.Link == 0 {
		e.goDown(errors.New("closed by the other end"))
		return
	}
	if e.site.mute || e.far.site.mute {
		return
	}
	if e.site.flip && in.Envelope.Kind == wire.FrameBatches {
		e.site.flip = false
		in.BatchErr, in.Headers = errors.New("batch 0: body digest differs"), nil
	}
	e.site.later(func() {
		if !e.down {
			e.site.step(&in)
		}
	})
}

// settle makes all moves, in order, until there are none.
func (w *world) settle() {
	for range 100_000 {
		moves := w.moves()
		if len(moves) == 0 {
			return
		}
		for _, m := range moves {
			m()
		}
	}
	w.broken("it never settles")
}

// movingAt are a site's links on which bytes move.
func (w *world) movingAt(s *site) (ids []LinkID) {
	for _, p := range w.pipes {
		for _, e := range p.ends {
			if e.site == s && !e.down && (s.moving || e.far.site.moving) {
				ids = append(ids, e.id)
			}
		}
	}
	return ids
}

// pass lets time go by and settles whenever a timer was due.
func (w *world) pass(d time.Duration) {
	until := w.mono + d
	for {
		w.settle()
		next := until
		for _, s := range w.sites {
			if s.node != nil && s.wake != 0 {
				next = min(next, max(s.wake, w.mono+time.Millisecond))
			}
		}
		w.mono = next
		for _, s := range w.sites {
			if s.node != nil && s.wake != 0 && s.wake <= w.mono {
				s.step(&Tick{Receiving: w.movingAt(s)})
			}
		}
		w.settle()
		if w.mono >= until {
			return
		}
	}
}
