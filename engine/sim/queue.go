package sim

import (
	"slices"
	"syscall"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
)

// OpenQueue implements vfs.Queuer: several durable writes are under way, and end in
// any order.
func (d *disk) OpenQueue(o vfs.QueueOptions) (vfs.Queue, error) {
	return &diskQueue{Bell: vfs.NewBell(), d: d, depth: o.Depth}, nil
}

// diskQueue is a queue of the disk. A write reaches the cache at once, the medium
// when it ends. The ledger hears of it when all that was begun before it has ended
// too: only one stretch may be counted on.
type diskQueue struct {
	*vfs.Bell
	d     *disk
	depth int
	under []*queued // oldest first; those that ended stay while an older one has not
}

type queued struct {
	f     *diskFile
	user  uint64
	found []extent
	one   vfs.Queue // of the memory disk, for this write alone; nil = failed already
	err   error
	ended bool
}

func (q *diskQueue) Write(f vfs.File, parts [][]byte, off int64, user uint64) {
	file, d := f.(*diskFile), q.d
	w, state := &queued{f: file, user: user}, d.file(file.name)
	torn := len(q.under) > 0 && q.under[len(q.under)-1].err == errTorn
	q.under = append(q.under, w)
	if w.err = file.spoilWrite(parts, off); torn {
		w.err = errTorn // the process is dead already
	}
	if w.err != nil {
		state.liar = state.liar || w.err != errTorn // what lies behind it must not be found in a cache
		return
	}
	w.found = file.readAlong(parts, off)
	state.pending = append(state.pending, w.found...)
	if w.one, w.err = d.mem.OpenQueue(vfs.QueueOptions{Depth: 1}); w.err == nil {
		w.one.Write(file.File, parts, off, user)
	}
}

func (q *diskQueue) Room(int, int) bool {
	inflight := 0
	for _, w := range q.under {
		if !w.ended {
			inflight++
		}
	}
	return inflight < q.depth
}

// Wait ends one write, whichever the disk likes.
func (q *diskQueue) Wait(done []vfs.Written, sleep bool) []vfs.Written {
	var inflight []*queued
	for _, w := range q.under {
		if !w.ended {
			inflight = append(inflight, w)
		}
	}
	if !sleep || len(inflight) == 0 {
		return done
	}
	w := inflight[q.d.draw.IntN(len(inflight))]
	w.ended = true
	if len(inflight) > 1 && w != inflight[0] {
		q.d.w.mark("units ended out of order")
	}
	if w.err == nil {
		w.err = q.sync(w)
	}
	for len(q.under) > 0 && q.under[0].ended && q.under[0].err == nil {
		q.settle(q.under[0])
		q.under = q.under[1:]
	}
	return append(done, vfs.Written{User: w.user, Err: w.err})
}

// sync puts a write on the medium.
func (q *diskQueue) sync(w *queued) error {
	state := q.d.file(w.f.name)
	if q.d.failNext[1] > 0 && len(w.found) > 0 {
		q.d.failNext[1]--
		q.d.w.fault(plan.FailSync)
		state.liar = true
		return syscall.EIO
	}
	return w.one.Wait(nil, true)[0].Err
}

// settle enters what a write made durable into the ledger.
func (q *diskQueue) settle(w *queued) {
	state := q.d.file(w.f.name)
	state.pending = slices.DeleteFunc(state.pending, func(x extent) bool {
		return slices.ContainsFunc(w.found, func(y extent) bool { return x.off == y.off })
	})
	for _, x := range w.found {
		q.d.durable(x)
	}
}

func (q *diskQueue) About() string { return "a disk of the simulator" }

func (q *diskQueue) Close() error { return nil }

// fly begins as many units as the pipeline takes.
func (f *flusher) fly() {
	for f.pipe.Begin() {
		f.p.site.w.step(f.p.site.index, "write", uint64(f.which), 0)
		f.p.later(plan.PhaseSync, f.p.site.disk.flushTime(), f.land)
	}
}

// land is the end of one unit, not always the oldest.
func (f *flusher) land() {
	done, err := f.pipe.End()
	f.p.site.w.step(f.p.site.index, "flushed", uint64(f.which), uint64(done.Unit))
	f.ended(done, err)
}

// openPipeline has a flusher write several units at a time, where the site does.
func (f *flusher) openPipeline() {
	if depth := f.p.site.plan().QueueDepth; depth > 1 {
		f.pipe = f.j.OpenPipeline(journal.PipelineOptions{Depth: depth})
	}
}
