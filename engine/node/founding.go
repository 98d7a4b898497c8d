package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// Which site writes is durable state of a directory. A new directory does not know it
// yet: it may be a new site of a cluster in which another one writes, or the writer's
// own, replaced. Until it is founded its default says nothing:
//
//	         every configured peer took our session, so it names the same primary,
//	         or there is no peer; or an operator named it, and VerifyWait passed
//	new ───────────────────────────────────────────────────────────────────────▶ founded
//	 │ ▲
//	 ▼ │ it takes our session, or we take its
//	refused: a peer names another primary
//
// A site that had peers and is started without any takes no appends either: a flag may
// be missing, and the others may have gone on.

// found puts on record that Config.Primary writes.
func (n *Node) found() {
	if !n.founded {
		n.founded, n.t.E.Found = true, true
	}
}

// mayStopWaiting: the end of VerifyWait decides, because it is known who writes.
func (n *Node) mayStopWaiting() bool {
	return !n.waited && (plant.FreshWriter || (n.founded || n.t.C.PrimaryNamed) && !n.contradicted())
}

// left: there are registered peers, and the configuration names none.
func (n *Node) left() bool {
	return n.t.C.Primary == n.t.C.Site && slices.ContainsFunc(n.peers, func(p *peer) bool { return p.registered }) &&
		!slices.ContainsFunc(n.peers, func(p *peer) bool { return p.configured })
}

// contradicted: a peer names another primary, and nothing here is older than its word.
func (n *Node) contradicted() bool {
	return !n.founded && slices.ContainsFunc(n.peers, func(p *peer) bool { return p.configured && p.contrary != "" })
}

// contradict notes that a peer names another primary.
func (n *Node) contradict(p *peer, text string) {
	if p.contrary = text; n.t.C.Primary == n.t.C.Site && n.contradicted() {
		n.withholdAll()
	}
}

// agree notes that a peer names the same primary, by taking our session or by the hello
// of its own. A log that was refused because it had not is waiting again.
func (n *Node) agree(p *peer) {
	was := n.contradicted()
	p.contrary = ""
	if n.t.C.Primary == n.t.C.Site && was && !n.contradicted() {
		for s := range n.own {
			if o := &n.own[s]; !o.stopped && !o.suspect {
				n.admit(wire.Shard(s), AdmitWaiting, nil)
			}
		}
	}
}

// agreed founds a directory once every configured peer has told its positions. That of a
// standby shows who writes as soon as it holds a batch.
func (n *Node) agreed() {
	if !slices.ContainsFunc(n.peers, func(p *peer) bool { return p.configured && !p.answered }) {
		n.found()
	}
}

func (n *Node) withholdAll() {
	if plant.FreshWriter {
		return
	}
	err := fmt.Errorf("%s: %w", n.withheld(), ErrWithheld)
	for s := range n.own {
		n.admit(wire.Shard(s), AdmitRefused, err)
	}
}

// withheld is why no log takes appends, and what to do about it; "" if there is no such
// reason.
func (n *Node) withheld() string {
	var names []string
	switch {
	case n.t.C.Primary != n.t.C.Site:
		return ""
	case n.left():
		for _, p := range n.peers {
			if p.registered {
				names = append(names, p.Name)
			}
		}
		return fmt.Sprintf("site %s had peers (%s), and is started without any: name them again",
			n.t.C.SiteName, strings.Join(names, ", "))
	case n.founded:
		return ""
	}
	for _, p := range n.peers {
		if p.configured && p.contrary != "" {
			return p.contrary
		}
	}
	if n.t.C.PrimaryNamed || n.allAnswered() {
		return ""
	}
	return fmt.Sprintf("a new directory, and who writes is not settled before every peer has answered: %s. "+
		"Start it, or name the primary if this is a new cluster", n.unheard())
}

// unheard: it may have more than we have, and has not told since we opened.
func (p *peer) unheard() bool { return (p.configured || p.registered) && !p.answered }

// unheard lists the peers that have not told their positions since we opened.
func (n *Node) unheard() string {
	var names []string
	for _, p := range n.peers {
		if p.unheard() {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return "every peer has answered"
	}
	return "not heard: " + strings.Join(names, ", ")
}

// otherPrimary refuses the session of a site that names another primary.
func (n *Node) otherPrimary(h *wire.Hello) *stream.Stop {
	return &stream.Stop{Code: wire.RefusePrimary, Text: fmt.Sprintf(
		"site %q takes %s for the primary, site %q takes %s: name the one that has the data, at every site",
		h.SiteName, n.t.SiteName(h.Primary), n.t.C.SiteName, n.t.SiteName(n.t.C.Primary))}
}
