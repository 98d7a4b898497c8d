package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
)

const (
	// checkEvery is how many cycles go by before the sites are compared.
	checkEvery = 30
	// loadMin and loadMax bound how long the load runs between two kills: long
	// enough to be in the middle of things, short enough for many cycles.
	loadMin = 30 * time.Millisecond
	loadMax = 200 * time.Millisecond
	// ackWait is how long a restarted site-a may take until it acknowledges.
	ackWait = 60 * time.Second
	// shortSegments makes segments end, and be recycled, in a short run.
	shortSegments = "4MiB"
)

// CrashOptions of a run of Crash.
type CrashOptions struct {
	Binary string // of cfs
	Cycles int
	IO     string // of the servers, as cfs server --io
	Dir    string // "" = a temporary one
	Keep   bool   // leave Dir as it is
	Seed   uint64 // 0 = random
	// Failpoints ends servers at each call to their disks in turn, not at random.
	Failpoints bool
	// Copies has directories copied under their running servers, and the copies opened.
	Copies   bool
	For      time.Duration // ends the run although cycles are left; 0 = Cycles alone do
	Progress io.Writer
}

// CrashVerdict is how a run of Crash ended: "cfs crash --json".
type CrashVerdict struct {
	Schema     int     `json:"schema"`
	Kind       string  `json:"kind"` // "crash"
	OK         bool    `json:"ok"`
	Cycles     int     `json:"cycles"`
	Acked      int     `json:"acked"`
	Lost       int     `json:"lost"`
	Duplicated int     `json:"duplicated"`
	Difference string  `json:"first_difference"` // "" = none
	Entries    int     `json:"entries"`
	KillsA     int     `json:"kills_site_a"`
	KillsB     int     `json:"kills_site_b"`
	Failpoints int     `json:"failpoints"`     // reached
	Copies     int     `json:"copies"`         // of directories of running servers: opened
	Refused    int     `json:"copies_refused"` // with a reason
	Digest     string  `json:"digest"`
	Seed       uint64  `json:"seed"`
	Seconds    float64 `json:"seconds"`
	Dir        string  `json:"dir"` // "" = removed
}

// Line is the one line that closes a run.
func (v *CrashVerdict) Line() string {
	counts := fmt.Sprintf("cycles=%d acked=%d lost=%d duplicated=%d", v.Cycles, v.Acked, v.Lost, v.Duplicated)
	if v.Failpoints > 0 {
		counts = fmt.Sprintf("failpoints=%d %s", v.Failpoints, counts)
	}
	if v.Copies+v.Refused > 0 {
		counts = fmt.Sprintf("copies=%d refused=%d %s", v.Copies, v.Refused, counts)
	}
	if v.OK {
		return "crash: " + counts
	}
	return fmt.Sprintf("crash: FAILED %s difference=%q", counts, v.Difference)
}

// crashRun is a run of Crash under way.
type crashRun struct {
	o      CrashOptions
	pair   *pair
	load   *load
	ended  <-chan error // the clients'
	random *rand.Rand
	walk   *walk   // nil: kills come at random
	copies *copies // nil: nothing is copied
	dead   string  // an address that nobody listens at
	line   *progress.Line
}

// Crash keeps site-a under load, kills either site or both again and again, and
// compares the sites with what was acknowledged. An error means that the run
// could not be finished; a difference that was found is in the CrashVerdict.
func Crash(ctx context.Context, o CrashOptions) (*CrashVerdict, error) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	w, err := openWorkspace(o.Dir)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	p, err := newPair(o.Binary, w, random,
		append(ioFlag(o.IO), "--segment-bytes", shortSegments)...)
	if err != nil {
		return nil, err
	}
	r := &crashRun{o: o, pair: p, load: &load{acked: ledger{}}, random: random, line: progress.New(o.Progress)}
	if o.Failpoints {
		r.walk = newWalk()
	}
	if o.Copies {
		addrs, err := reservePorts(random, 3)
		if err != nil {
			return nil, err
		}
		r.copies, r.dead = newCopies(p, w, addrs[:2]), addrs[2]
	}
	v := &CrashVerdict{Schema: 1, Kind: "crash", Seed: o.Seed}
	r.line.Say("crash: %d cycles; data in %s; seed %d", o.Cycles, w.dir, o.Seed)
	began := time.Now()
	err = r.play(ctx, v)
	p.stop()
	v.Seconds, v.KillsA, v.KillsB = time.Since(began).Seconds(), p.kills[0], p.kills[1]
	if v.Dir, err = w.tidy(v.OK, o.Keep, err); v.Dir != "" {
		r.line.Say("crash: data and logs are left in %s", v.Dir)
	}
	return v, err
}

// play runs the cycles; the first difference ends it.
func (r *crashRun) play(ctx context.Context, v *CrashVerdict) error {
	if err := r.pair.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	r.ended = r.load.start(ctx, r.o.Seed, r.submit)
	defer func() {
		cancel()
		<-r.ended
	}()
	began := time.Now()
	for last := false; !last; {
		err := r.cycle(ctx, v)
		refused := errors.Is(err, errRefused)
		if err != nil && !refused {
			return err
		}
		v.Cycles++
		r.line.Show(func() string {
			return fmt.Sprintf("crash: cycle %d of %d, %d acknowledged, kills %d and %d",
				v.Cycles, r.o.Cycles, r.load.count.Load(), r.pair.kills[0], r.pair.kills[1])
		})
		last = v.Cycles >= r.o.Cycles || r.o.For > 0 && time.Since(began) >= r.o.For
		if refused || last || v.Cycles%checkEvery == 0 {
			if err := r.check(ctx, v); err != nil || v.Difference != "" {
				return err
			}
		}
		if refused {
			v.Difference = err.Error()
			return nil
		}
	}
	if r.walk != nil {
		return r.walk.complete(v)
	}
	v.OK = true
	return nil
}

// submit is how an operation gets to site-a: tried again under the same request
// id over lost connections, for as long as a restart may take.
func (r *crashRun) submit(ctx context.Context, op *namespace.Operation) (outcome fsclient.Outcome, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, ackWait, errSilent)
	defer cancel()
	err = poll(ctx, pollEvery, func() (bool, error) {
		outcomes, err := r.pair.clients[0].Do(ctx, *op)
		switch {
		case len(outcomes) == 1:
			outcome = outcomes[0]
			return true, nil
		case errors.Is(err, fsclient.ErrUnreachable), errors.Is(err, fsclient.ErrLater):
			return false, nil
		}
		return false, err
	})
	return outcome, err
}

var errSilent = fmt.Errorf("site-a acknowledges nothing for %s", ackWait)

// cycle lets the load run for a moment, kills, starts again, and waits until
// site-a acknowledges.
func (r *crashRun) cycle(ctx context.Context, v *CrashVerdict) error {
	if r.walk != nil {
		if err := r.step(ctx, v); err != nil {
			return err
		}
		return r.progress(ctx)
	}
	pause := loadMin + time.Duration(r.random.Int64N(int64(loadMax-loadMin)))
	if err := r.idle(ctx, pause); err != nil {
		return err
	}
	victims := []int{r.random.IntN(2)}
	if r.random.IntN(10) == 0 {
		victims = []int{0, 1}
	}
	if r.copies != nil {
		if err := r.copies.take(ctx, r.random.IntN(2)); err != nil {
			return err
		}
	}
	for _, i := range victims {
		if err := r.pair.kill(i); err != nil {
			return err
		}
	}
	for _, i := range victims {
		if err := r.pair.processes[i].start(); err != nil {
			return err
		}
	}
	if err := r.progress(ctx); err != nil || r.copies == nil {
		return err
	}
	return r.copies.open(ctx, r.dead)
}

// progress waits until site-a acknowledges one more operation.
func (r *crashRun) progress(ctx context.Context) error {
	before := r.load.count.Load()
	wait, cancel := context.WithTimeoutCause(ctx, ackWait, errSilent)
	defer cancel()
	return r.pair.await(wait, func() (bool, error) {
		return r.load.count.Load() > before, r.failed()
	})
}

// idle lets time pass while the load goes on.
func (r *crashRun) idle(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return errors.Join(r.pair.check(), r.failed())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failed tells why the clients ended, if they did.
func (r *crashRun) failed() error {
	select {
	case err := <-r.ended:
		ended := make(chan error, 1)
		ended <- err
		r.ended = ended
		return fmt.Errorf("clients: %w", err)
	default:
		return nil
	}
}

// check holds the load, lets site-b catch up, and compares.
func (r *crashRun) check(ctx context.Context, v *CrashVerdict) error {
	r.load.gate.Lock()
	defer r.load.gate.Unlock()
	if err := r.pair.settled(ctx, settleWait, nil); err != nil {
		return err
	}
	acked := r.load.refs()
	f, err := r.pair.compare(ctx, acked)
	if err != nil {
		return err
	}
	v.Acked, v.Entries, v.Digest = len(acked), f.entries, f.digest
	v.Lost, v.Duplicated, v.Difference = f.lost, f.duplicated, f.difference
	if r.copies == nil {
		return nil
	}
	if err := r.copies.settle(ctx); err != nil {
		return err
	}
	v.Copies, v.Refused = r.copies.opened, r.copies.refused
	v.Difference = cmp.Or(v.Difference, r.copies.first)
	return nil
}
