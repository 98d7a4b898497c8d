package sim

import (
	"errors"

	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// What an operator does to a site.

// restart stops the process in order and starts it again after a while. With a
// flush under way it is a kill: nobody waits for it here.
func (s *site) restart(f *plan.Item) {
	p := s.p
	if p == nil || p.site.paused() {
		return
	}
	if !p.close() {
		s.die(false, f.Span, f.Stream())
		return
	}
	s.w.mark("orderly restart")
	s.die(false, f.Span, f.Stream())
}

// close ends the journals as the engine's Close does; false if they are busy.
func (p *process) close() bool {
	both := [2]*flusher{p.own, p.mirror}
	for _, f := range both {
		if f.busy || f.pipe != nil && f.pipe.Inflight() > 0 || f.j.Err() != nil {
			return false
		}
	}
	for _, r := range p.readers {
		r.close()
	}
	for _, f := range p.feeds {
		if f.r != nil {
			f.r.Close()
		}
	}
	p.writer.Close()
	var err error
	for _, f := range both {
		if f.pipe != nil {
			err = errors.Join(err, f.pipe.Close())
		}
		err = errors.Join(err, f.j.Close())
	}
	return err == nil
}

// unconfigure starts the site with a configuration that names no peer, and later
// again with the one that does. The peer stays registered meanwhile: what it needs
// must not go (I12).
func (s *site) unconfigure(f *plan.Item) {
	if s.p == nil || s.alone {
		return
	}
	s.alone = true
	s.w.mark("peer left out of the configuration")
	s.die(false, f.Span/8, f.Stream())
	s.w.after(f.Span, func() { s.configure(f) })
}

func (s *site) configure(f *plan.Item) {
	if !s.alone {
		return
	}
	s.alone = false
	if s.p != nil {
		s.die(false, f.Span/8, f.Stream())
	}
}

// trim gives spare segments back to the system.
func (s *site) trim() {
	if s.p == nil {
		return
	}
	for _, f := range [2]*flusher{s.p.own, s.p.mirror} {
		before := f.j.Stats().Spare
		if err := f.j.Trim(); err == nil && f.j.Stats().Spare < before {
			s.w.mark("spare segments trimmed")
		}
	}
}

// emptyImage is a new disk and a new Store.
func emptyImage() *image {
	i := &image{mem: vfs.NewMem(vfs.MemOptions{}), crashed: map[string][]extent{}, store: store.NewMem()}
	i.harm.batches, i.harm.mended = map[wire.Chain]wire.BatchHeader{}, map[wire.Chain]bool{}
	for journal := range i.books {
		i.books[journal] = map[wire.LogID]*ledger{}
	}
	return i
}
