package sim

import (
	"testing"
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

const (
	stallBegins  = 10 * time.Minute
	stallLasts   = 24 * time.Hour
	stallLook    = 10 * time.Minute
	stallBurst   = 4
	stallSettled = 2 * time.Hour // buffers have grown to what the stall needs
	// stallLagMax is how late a fresh lag may be: a heartbeat's silence.
	stallLagMax = 25 * time.Second
)

// held is what the two sites hold at one moment of a stall, world and disks left
// out.
type held struct {
	Node    [2]int // bytes on the heart
	Writer  int    // bytes on the source's writer
	Links   int    // ends that the processes know
	Readers int
	Timers  int // events of the world to come
	Sockets int // bytes in them, unread
	Recent  int64
}

// stallWorld is a day of steady appends without a fault but the stall.
func stallWorld(seed uint64, how stall) *world {
	p := &plan.Plan{Seed: seed, Params: plan.Simple()}
	p.Duration = stallBegins + stallLasts
	p.Shards, p.PayloadMax, p.Bandwidth = 8, 1<<10, 16<<20
	p.HeartbeatEvery, p.HeartbeatTimeout = 5*time.Second, 20*time.Second
	for i := range p.Sites {
		s := &p.Sites[i]
		s.WindowBytes, s.FrameBytes, s.StoreSync = 256<<10, 64<<10, time.Minute
	}
	draw := plan.NewStream(seed, "bursts")
	for at := time.Duration(0); at < p.Duration; at += draw.Exponential(10 * time.Second) {
		p.Items = append(p.Items, plan.Item{
			At: at, Kind: plan.Burst, Count: 1 + draw.Size(stallBurst-1), Draw: draw.Uint64(),
		})
	}
	w := newWorld(Options{Plan: p})
	w.build()
	w.at(stallBegins, func() { w.stallPeer(how) })
	return w
}

func (w *world) held() (h held) {
	for i, s := range w.sites {
		h.Node[i] = footprint(s.p.node)
		h.Links += len(s.p.links)
		h.Readers += len(s.p.readers)
		h.Recent = max(h.Recent, s.p.own.j.Stats().RecentBytes, s.p.mirror.j.Stats().RecentBytes)
	}
	h.Writer = footprint(w.sites[0].p.writer)
	h.Timers = len(w.heap)
	for _, l := range w.net.links {
		for _, e := range l.ends {
			for _, frame := range e.held {
				h.Sockets += len(frame)
			}
		}
	}
	return h
}

// TestPeerThatStandsStillForADayCostsNothing: the source appends at its rate,
// nothing but its journal grows, how far the peer is behind is known or said to
// be unknown, and after the stall the world comes to rest (I10, I14).
func TestPeerThatStandsStillForADayCostsNothing(t *testing.T) {
	for name, how := range map[string]stall{"reading nothing": stallReading, "flushing nothing": stallFlushing} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := stallWorld(1, how)
			var samples []held
			var look func()
			look = func() {
				if w.healed {
					return
				}
				if w.now > stallBegins+stallLook {
					w.stalledStatus(t, how)
				}
				if w.now >= stallBegins+stallSettled {
					samples = append(samples, w.held())
				}
				w.after(stallLook, look)
			}
			w.at(stallBegins, look)
			for !w.done {
				w.next()
			}
			half := len(samples) / 2
			first, last := most(samples[:half]), most(samples[half:])
			t.Logf("%d steps, %d entries acknowledged, %s after the stall at rest", w.steps, w.load.acked,
				w.now-w.plan.Duration)
			t.Logf("first half %+v", first)
			t.Logf("last half  %+v", last)
			for i := range last.Node {
				require.LessOrEqual(t, last.Node[i], first.Node[i]+first.Node[i]/10,
					"the heart of %s", siteNames[i])
			}
			// Its pool comes and goes by half; a word kept per entry would triple it.
			require.LessOrEqual(t, last.Writer, first.Writer*3/2)
			require.LessOrEqual(t, last.Links, first.Links)
			require.LessOrEqual(t, last.Readers, first.Readers)
			require.LessOrEqual(t, last.Timers, first.Timers+first.Timers/10+2)
			require.LessOrEqual(t, last.Sockets, int(w.plan.Sites[0].WindowBytes)+256<<10)
			require.LessOrEqual(t, last.Recent, w.plan.Sites[0].RecentBytes)
			require.Greater(t, w.load.acked, 5000)
		})
	}
}

// stalledStatus looks at what the source says, and at its appends, in mid-stall.
func (w *world) stalledStatus(t *testing.T, how stall) {
	t.Helper()
	p := w.sites[0].p
	peer := p.node.Status(p.now()).Peers[0]
	stalled := w.now - stallBegins
	switch how {
	case stallReading:
		require.False(t, peer.Durable.Known, "at %s", w.now)
		require.InDelta(t, stalled, peer.Durable.Time, float64(stallLagMax+stalled/1000)) // the clock drifts
	case stallFlushing:
		require.True(t, peer.Durable.Known, "at %s", w.now)
		mine := &w.plan.Sites[0]
		require.LessOrEqual(t, peer.WindowUsed, mine.WindowBytes+int64(mine.FrameBytes+wire.BatchBytesMax))
	}
	missing := 0
	for i := range w.load.ops {
		if !w.load.ops[i].durable[1] {
			missing++
		}
	}
	require.GreaterOrEqual(t, peer.Durable.Entries, int64(missing-w.load.waiting()))
	require.Equal(t, len(w.load.ops)-w.load.waiting(), w.load.acked)
	require.LessOrEqual(t, w.load.waiting(), stallBurst, "appends wait for the peer")
}

// most is the most of each that any sample holds.
func most(samples []held) (m held) {
	for _, h := range samples {
		for i := range h.Node {
			m.Node[i] = max(m.Node[i], h.Node[i])
		}
		m.Writer, m.Links, m.Readers = max(m.Writer, h.Writer), max(m.Links, h.Links), max(m.Readers, h.Readers)
		m.Timers, m.Sockets, m.Recent = max(m.Timers, h.Timers), max(m.Sockets, h.Sockets), max(m.Recent, h.Recent)
	}
	return m
}
