package node

import (
	"cmp"
	"fmt"

	"github.com/claudefs/repl/wire"
)

// question is what is asked of a peer. All questions up to the end go over one
// link, because the other end keeps its snapshot by link.
type question struct {
	link *link  // nil = none asked since the last end
	id   uint64 // waited for; 0 = none
}

// verifyAsk puts a question on a link to the peer.
func (n *Node) verifyAsk(in *VerifyAsk) {
	p := n.peer(in.Peer)
	if p == nil {
		n.tellNobody(in, "it is no peer")
		return
	}
	q := &p.question
	if q.link == nil {
		q.link = n.quietLink(p)
	}
	switch {
	case q.link != nil:
	case in.Ask.Kind != wire.VerifyEnd:
		n.tellNobody(in, "no link: "+cmp.Or(p.reason, "it has not answered yet"))
		return
	default:
		return
	}
	n.questions = max(n.questions, in.Ask.ID)
	n.msg.verify = in.Ask
	n.send(q.link, &n.msg.verify)
	q.id = in.Ask.ID
	if in.Ask.Kind == wire.VerifyEnd {
		*q = question{}
	}
}

// quietLink is the link to a peer that carries fewer batches, or the one there is:
// an answer must not stand behind a window of them.
func (n *Node) quietLink(p *peer) *link {
	dialed, accepted := p.link, p.in
	if p.phase < phaseSeek {
		dialed = nil
	}
	if accepted != nil && !accepted.open {
		accepted = nil
	}
	if dialed == nil || accepted != nil && n.role.Own() {
		return accepted
	}
	return dialed
}

func (n *Node) tellNobody(in *VerifyAsk, why string) {
	err := fmt.Errorf("site %s is not asked: %s: %w", n.t.SiteName(in.Peer), why, ErrNoLink)
	n.t.E.Told = append(n.t.E.Told, Told{Peer: in.Peer, ID: in.Ask.ID, Err: err})
}

// verified hands an answer on. One that nobody waits for any more is dropped.
func (n *Node) verified(l *link) error {
	a, q := &n.msg.verified, &l.peer.question
	if a.ID > n.questions {
		return fmt.Errorf("answer to question %d, asked up to %d: %w", a.ID, n.questions, wire.ErrProtocol)
	}
	if q.link == l && q.id == a.ID {
		q.id = 0
		n.t.E.Told = append(n.t.E.Told, Told{Peer: l.peer.Site, ID: a.ID, Answer: a})
	}
	return nil
}

// verifyAsked hands a question to the shell.
func (n *Node) verifyAsked(l *link) error {
	a := &n.msg.verify
	l.answering, l.answerID = a.Kind != wire.VerifyEnd, a.ID
	n.t.E.Asked = append(n.t.E.Asked, Asked{Link: l.id, Ask: *a})
	return nil
}

// verifyAnswer sends an answer, unless the question was given up meanwhile.
func (n *Node) verifyAnswer(in *VerifyAnswer) {
	l := n.links[in.Link]
	if l != nil && !l.closing && l.answering && l.answerID == in.Answer.ID {
		n.send(l, in.Answer)
	}
}

// verifyDown ends the questions in both directions of a link that ended.
func (n *Node) verifyDown(l *link, reason string) {
	if l.answering {
		l.answering = false
		end := wire.Verify{ID: l.answerID, Kind: wire.VerifyEnd}
		n.t.E.Asked = append(n.t.E.Asked, Asked{Link: l.id, Ask: end})
	}
	if l.peer == nil || l.peer.question.link != l {
		return
	}
	q := &l.peer.question
	if q.id != 0 {
		err := fmt.Errorf("the link to site %s ended: %s: %w", l.peer.Name, reason, ErrNoLink)
		n.t.E.Told = append(n.t.E.Told, Told{Peer: l.peer.Site, ID: q.id, Err: err})
	}
	*q = question{}
}
