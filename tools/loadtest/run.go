package loadtest

import (
	"context"
	"errors"
	"time"
)

const (
	// drainWait is how long answers may take after the window, besides two round
	// trips.
	drainWait = 10 * time.Second
	// drainWaitCut is the same after an interrupt.
	drainWaitCut = time.Second
	// progressEvery is the interval between progress reports.
	progressEvery = 500 * time.Millisecond
)

// Progress is how far a run is.
type Progress struct {
	Warming  bool
	Elapsed  time.Duration // of the warm-up and the window
	Total    time.Duration
	Rate     float64       // answers a second since the last time
	P50, P99 time.Duration // of the window so far; 0 = nothing measured
	Errors   int64
}

// measurement is one run while it lasts.
type measurement struct {
	session *Session
	config  *Config
	rig     *rig
	record  *recorder

	began  bool // the window
	before both
	after  both
	behind *int64

	shownAll int64
	shownAt  moment
}

// both is what has been used at both ends, and by the proxy.
type both struct {
	near, far usage
	path      time.Duration
	wall      time.Time // without a monotonic reading
	at        moment
}

// Run opens both ends, loads them, closes them, and returns what came of it. When
// ctx ends, or the far end goes, in mid-run, there is a result of what was
// measured so far, marked invalid, and an error as well.
func (s *Session) Run(ctx context.Context, c Config) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r, err := s.open(ctx, &c)
	if err != nil {
		return nil, err
	}
	m := &measurement{session: s, config: &c, rig: r}
	err = m.run(ctx)
	result := m.result(err)
	return result, errors.Join(err, s.close(r))
}

// run loads the target through warm-up and window, and drains it.
func (m *measurement) run(ctx context.Context) error {
	m.record = newRecorder(time.Now(), m.config.Warm.D(), m.config.Duration.D(), m.config.Clients)
	var (
		stop     = make(chan struct{})
		done     = make(chan struct{})
		ops, end = context.WithCancel(context.Background())
	)
	defer end()
	g := &generator{config: m.config, target: m.rig.near, record: m.record, stop: stop}
	go func() { // ends with the window, stop or ops
		defer close(done)
		g.run(ops)
	}()
	err := m.watch(ctx)
	patience := drainWait + 2*m.config.RTT.D()
	if err != nil {
		m.record.cut()
		close(stop)
		patience = drainWaitCut
	}
	if !waitFor(done, patience) {
		end()
		if !waitFor(done, drainWaitCut) {
			err = errors.Join(err, m.rig.closeNear()) // what does not hear of a context hears this
		}
		<-done
	}
	return err
}

// watch accompanies the load from the start to the end of the window, or until
// it is interrupted, which is its error.
func (m *measurement) watch(ctx context.Context) error {
	var (
		begin    = time.NewTimer(m.record.from - m.record.now())
		end      = time.NewTimer(m.record.end() - m.record.now())
		progress = time.NewTicker(progressEvery)
	)
	defer begin.Stop()
	defer end.Stop()
	defer progress.Stop()
	for {
		select {
		case <-begin.C:
			if err := m.begin(ctx); err != nil {
				return err
			}
		case <-end.C:
			if err := m.begin(ctx); err != nil { // where both have come at once
				return err
			}
			return m.use(ctx, "end", "ended", &m.after)
		case <-progress.C:
			m.show()
		case <-m.session.lost:
			return m.session.gone(m.session.lostBy)
		case <-ctx.Done():
			if !m.began {
				return ctx.Err()
			}
			// The far end is still there to tell what the part has cost.
			return errors.Join(ctx.Err(), m.use(context.WithoutCancel(ctx), "end", "ended", &m.after))
		}
	}
}

// begin takes the counters of the window's begin, once.
func (m *measurement) begin(ctx context.Context) error {
	if m.began {
		return nil
	}
	m.began = true
	return m.use(ctx, "begin", "begun", &m.before)
}

// use takes the counters of both ends.
func (m *measurement) use(ctx context.Context, word, answer string, b *both) error {
	said, err := m.session.ask(ctx, &message{Word: word}, answer)
	if err != nil {
		return err
	}
	if said.Usage == nil {
		return ErrRelease
	}
	b.far, b.near, b.at, b.wall = *said.Usage, usageNow(), m.record.now(), time.Now().Round(0)
	if m.rig.path != nil {
		b.path = m.rig.path.cpu()
	}
	if behind, ok := m.rig.near.behind(); ok {
		m.behind = &behind
	}
	return nil
}

// show tells progress.
func (m *measurement) show() {
	now := m.record.now()
	sum := m.record.sum()
	p := Progress{
		Warming: now < m.record.from, Elapsed: now, Total: m.record.end(),
		Rate:   float64(sum.all-m.shownAll) / (now - m.shownAt).Seconds(),
		P50:    time.Duration(sum.latencies.ValueAtQuantile(50)),
		P99:    time.Duration(sum.latencies.ValueAtQuantile(99)),
		Errors: m.record.errors(),
	}
	m.shownAll, m.shownAt = sum.all, now
	m.session.options.Progress(p)
}

// waitFor waits for done, and says whether it came in time.
func waitFor(done <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
