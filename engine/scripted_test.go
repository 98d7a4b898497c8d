package engine_test

import (
	"sync"
	"testing"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/stretchr/testify/require"
)

// scripted is a peer without an engine: it takes sessions, answers heartbeats, and says
// what it has of the batches that come when the test says so, and not before.
type scripted struct {
	t    testing.TB
	name string
	site wire.SiteID
	net  link.Listener

	mu       sync.Mutex
	conn     link.Conn
	session  uint32
	welcomes int
	resume   []wire.PageEntry // of the next session
	frames   []scriptedFrame  // of batches, in this session
	came     chan struct{}    // capacity 1
}

type scriptedFrame struct {
	number uint64
	ends   map[wire.Shard]wire.Position
}

// newScripted listens in the place of a site.
func newScripted(t testing.TB, net link.Transport, name string) *scripted {
	p := &scripted{t: t, name: name, site: wire.SiteIDOf("test", name), came: make(chan struct{}, 1)}
	var err error
	p.net, err = net.Listen(name)
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { // ends when the listener is closed
		for {
			conn, err := p.net.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) }) // ends with the link
		}
	})
	t.Cleanup(func() {
		p.net.Close()
		p.reset(nil)
		serving.Wait()
	})
	return p
}

func (p *scripted) serve(conn link.Conn) {
	defer conn.Close()
	for {
		f, err := conn.Recv()
		if err != nil {
			return
		}
		p.frame(conn, f)
		f.Release()
	}
}

// say sends a message to whoever has the session.
func (p *scripted) say(m wire.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotNil(p.t, p.conn, "no session")
	p.send(m)
}

// send gives each message an extension that this release does not know.
func (p *scripted) send(m wire.Message) {
	later := wire.Extensions{}.Append(0x60, []byte(p.name))
	_ = p.conn.Send([][]byte{wire.AppendControl(nil, p.session, m, later)}) // a link that is gone is dialed again
}

func (p *scripted) frame(conn link.Conn, f *link.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f.Envelope.Kind {
	case wire.FrameHello:
		var h wire.Hello
		if h.Decode(f.Body()) != nil {
			return
		}
		p.conn, p.session, p.frames = conn, h.Counter, nil
		p.welcomes++
		p.send(&wire.Welcome{Version: wire.Version, Site: p.site, Term: 1, SiteName: p.name})
		p.send(&wire.CursorPage{Flags: wire.PageResume | wire.PageLast, Entries: p.resume})
	case wire.FrameHeartbeat:
		var b wire.Heartbeat
		if b.Decode(f.Body()) == nil && conn == p.conn {
			p.send(&wire.HeartbeatEcho{Clock: b.Clock, Number: b.Number})
		}
	case wire.FrameBatches:
		refs, err := wire.SplitBatches(f.Body(), int(f.Envelope.BatchCount), nil)
		if err != nil {
			return
		}
		got := scriptedFrame{f.Envelope.Number, map[wire.Shard]wire.Position{}}
		for i := range refs {
			got.ends[refs[i].Header.Shard] = refs[i].Header.End()
		}
		p.frames = append(p.frames, got)
	}
	select {
	case p.came <- struct{}{}:
	default:
	}
}

// await returns the frame that brings a shard's log to seq, and its end there.
func (p *scripted) await(shard wire.Shard, seq wire.Seq) (uint64, wire.Position) {
	p.t.Helper()
	for ctx := soon(p.t); ; pause() {
		p.mu.Lock()
		for _, f := range p.frames {
			if end, there := f.ends[shard]; there && end.Seq >= seq {
				p.mu.Unlock()
				return f.number, end
			}
		}
		p.mu.Unlock()
		select {
		case <-p.came:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			require.FailNow(p.t, "no batch", "%s: shard %d seq %d", p.name, shard, seq)
		}
	}
}

// holds says whether any batch of a shard beyond seq came.
func (p *scripted) holds(shard wire.Shard, seq wire.Seq) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if end, there := f.ends[shard]; there && end.Seq > seq {
			return true
		}
	}
	return false
}

// reset ends the session; the next one begins where resume says.
func (p *scripted) reset(resume []wire.PageEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resume = resume
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn = nil
}

func (p *scripted) sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.welcomes
}
