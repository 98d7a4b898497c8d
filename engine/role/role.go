package role

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Peer is what a peer's word about the writer is worth, and what it said.
type Peer struct {
	step.Peer
	Configured bool
	Learner    bool   // taken in while this site works, and does not hold everything yet: counts for nothing
	Registered bool   // in the control state: it welcomed us once, and holds the floor until it is forgotten
	Answered   bool   // reported its positions at least once since open
	Contrary   string // it names another primary: what was said; "" = it does not, or has not said
}

// Awaited says that a peer may have something of this site that it has lost. A learner that
// never answered has nothing.
func (p *Peer) Awaited() bool { return p.Configured && !p.Learner || p.Registered }

// Unheard says that a peer may have more than this site, and has not reported since open.
func (p *Peer) Unheard() bool { return p.Awaited() && !p.Answered }

// Role is what one site knows about who writes.
type Role struct {
	Writers
	Peers []*Peer // sorted by site
	Known Known   // where logs end

	t       *step.Turn
	founded bool
}

// New returns the role of a site with this configuration. founded: see step.Boot.
func New(t *step.Turn, founded bool) *Role {
	return &Role{Writers: Writers{t.C.Primary, max(t.C.Epoch, First)}, t: t, founded: founded}
}

// Own says whether this site writes its logs.
func (r *Role) Own() bool { return r.Writes(r.t.C.Site) }

// Hear compares the epoch and the writer of a hello with those that this site knows. why: it
// is refused. raise: the peer knows a higher epoch, which is to be taken over before anything
// else is said; 0 = it does not.
func (r *Role) Hear(h *wire.Hello) (raise wire.Epoch, why *step.Stop) {
	theirs := max(h.Epoch, First)
	switch {
	case theirs > r.Epoch:
		return r.raised(theirs, h.SiteName)
	case theirs < r.Epoch && !plant.OldEpochWelcome:
		return 0, step.Stopf(wire.RefuseFenced, "site %q is at epoch %s, %s writes since epoch %s: it follows",
			h.SiteName, theirs, r.t.SiteName(r.Primary), r.Epoch)
	case h.Primary != r.Primary:
		return 0, step.Stopf(wire.RefusePrimary,
			"site %q takes %s for the primary, site %q takes %s: name the one that has the data, at every site",
			h.SiteName, r.t.SiteName(h.Primary), r.t.C.SiteName, r.t.SiteName(r.Primary))
	}
	return 0, nil
}

// Fenced takes the epoch of a peer that refused ours for being lower; see Hear.
func (r *Role) Fenced(e wire.Epoch, peer string) (raise wire.Epoch, why *step.Stop) {
	if e <= r.Epoch {
		return 0, nil // raised since
	}
	return r.raised(e, peer)
}

// raised is an epoch above ours, if its writer is one of the sites that this one knows.
func (r *Role) raised(e wire.Epoch, peer string) (wire.Epoch, *step.Stop) {
	writer := WriterOf(e)
	if writer != r.t.C.Site && !r.some(func(p *Peer) bool { return p.Site == writer }) {
		return 0, step.Stopf(wire.RefusePrimary,
			"site %q says that site %08x writes in epoch %s, and site %q has no such peer: add it there",
			peer, uint32(writer), e, r.t.C.SiteName)
	}
	return e, nil
}

// Founded: the directory has it on record who writes, and in which epoch.
func (r *Role) Founded() bool { return r.founded }

// Found puts on record that the primary writes.
func (r *Role) Found() {
	if !r.founded {
		r.founded, r.t.E.Found = true, true
	}
}

// Settled: it is known who writes, so that the end of VerifyWait may decide the rest.
func (r *Role) Settled() bool {
	return plant.FreshWriter || (r.founded || r.t.C.PrimaryNamed) && !r.Contradicted()
}

func (r *Role) some(f func(*Peer) bool) bool { return slices.ContainsFunc(r.Peers, f) }

// Alone: there is no peer whose word counts.
func (r *Role) Alone() bool { return !r.some((*Peer).Awaited) }

// Left: there are registered peers, and the configuration names none.
func (r *Role) Left() bool {
	return r.Own() && r.some(func(p *Peer) bool { return p.Registered }) &&
		!r.some(func(p *Peer) bool { return p.Configured })
}

// Contradicted: a peer names another primary, and nothing here is older than its word.
func (r *Role) Contradicted() bool {
	return !r.founded && r.some(func(p *Peer) bool { return p.Configured && p.Contrary != "" })
}

// Contradict notes that a peer names another primary. It says whether this site would
// write, and may not for that.
func (r *Role) Contradict(p *Peer, text string) (shut bool) {
	p.Contrary = text
	return r.Own() && r.Contradicted()
}

// Agree notes that a peer names the same primary, by taking our session or by the hello of
// its own. It says whether this site may write now, and might not before.
func (r *Role) Agree(p *Peer) (opened bool) {
	was := r.Contradicted()
	p.Contrary = ""
	return r.Own() && was && !r.Contradicted()
}

// Agreed founds a directory once every configured peer has reported its positions. That of a
// standby shows who writes as soon as it holds a batch.
func (r *Role) Agreed() {
	if !r.some(func(p *Peer) bool { return p.Configured && !p.Answered }) {
		r.Found()
	}
}

// AllAnswered: every peer has reported its positions since open, also one that is registered
// only: it may have more.
func (r *Role) AllAnswered() bool { return plant.VerifiedUnheard || !r.some((*Peer).Unheard) }

// UnheardNames lists the peers that have not reported their positions since open.
func (r *Role) UnheardNames() (names []string) {
	for _, p := range r.Peers {
		if p.Unheard() {
			names = append(names, p.Name)
		}
	}
	return names
}

// Unheard says which peers those are, for people.
func (r *Role) Unheard() string {
	names := r.UnheardNames()
	if len(names) == 0 {
		return "every peer has answered"
	}
	return "not heard: " + strings.Join(names, ", ")
}

// Withheld is why no log takes appends, and what to do about it; "" if there is no such
// reason.
func (r *Role) Withheld() string {
	var names []string
	switch {
	case !r.Own():
		return ""
	case r.Left():
		for _, p := range r.Peers {
			if p.Registered {
				names = append(names, p.Name)
			}
		}
		return fmt.Sprintf("site %s had peers (%s), and is started without any: name them again",
			r.t.C.SiteName, strings.Join(names, ", "))
	case r.founded:
		return ""
	}
	for _, p := range r.Peers {
		if p.Configured && p.Contrary != "" {
			return p.Contrary
		}
	}
	if r.t.C.PrimaryNamed || r.AllAnswered() {
		return ""
	}
	return fmt.Sprintf("a new directory, and who writes is not settled before every peer has answered: %s. "+
		"Start it, or name the primary if this is a new cluster", r.Unheard())
}

// Due is when the role wants to be woken: never, until there are leases.
func (r *Role) Due() time.Duration { return step.Never }

// Tick lets what is due happen: nothing, until there are leases.
func (r *Role) Tick() {}

// Check says which of the room's inequalities does not hold.
func (r *Role) Check() error {
	for i, p := range r.Peers {
		switch {
		case i > 0 && r.Peers[i-1].Site >= p.Site:
			return fmt.Errorf("peers %08x and %08x are not sorted", r.Peers[i-1].Site, p.Site)
		case p.Site == r.t.C.Site:
			return fmt.Errorf("site %08x is its own peer", p.Site)
		case p.Learner && !p.Configured:
			return fmt.Errorf("site %08x is a learner, and not configured", p.Site)
		case p.Contrary != "" && r.founded && r.Contradicted():
			return fmt.Errorf("site %08x contradicts a founded directory", p.Site)
		}
	}
	return nil
}
