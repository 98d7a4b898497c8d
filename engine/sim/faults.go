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
	other := w.sites[w.otherOf(f)]
	out, back := &w.net.paths[s.index][other.index], &w.net.paths[other.index][s.index]
	switch f.kind {
	case burst:
		w.load.burst(f)
	case cutOneWay:
		w.net.cut(f.kind, f.span, out)
	case cutBoth:
		w.net.cut(f.kind, f.span, out, back)
	case isolate, isolateIn, isolateOut:
		w.net.cut(f.kind, f.span, w.net.waysOf(f.kind, s.index)...)
	case swizzle:
		w.net.swizzle(f)
	case flap:
		w.net.flap(f, out, back)
	case lose, cutOff:
		s.lose(f)
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
	case kill, power:
		s.arm(f)
	case bothDown:
		for _, s := range w.sites {
			s.arm(f)
		}
	case failWrite:
		s.disk.failNext[0] = 1
	case failSync:
		s.disk.failNext[1] = 1
	case diskFull:
		w.spell(f.span, &s.disk.noSpace)
	case slowDisk:
		w.spell(f.span, &s.disk.slow)
	case latentFlip:
		s.disk.flip(f)
	case ownFlip:
		s.disk.flipOwn(f)
	case lostWrite, misdirectedWrite:
		s.disk.astray = append(s.disk.astray, f)
	case readErrors:
		w.spell(f.span, &s.disk.unreadable)
	case wipePrimary, wipeStandby:
		s.image = emptyImage()
		s.restore(f)
	case restorePrimary, restoreStandby:
		s.planRestore(f)
	case restart:
		s.restart(f)
	case unconfigure:
		s.unconfigure(f)
	case trim:
		s.trim()
	case clockJump:
		s.clock.offset += time.Duration(int64(f.draw%uint64(20*time.Minute))) - 10*time.Minute
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
	if s.p != nil && s.armed == nil {
		s.armed = f
	}
}

func (s *site) pause(f *item) {
	if s.p == nil {
		return
	}
	s.pausedTo, s.pauseStruck = s.w.now+f.span*4, false
}

// planRestore takes the image now and puts it back later, while everything that
// the image lacks may have gone on.
func (s *site) planRestore(f *item) {
	s.takeImage()
	s.w.after(f.span*5, func() {
		if !s.w.healed {
			s.restore(f)
		}
	})
}
