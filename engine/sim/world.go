package sim

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// Bounds of one run.
const (
	stepsMax  = 2_000_000         // beyond it a world is taken to be spinning
	healedMax = 120 * time.Second // I14: after healing, rest comes within this
)

// Options of one world.
type Options struct {
	Seed  uint64
	Plan  *plan.Plan // nil = what Seed decides
	File  string     // where Plan was read from, for the command that lives it again; "" = nowhere
	Plant plan.Plant // a mistake to make on purpose; "" = the plan's, if any
	Trace bool       // keep every line of the trace in Result.Trace
}

// Result is what came of one world.
type Result struct {
	Seed   uint64
	Plan   *plan.Plan
	Steps  int            // events that changed something
	Faults int            // faults that changed an outcome
	Kinds  map[string]int // of them, by kind
	Marks  map[string]int // interesting situations that were reached
	Hash   uint64         // of the whole trace
	Time   time.Duration  // virtual
	Acked  int            // entries acknowledged as local
	Trace  string
	Breach *Breach // nil = every invariant held
}

// Line is what came of the world, in short.
func (r *Result) Line() string {
	broken := 0
	if r.Breach != nil {
		broken = 1
	}
	return fmt.Sprintf("sim: seed=%d steps=%d faults=%d acked=%d virtual=%s trace=%016x broken=%d",
		r.Seed, r.Steps, r.Faults, r.Acked, r.Time, r.Hash, broken)
}

// Breach is an invariant that did not hold.
type Breach struct {
	Seed      uint64
	Step      int
	At        time.Duration
	Invariant string // "I1" … "I14", "panic", or "world" for the simulator's own
	Text      string
	Plant     plan.Plant
	Mistake   string // of the museum, which this process makes; "" = none
	Plan      string // in short
	Last      string // the last lines of the trace
	File      string // of the plan; "" = the seed decided it
}

func (b *Breach) Error() string {
	return fmt.Sprintf("%s\n%slast events:\n%sreplay: %s", b.Head(), b.Plan, b.Last, b.Replay())
}

// Head is the breach in one line.
func (b *Breach) Head() string {
	return fmt.Sprintf("seed %d, step %d, at %s: %s is broken: %s", b.Seed, b.Step, b.At, b.Invariant, b.Text)
}

// Replay is the command that lives this world again.
func (b *Breach) Replay() string {
	if b.Invariant == invariantTrace { // which a campaign alone looks at
		return fmt.Sprintf("%s sim run --seeds %d%s", b.program(), b.Seed, b.plantArgument())
	}
	return fmt.Sprintf("%s sim replay %s --trace%s", b.program(), b.world(), b.plantArgument())
}

// Shrink is the command that shortens its plan; "" where one run shows nothing.
func (b *Breach) Shrink() string {
	if b.Invariant == invariantTrace {
		return ""
	}
	return b.program() + " sim shrink " + b.world() + b.plantArgument()
}

// program is what makes the same mistakes as this process: none, or the one of the
// museum that its environment named, which only a build with the museum knows.
func (b *Breach) program() string {
	if b.Mistake == "" {
		return "cfs"
	}
	return "CLAUDEFS_PLANT=" + b.Mistake + " go run -tags plant ./tools/cfs"
}

// world is how a command names it: by the file of its plan, or by its seed.
func (b *Breach) world() string { return cmp.Or(b.File, strconv.FormatUint(b.Seed, 10)) }

func (b *Breach) plantArgument() string {
	if b.Plant == "" {
		return ""
	}
	return " --plant " + string(b.Plant)
}

// move is something that happens at a time; tie keeps those of one moment in
// the order in which they were asked for.
type move struct {
	at  time.Duration
	tie uint64
	run func()
}

// world is everything that one seed decides. One goroutine.
type world struct {
	o       Options
	plan    *plan.Plan
	now     time.Duration
	heap    []move
	tie     uint64
	steps   int
	faults  int
	kinds   map[string]int
	marks   map[string]int
	trace   trace
	net     *network
	lineage lineage
	sites   []*site // by their places; of a cloned one the copy that can be reached
	copies  []*site // the same, and the clone or its original
	load    *load
	check   *checker
	epoch   wire.Epoch // the highest one in which a site was admitted
	wish    wish       // of the operator, for the third site
	healed  bool       // the fault phase is over
	forked  bool       // the writer was cloned: a log may have two histories
	probed  bool       // appends were made at rest, see lost.go
	done    bool
}

func newWorld(o Options) *world {
	set := o.Plan
	if set == nil {
		set = plan.Of(o.Seed)
	}
	o.Seed = set.Seed
	o.Plant = cmp.Or(o.Plant, set.Plant)
	return &world{o: o, plan: set, epoch: role.First, kinds: map[string]int{}, marks: map[string]int{}}
}

// Run lives one world to its end.
func Run(o Options) (r Result) {
	w := newWorld(o)
	if o.Trace {
		w.trace.full = &strings.Builder{}
	}
	defer func() {
		broken := recover()
		r = Result{
			Seed: w.o.Seed, Plan: w.plan, Steps: w.steps, Faults: w.faults, Kinds: w.kinds, Marks: w.marks,
			Hash: w.trace.hash, Time: w.now,
		}
		if w.load != nil {
			r.Acked = w.load.acked
		}
		if o.Trace {
			r.Trace = w.trace.full.String()
		}
		switch b := broken.(type) {
		case nil:
		case *Breach:
			r.Breach = b
		default:
			r.Breach = w.breach("panic", "%v\n%s", b, debug.Stack())
		}
	}()
	w.build()
	for !w.done {
		w.next()
	}
	return r
}

func (w *world) build() {
	w.lineage = lineage{}
	w.check = newChecker(w)
	w.net = newNetwork(w)
	for i := range w.plan.SiteCount {
		w.sites = append(w.sites, newSite(w, i, i))
	}
	w.copies = slices.Clone(w.sites)
	w.load = newLoad(w)
	if len(w.sites) > plan.ThirdSite {
		third := w.sites[plan.ThirdSite]
		third.late = joins(w.plan)
		third.outside = third.late
	}
	for _, s := range w.sites {
		s.start()
	}
	w.schedule(0)
	w.after(boundsEvery, w.check.bounded)
	w.at(w.plan.Duration, w.heal)
}

// schedule has the n-th item of the plan happen, and then the others.
func (w *world) schedule(n int) {
	if n == len(w.plan.Items) {
		return
	}
	w.at(w.plan.Items[n].At, func() {
		w.strike(&w.plan.Items[n])
		w.schedule(n + 1)
	})
}

// at runs an event at a time, not before now.
func (w *world) at(t time.Duration, run func()) {
	w.tie++
	w.push(move{max(t, w.now), w.tie, run})
}

func (w *world) after(d time.Duration, run func()) { w.at(w.now+d, run) }

func (w *world) next() {
	if len(w.heap) == 0 {
		w.fail("world", "nothing left to happen")
	}
	if w.steps > stepsMax {
		w.fail("I14", "no rest after %d steps", w.steps)
	}
	e := w.pop()
	w.now = e.at
	e.run()
}

func (e *move) before(o *move) bool {
	return e.at < o.at || e.at == o.at && e.tie < o.tie
}

func (w *world) push(e move) {
	h := append(w.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	w.heap = h
}

func (w *world) pop() move {
	h := w.heap
	top, n := h[0], len(h)-1
	h[0], h[n] = h[n], move{}
	h = h[:n]
	for i := 0; ; {
		least, left := i, 2*i+1
		for _, c := range [2]int{left, left + 1} {
			if c < n && h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	w.heap = h
	return top
}

// step counts an event that changed something, and traces it.
func (w *world) step(site int, what string, a, b uint64) {
	w.steps++
	w.trace.add(line{w.now, w.steps, int8(site), what, a, b})
}

// note traces what is not a step.
func (w *world) note(site int, what string) {
	w.trace.add(line{w.now, w.steps, int8(site), what, 0, 0})
}

// fault counts a fault that changed an outcome.
func (w *world) fault(kind plan.Kind) {
	w.faults++
	w.kinds[kind.String()]++
	w.mark("fault " + kind.String())
	w.trace.add(line{w.now, w.steps, -1, "fault " + kind.String(), uint64(w.faults), 0})
}

func (w *world) mark(name string) { w.marks[name]++ }

func (w *world) breach(invariant, format string, args ...any) *Breach {
	return &Breach{
		Seed: w.o.Seed, Step: w.steps, At: w.now, Invariant: invariant, Text: fmt.Sprintf(format, args...),
		Plant: w.o.Plant, Mistake: plant.Name, Plan: w.plan.Summary(), Last: w.trace.last(), File: w.o.File,
	}
}

// fail ends the world: an invariant is broken.
func (w *world) fail(invariant, format string, args ...any) {
	panic(w.breach(invariant, format, args...))
}

// heal ends the fault phase: from here on everything works, and the world must
// come to rest.
func (w *world) heal() {
	w.healed = true
	w.after(operatorEvery, w.operate)
	w.endClone()
	w.net.heal()
	for _, s := range w.sites {
		s.heal()
	}
	deadline := w.now + healedMax
	if len(w.core()) == len(w.sites) {
		w.awaitRest(deadline)
		return
	}
	// What is appended at rest meets no link that lost a frame before: it has ended.
	w.after(w.plan.Patience()+time.Second, func() { w.awaitRest(deadline) })
}

// awaitRest looks from time to time whether everything has come to rest.
func (w *world) awaitRest(deadline time.Duration) {
	why := ""
	if w.forked {
		why = w.check.unnamed()
	} else {
		why = w.check.restless()
	}
	if why == "" {
		why = w.check.torn()
	}
	switch {
	case why == "" && w.forked:
		w.check.kept()
		w.done = true
	case why == "" && w.probe():
		w.after(0, func() { w.awaitRest(deadline) })
	case why == "":
		w.check.converged()
		w.done = true
		if len(w.core()) > 2 {
			w.mark("three sites at rest")
		}
		w.restedWithoutLost()
	case w.now > deadline:
		w.fail("I14", "%s after healing: %s", healedMax, why)
	default:
		w.after(100*time.Millisecond, func() { w.awaitRest(deadline) })
	}
}
