package sim

import (
	"time"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// strike carries out one line of the plan. A fault that finds nothing to spoil
// is not counted.
func (w *world) strike(f *plan.Item) {
	if w.healed {
		return
	}
	s := w.sites[f.Site]
	if f.Kind == plan.Burst {
		w.load.burst(f)
	} else if !s.strikeLinks(f) && !s.strikeDisk(f) {
		s.strikeProcess(f)
	}
}

// strikeLinks carries out what happens to links; false if that is something else.
func (s *site) strikeLinks(f *plan.Item) bool {
	w := s.w
	other := w.sites[w.otherOf(f)]
	out, back := &w.net.paths[s.place][other.place], &w.net.paths[other.place][s.place]
	switch f.Kind {
	case plan.CutOneWay:
		w.net.cut(f.Kind, f.Span, out)
	case plan.CutBoth:
		w.net.cut(f.Kind, f.Span, out, back)
	case plan.Isolate, plan.IsolateIn, plan.IsolateOut:
		w.net.cut(f.Kind, f.Span, w.net.waysOf(f.Kind, s.place)...)
	case plan.Swizzle:
		w.net.swizzle(f)
	case plan.Flap:
		w.net.flap(f, out, back)
	case plan.Reset:
		w.net.resetAll(f)
	case plan.FlipFrame:
		out.flips = append(out.flips, f)
	case plan.StaleFrame:
		out.replay = append(out.replay, f)
	case plan.SwapBatches:
		s.swaps = append(s.swaps, f)
	case plan.DialFailure:
		w.spell(f.Span, &out.noDial)
	case plan.SlowLink:
		w.spell(f.Span, &out.slow)
	default:
		return false
	}
	return true
}

// strikeDisk carries out what happens to a disk.
func (s *site) strikeDisk(f *plan.Item) bool {
	switch f.Kind {
	case plan.FailWrite:
		s.disk.failNext[0] = 1
	case plan.FailSync:
		s.disk.failNext[1] = 1
	case plan.DiskFull:
		s.disk.paid[f.Kind] = false
		s.w.spell(f.Span, &s.disk.noSpace)
	case plan.SlowDisk:
		s.w.spell(f.Span, &s.disk.slow)
	case plan.HeadFlip:
		s.disk.flipHead(f)
	case plan.NoFiles:
		s.disk.paid[f.Kind] = false
		s.w.spell(f.Span, &s.disk.noFiles)
	case plan.LatentFlip:
		s.disk.flip(f, s.disk.extents)
	case plan.OwnFlip:
		s.disk.flip(f, s.disk.ownExtents)
	case plan.LostWrite, plan.MisdirectedWrite:
		s.disk.astray = append(s.disk.astray, f)
	case plan.ReadErrors:
		s.disk.paid[f.Kind] = false
		s.w.spell(f.Span, &s.disk.unreadable)
	default:
		return false
	}
	return true
}

// strikeProcess carries out what happens to a process, its machine or its clock.
func (s *site) strikeProcess(f *plan.Item) {
	switch f.Kind {
	case plan.Kill, plan.Power:
		s.arm(f)
	case plan.BothDown:
		for _, s := range s.w.sites {
			s.arm(f)
		}
	case plan.WipePrimary, plan.WipeStandby:
		s.image = emptyImage()
		s.restore(f)
	case plan.RestorePrimary, plan.RestoreStandby:
		s.planRestore(f)
	case plan.Clone:
		s.clone(f)
	case plan.LoseOwn:
		s.loseOwn(f)
	case plan.Usurp:
		s.usurp(f)
	case plan.TakeIn:
		s.takeIn(f)
	case plan.Dismiss:
		s.dismiss(f)
	case plan.CopyBack:
		s.copyBack(f)
	case plan.NewEpoch:
		s.newEpoch(f)
	case plan.Switchover:
		s.switchover(f)
	case plan.Promote:
		s.promote(f)
	case plan.Lose, plan.CutOff:
		s.lose(f)
	case plan.Restart:
		s.restart(f)
	case plan.Unconfigure:
		s.unconfigure(f)
	case plan.Trim:
		s.trim()
	case plan.ClockJump:
		s.jump(f)
	case plan.Pause:
		s.pause(f)
	}
}

// otherOf is the other site of a fault between two.
func (w *world) otherOf(f *plan.Item) int {
	n := len(w.sites)
	return (f.Site + 1 + int(f.Draw>>32)%(n-1)) % n
}

// siteOf finds a site by its identity.
func (w *world) siteOf(id wire.SiteID) *site {
	for _, s := range w.sites {
		if s.id == id {
			return s
		}
	}
	return nil
}

// spell raises a counter for a while.
func (w *world) spell(span time.Duration, counter *int) {
	*counter++
	w.after(span, func() {
		if *counter > 0 {
			*counter--
		}
	})
}

// arm lets a kill or power cut wait for its phase.
func (s *site) arm(f *plan.Item) {
	if s.p == nil || s.armed != nil {
		return
	}
	s.armed = f
	if f.Phase == plan.PhaseFetched {
		s.w.after(fetchedMax, func() {
			if s.armed == f {
				s.armed = nil
			}
		})
	}
}

// fetchedMax is how long a kill waits for fetched batches.
const fetchedMax = 10 * time.Second

// jump sets the wall clock forward or back, at once or before the next start.
func (s *site) jump(f *plan.Item) {
	if f.Phase == plan.PhaseOpen && s.p != nil {
		s.jumpNext = f
		return
	}
	s.clock.offset += time.Duration(int64(f.Draw%uint64(20*time.Minute))) - 10*time.Minute
	if s.p == nil {
		s.w.mark("clock jumped while down")
	}
}

// planRestore takes the image now and puts it back later, while everything that
// the image lacks may have gone on.
func (s *site) planRestore(f *plan.Item) {
	s.image = s.takeImage()
	s.w.after(f.Span*plan.ImageAge, func() {
		if !s.w.healed {
			s.restore(f)
		}
	})
}
