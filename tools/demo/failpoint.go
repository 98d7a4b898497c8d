package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
)

const (
	// reachWait is how long a server under load may take to reach its failpoint.
	// One that does not has fewer such calls to make: it is killed.
	reachWait = 3 * time.Second
	// farFrom is where the walk's far steps begin: behind a server's opening, in the
	// middle of its load.
	farFrom = 20
)

// errUnwalked: a run whose failpoints were not reached proves nothing.
var errUnwalked = errors.New("not one failpoint of that kind was reached: the run is invalid")

// walkLane is the site and kind of a failpoint: what the walk counts apart.
type walkLane struct {
	site int
	op   vfs.Op
}

// walk goes through the failpoints of both servers: of every kind, before and after
// the n-th call; near ones, n = 1, 2, 3, …, which fall into opening and recovery,
// and far ones, growing with the square, which fall into the load.
type walk struct {
	round  int
	queue  []walkStep
	end    map[walkLane]int // the smallest n that was not reached
	passed map[walkLane]int // reached
}

type walkStep struct {
	walkLane
	point vfs.Failpoint
}

func newWalk() *walk { return &walk{end: map[walkLane]int{}, passed: map[walkLane]int{}} }

// next returns the next failpoint that may be reached.
func (w *walk) next() walkStep {
	for {
		for len(w.queue) > 0 {
			s := w.queue[0]
			w.queue = w.queue[1:]
			if end := w.end[s.walkLane]; end == 0 || s.point.Call < end {
				return s
			}
		}
		w.round++
		for _, n := range []int{w.round, farFrom + w.round*w.round} {
			for _, op := range vfs.FailpointOps() {
				for _, after := range []bool{false, true} {
					for site := range siteNames {
						point := vfs.Failpoint{Op: op, Call: n, After: after}
						w.queue = append(w.queue, walkStep{walkLane{site, op}, point})
					}
				}
			}
		}
	}
}

// note notes whether a failpoint was reached.
func (w *walk) note(s walkStep, reached bool) {
	if reached {
		w.passed[s.walkLane]++
	} else if end := w.end[s.walkLane]; end == 0 || s.point.Call < end {
		w.end[s.walkLane] = s.point.Call
	}
}

// complete judges a run without a difference: it must have reached each kind of
// call that it tried.
func (w *walk) complete(v *CrashVerdict) error {
	for lane := range w.end {
		if w.passed[lane] == 0 {
			first := vfs.Failpoint{Op: lane.op, Call: w.end[lane]}
			return fmt.Errorf("%s at %s: %w", first, siteNames[lane.site], errUnwalked)
		}
	}
	v.OK = true
	return nil
}

// step starts a server so that it ends at the next failpoint, waits for that, and
// starts it again.
func (r *crashRun) step(ctx context.Context, v *CrashVerdict) error {
	s := r.walk.next()
	if err := r.pair.kill(s.site); err != nil {
		return err
	}
	server := r.pair.processes[s.site]
	if err := server.startAt(s.point.String()); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	reached := server.ended(limit)
	if reached {
		v.Failpoints++
		r.walk.note(s, true)
		return errors.Join(ctx.Err(), server.start())
	}
	if err := r.pair.kill(s.site); err != nil {
		return err
	}
	select {
	case err := <-r.pair.died: // it ended by itself, and not there
		if !server.portTaken(err) {
			return err
		}
	default:
		r.walk.note(s, false)
	}
	return errors.Join(ctx.Err(), server.start())
}
