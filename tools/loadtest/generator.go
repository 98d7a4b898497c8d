package loadtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/claudefs/repl/wire"
)

// Target is what the load falls on: lanes of entries, each answered in order.
type Target interface {
	// Lanes is how many lanes there are.
	Lanes() int
	// Put hands an entry over to a lane and does not wait for its answer, unless
	// too much is under way. Any goroutine may call it.
	Put(ctx context.Context, lane int) (wire.Ref, error)
	// Wait waits for the answer. Any goroutine may call it.
	Wait(ctx context.Context, ref wire.Ref) error
}

const (
	// underWayMax bounds the entries of an open loop that wait for answers.
	underWayMax = 1 << 16
	// alarmMax is how long the open loop sleeps without looking whether it is over.
	alarmMax = 50 * time.Millisecond
	// abandonSteps is in how many steps abandoned entries are recorded at most.
	abandonSteps = 100_000
	// errorPause keeps a client that only gets errors from spinning.
	errorPause = 10 * time.Millisecond
)

// generator puts a load on a target. run may be called once.
type generator struct {
	config *Config
	target Target
	record *recorder
	stop   <-chan struct{} // closed: no further entries, whatever is planned
}

// run loads the target until the window's end, or stop, and returns when every
// entry is answered, or ctx has ended.
func (g *generator) run(ctx context.Context) {
	if g.config.Open() {
		g.open(ctx)
		return
	}
	var clients sync.WaitGroup
	for i := range g.config.Clients {
		clients.Go(func() { g.client(ctx, i) }) // ends with the window, stop or ctx
	}
	clients.Wait()
}

// client is one client of a closed loop. Clients begin at different lanes.
func (g *generator) client(ctx context.Context, client int) {
	lanes := g.target.Lanes()
	for n := client; !g.over(ctx); n++ {
		due := g.record.now()
		if due >= g.record.end() {
			return
		}
		ref, err := g.target.Put(ctx, n%lanes)
		if err == nil {
			err = g.target.Wait(ctx, ref)
		}
		g.settle(ctx, client, due, err)
		if err != nil {
			g.pause(ctx, errorPause)
		}
	}
}

// settle records what became of an entry.
func (g *generator) settle(ctx context.Context, lane int, due moment, err error) {
	switch {
	case err == nil:
		g.record.answer(lane, due)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		g.record.unanswered(lane, due, 1)
	default:
		g.record.failed(err)
	}
}

// sent is an entry of an open loop that waits for its answer.
type sent struct {
	due moment
	ref wire.Ref
}

// open hands over entry i when it is due, at i/rate, and if that has passed, at
// once: what one entry waits for never moves the next one's time.
func (g *generator) open(ctx context.Context) {
	alarm, err := newAlarm()
	if err != nil {
		g.record.failed(err)
		return
	}
	defer alarm.close()
	lanes := make([]chan sent, g.target.Lanes())
	depth := max(underWayMax/len(lanes), 1)
	var waiting sync.WaitGroup
	i := int64(0)
	for ; !g.over(ctx); i++ {
		due := g.due(i)
		if due >= g.record.end() {
			break
		}
		if !g.reach(ctx, alarm, due) {
			break
		}
		lane := int(i % int64(len(lanes)))
		if lanes[lane] == nil {
			lanes[lane] = make(chan sent, depth)
			waiting.Go(func() { g.await(ctx, lane, lanes[lane]) }) // ends with its channel
		}
		g.record.handedOver(due)
		ref, err := g.target.Put(ctx, lane)
		if err != nil {
			g.settle(ctx, lane, due, err)
			continue
		}
		select {
		case lanes[lane] <- sent{due, ref}:
		case <-ctx.Done():
			g.record.unanswered(lane, due, 1)
		}
	}
	g.abandon(i)
	for _, lane := range lanes {
		if lane != nil {
			close(lane)
		}
	}
	waiting.Wait()
}

// abandon records the entries from i on that were due by now and are not handed
// over: they have waited for nothing less. There may be billions, so the latencies
// of a few in a row are rounded up to that of the first.
func (g *generator) abandon(i int64) {
	until := min(g.record.now(), g.record.end())
	left := int64(until.Seconds()*g.config.Rate) - i
	for step := max(1, left/abandonSteps); g.due(i) < until; i += step {
		g.record.unanswered(0, g.due(i), min(step, max(left, 1)))
		left -= step
	}
}

// reach sleeps until due, and says false when the load ended first.
func (g *generator) reach(ctx context.Context, alarm *alarm, due moment) bool {
	for left := due - g.record.now(); left > 0; left = due - g.record.now() {
		if g.over(ctx) {
			return false
		}
		if err := alarm.sleep(min(left, alarmMax)); err != nil {
			g.record.failed(err)
			return false
		}
	}
	return true
}

// due is when entry i of an open loop is due. The product is exact enough: at
// the highest rate and duration it is off by less than a microsecond.
func (g *generator) due(i int64) moment { return moment(float64(i) / g.config.Rate * 1e9) }

// await waits for the answers of a lane, which come in order.
func (g *generator) await(ctx context.Context, lane int, entries <-chan sent) {
	for e := range entries {
		g.settle(ctx, lane, e.due, g.target.Wait(ctx, e.ref))
	}
}

// over says whether no further entry is wanted.
func (g *generator) over(ctx context.Context) bool {
	select {
	case <-g.stop:
		return true
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// pause waits, unless the load ends first.
func (g *generator) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.stop:
	case <-ctx.Done():
	}
}
