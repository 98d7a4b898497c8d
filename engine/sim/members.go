package sim

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// The third site joins while the others work, is removed, and comes back: as it was, or with an
// empty disk. An operator asks each of the others, one after the other, until what he asked for is
// durable there; one that is down is asked when it is up.
//
//	outside ── take-in ──▶ member ── dismiss ──▶ outside, and alive: it is refused
//	                          ▲                     │
//	                          └────── take-in ──────┘

// membersEvery is between two looks of the operator.
const membersEvery = 50 * time.Millisecond

// wish is what the operator wants of the third site, and how often that has changed.
type wish struct {
	number int
	in     bool
}

// joins says whether the plan has the third site come later.
func joins(p *plan.Plan) bool {
	i := slices.IndexFunc(p.Items, func(f plan.Item) bool { return f.Kind == plan.TakeIn || f.Kind == plan.Dismiss })
	return i >= 0 && p.Items[i].Kind == plan.TakeIn
}

// takeIn has the third site taken in.
func (s *site) takeIn(f *plan.Item) {
	w := s.w
	if !s.outside {
		return
	}
	s.outside = false
	w.wants(wish{w.wish.number + 1, true})
	w.fault(f.Kind)
	switch {
	case s.starts == 0:
		s.start()
	case f.Draw%2 == 0:
		s.image = emptyImage()
		s.restore(f)
		s.image = nil
	}
}

// dismiss has the third site removed. It goes on.
func (s *site) dismiss(f *plan.Item) {
	if s.outside {
		return
	}
	s.outside = true
	s.w.wants(wish{s.w.wish.number + 1, false})
	s.w.fault(f.Kind)
}

// wants has the operator ask the others.
func (w *world) wants(now wish) {
	w.wish = now
	w.after(0, w.askMembers)
}

// askMembers asks each site that has not got it durably, and looks again later.
func (w *world) askMembers() {
	third, number := w.sites[plan.ThirdSite], w.wish.number
	again := false
	for _, s := range w.sites {
		if s == third || s.granted == number {
			continue
		}
		again = true
		switch p := s.p; {
		case p == nil || p.dead || s.paused():
		case p.asked != number:
			p.asked = number
			p.askMember(third)
		case p.node.Recorded():
			s.granted = number
		}
	}
	if again {
		w.after(membersEvery, func() {
			if w.wish.number == number {
				w.askMembers()
			}
		})
	}
}

// askMember tells a process what the operator wants of the third site.
func (p *process) askMember(third *site) {
	name := siteNames[third.place]
	if p.site.w.wish.in {
		in := &node.AddPeer{Peer: node.Peer{Site: third.id, Name: name}, Addrs: []string{name}}
		if p.step(in, "add", uint64(third.place), 0); in.Err != nil {
			p.site.w.fail("I10", "%s does not take %s in: %v", siteNames[p.site.index], name, in.Err)
		}
		return
	}
	p.step(&node.Forget{Site: third.id, Remove: true, By: "the operator"}, "remove", uint64(third.place), 0)
}

// membership is what a process knows of the other sites, by place.
type membership struct {
	peer    [plan.SitesMax]bool
	learner [plan.SitesMax]bool
	awaited [plan.SitesMax]bool // by an opening: it may have more
}

// members reads it from what a process opens with.
func (p *process) members() {
	control := p.own.j.Control()
	for _, m := range node.Members(p.named(), control.Sites, control.Removed) {
		place := p.site.w.siteOf(m.Site).place
		p.peer[place] = true
		p.learner[place] = p.founded && m.Record != nil && m.Record.Learner
		p.awaited[place] = !p.learner[place]
	}
	for i := range control.Peers {
		p.awaited[p.site.w.siteOf(control.Peers[i].Site).place] = true
	}
}

// joined follows what the heart says of sites that come and go.
func (p *process) joined(events []event.Event) {
	for i := range events {
		switch e := events[i].(type) {
		case *event.SiteAdded:
			place := p.site.w.siteOf(e.Peer).place
			p.peer[place], p.learner[place] = true, e.Learner
		case *event.SiteFull:
			p.learner[p.site.w.siteOf(e.Peer).place] = false
		case *event.Forgotten:
			p.parted(p.site.w.siteOf(e.Peer))
		case *event.RefusedByPeer:
			if e.Code == wire.RefuseRemoved {
				p.site.w.mark("removed site refused")
			}
		}
	}
}

// parted: nothing that a site confirmed counts any more.
func (p *process) parted(s *site) {
	p.peer[s.place], p.learner[s.place], p.awaited[s.place] = false, false, false
	delete(p.lagSeen, s.id)
	t := p.site.w.load.of(p.site)
	clear(t.mirrored[s.place])
	clear(t.confirmed[s.place])
	clear(t.owed[s.place])
}

// learning says which peer of a process at rest is a learner still; "" = none is.
func (p *process) learning() string {
	for _, s := range p.node.Status(p.now()).Peers {
		if s.Learner {
			return s.Name + " is a learner still at " + siteNames[p.site.index]
		}
	}
	return ""
}
