package sim

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// strike carries out one line of the plan. A fault that finds nothing to spoil
// is not counted.
func (w *world) strike(f *item) {
	if w.healed {
		return
	}
	s := w.sites[f.site]
	if f.kind == burst {
		w.load.burst(f)
	} else if !s.strikeLinks(f) && !s.strikeDisk(f) {
		s.strikeProcess(f)
	}
}

// strikeLinks carries out what happens to links; false if that is something else.
func (s *site) strikeLinks(f *item) bool {
	w := s.w
	other := w.sites[w.otherOf(f)]
	out, back := &w.net.paths[s.place][other.place], &w.net.paths[other.place][s.place]
	switch f.kind {
	case cutOneWay:
		w.net.cut(f.kind, f.span, out)
	case cutBoth:
		w.net.cut(f.kind, f.span, out, back)
	case isolate, isolateIn, isolateOut:
		w.net.cut(f.kind, f.span, w.net.waysOf(f.kind, s.place)...)
	case swizzle:
		w.net.swizzle(f)
	case flap:
		w.net.flap(f, out, back)
	case reset:
		w.net.resetAll(f)
	case flipFrame:
		out.flips = append(out.flips, f)
	case staleFrame:
		out.replay = append(out.replay, f)
	case swapBatches:
		s.swaps = append(s.swaps, f)
	case dialFailure:
		w.spell(f.span, &out.noDial)
	case slowLink:
		w.spell(f.span, &out.slow)
	default:
		return false
	}
	return true
}

// strikeDisk carries out what happens to a disk.
func (s *site) strikeDisk(f *item) bool {
	switch f.kind {
	case failWrite:
		s.disk.failNext[0] = 1
	case failSync:
		s.disk.failNext[1] = 1
	case diskFull:
		s.disk.paid[f.kind] = false
		s.w.spell(f.span, &s.disk.noSpace)
	case slowDisk:
		s.w.spell(f.span, &s.disk.slow)
	case headFlip:
		s.disk.flipHead(f)
	case noFiles:
		s.disk.paid[f.kind] = false
		s.w.spell(f.span, &s.disk.noFiles)
	case latentFlip:
		s.disk.flip(f, s.disk.extents)
	case ownFlip:
		s.disk.flip(f, s.disk.ownExtents)
	case lostWrite, misdirectedWrite:
		s.disk.astray = append(s.disk.astray, f)
	case readErrors:
		s.disk.paid[f.kind] = false
		s.w.spell(f.span, &s.disk.unreadable)
	default:
		return false
	}
	return true
}

// strikeProcess carries out what happens to a process, its machine or its clock.
func (s *site) strikeProcess(f *item) {
	switch f.kind {
	case kill, power:
		s.arm(f)
	case bothDown:
		for _, s := range s.w.sites {
			s.arm(f)
		}
	case wipePrimary, wipeStandby:
		s.image = emptyImage()
		s.restore(f)
	case restorePrimary, restoreStandby:
		s.planRestore(f)
	case clone:
		s.clone(f)
	case loseOwn:
		s.loseOwn(f)
	case usurp:
		s.usurp(f)
	case copyBack:
		s.copyBack(f)
	case lose, cutOff:
		s.lose(f)
	case restart:
		s.restart(f)
	case unconfigure:
		s.unconfigure(f)
	case trim:
		s.trim()
	case clockJump:
		s.jump(f)
	case pause:
		s.pause(f)
	}
}

// otherOf is the other site of a fault between two.
func (w *world) otherOf(f *item) int {
	n := len(w.sites)
	return (f.site + 1 + int(f.draw>>32)%(n-1)) % n
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
func (s *site) arm(f *item) {
	if s.p == nil || s.armed != nil {
		return
	}
	s.armed = f
	if f.phase == phaseFetched {
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
func (s *site) jump(f *item) {
	if f.phase == phaseOpen && s.p != nil {
		s.jumpNext = f
		return
	}
	s.clock.offset += time.Duration(int64(f.draw%uint64(20*time.Minute))) - 10*time.Minute
	if s.p == nil {
		s.w.mark("clock jumped while down")
	}
}

func (s *site) pause(f *item) {
	if s.p == nil {
		return
	}
	if to := s.w.now + f.span*4; to > s.pausedTo {
		s.pausedTo, s.pauseStruck = to, false
	}
}

// imageAge is how old an image is that is put back, in spans of its item.
const imageAge = 5

// planRestore takes the image now and puts it back later, while everything that
// the image lacks may have gone on.
func (s *site) planRestore(f *item) {
	s.image = s.takeImage()
	s.w.after(f.span*imageAge, func() {
		if !s.w.healed {
			s.restore(f)
		}
	})
}
