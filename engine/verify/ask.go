package verify

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// reply is what came of a question.
type reply struct {
	answer *wire.Verified
	rows   *wire.Rows
	err    error
}

// id gives a question its name.
func (v *Verifier) id() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastID++
	return v.lastID
}

// question is one that was asked. Whoever asked it awaits its answer, or drops it.
type question struct {
	v      *verification
	id     uint64
	answer chan reply // capacity 1
}

// ask asks the peer, and does not wait.
func (v *verification) ask(q wire.Verify) *question {
	asked := v.register()
	q.ID = asked.id
	v.here.Site.Ask(&node.VerifyAsk{Peer: v.peer.site, Ask: q})
	return asked
}

// register names a question that is about to be asked.
func (v *verification) register() *question {
	all := v.here
	asked := &question{v: v, id: all.id(), answer: make(chan reply, 1)}
	all.mu.Lock()
	all.waiting[asked.id] = asked.answer
	all.mu.Unlock()
	return asked
}

// end tells the peer that nothing more is asked.
func (v *verification) end() {
	v.here.Site.Ask(&node.VerifyAsk{Peer: v.peer.site, Ask: wire.Verify{
		ID: v.here.id(), Kind: wire.VerifyEnd, Log: wire.LogID{Site: v.here.ID},
	}})
}

// await waits for the answer.
func (q *question) await(ctx context.Context) (*wire.Verified, error) {
	defer q.drop()
	select {
	case t := <-q.answer:
		if t.err != nil {
			return nil, t.err
		}
		q.v.heard = true
		switch t.answer.Code {
		case 0:
		case wire.RefuseGap:
			return nil, &atPeer{q.v.peer.name, t.answer.Text, errPoint}
		case wire.RefuseFeature:
			return nil, &atPeer{q.v.peer.name, t.answer.Text, errHostApplies}
		default:
			return nil, &atPeer{q.v.peer.name, t.answer.Text, nil}
		}
		return t.answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refused is why the peer does not answer, if it has said so by now.
func (q *question) refused(ctx context.Context) error {
	if len(q.answer) == 0 {
		return nil
	}
	_, err := q.await(ctx)
	return err
}

// atPeer is what a peer could not do; kind is what it means here, nil = nothing.
type atPeer struct {
	site, text string
	kind       error
}

func (e *atPeer) Error() string { return "site " + e.site + ": " + e.text }

func (e *atPeer) Unwrap() error { return e.kind }

// drop forgets the question; its answer goes nowhere.
func (q *question) drop() {
	all := q.v.here
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.waiting, q.id)
}

// linkWaitMax is how long a peer that has answered may be without a link before it is
// given up, and linkTriesMax how often for one question or shard.
const (
	linkWaitMax  = 10 * time.Second
	linkTriesMax = 5
)

// answer asks for what does not depend on earlier answers, so that it can be asked
// again when the link has ended.
func (v *verification) answer(ctx context.Context, q wire.Verify) (*wire.Verified, error) {
	for tries := 1; ; tries++ {
		a, err := v.ask(q).await(ctx)
		if !errors.Is(err, node.ErrNoLink) || tries == linkTriesMax {
			return a, err
		}
		if err := v.linkBack(ctx, err); err != nil {
			return nil, err
		}
	}
}

// linkBack waits for a link to the peer after none brought an answer, for a while; it
// returns why there is none.
func (v *verification) linkBack(ctx context.Context, none error) error {
	ticker := time.NewTicker(pointLookEvery)
	defer ticker.Stop()
	for began := time.Now(); v.heard && errors.Is(none, node.ErrNoLink) && time.Since(began) < linkWaitMax; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		_, none = v.ask(wire.Verify{
			Kind: wire.VerifyTails, Count: 1, Log: wire.LogID{Site: v.here.ID, Shard: wire.Shard(v.o.Lo)},
		}).await(ctx)
	}
	return none
}

// Told hands what came of a question to whoever asked it. It never blocks: the heart's
// mutex is held.
func (v *Verifier) Told(t *node.Told) {
	v.mu.Lock()
	defer v.mu.Unlock()
	waiter := v.waiting[t.ID]
	if waiter == nil {
		return
	}
	delete(v.waiting, t.ID)
	out := reply{err: t.Err}
	if t.Answer != nil {
		out.answer = cloneAnswer(t.Answer)
	}
	if t.Rows != nil {
		out.rows = cloneRows(t.Rows)
	}
	waiter <- out // capacity 1, and only one is ever sent
}

// cloneAnswer copies what the heart lends.
func cloneAnswer(a *wire.Verified) *wire.Verified {
	out := *a
	out.Rows, out.Parts = slices.Clone(a.Rows), slices.Clone(a.Parts)
	for i := range out.Parts {
		out.Parts[i].Hi = bytes.Clone(out.Parts[i].Hi)
	}
	return &out
}
