package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

const (
	// pointWaitMax is how long either site waits for its applier to reach a point.
	pointWaitMax = 30 * time.Second
	// answerIdleMax is how long a view is kept for an asker who asks nothing more.
	answerIdleMax = time.Minute
)

// Asked hands a peer's question to the answerer of its link. It never blocks: the
// heart's mutex is held.
func (v *Verifier) Asked(a *node.Asked) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.answers[a.Link]
	if a.Mend == nil && a.Ask.Kind == wire.VerifyEnd {
		if w != nil {
			delete(v.answers, a.Link)
			close(w.quit)
			w.give(nil)
		}
		return
	}
	if w == nil {
		if v.closed {
			return
		}
		w = &answerer{here: v, link: a.Link, peer: a.Peer, kick: make(chan struct{}, 1), quit: make(chan struct{})}
		v.answers[a.Link] = w
		v.group.Add(1)
		go w.run() // Ends when the asker ends it, the link does, or the engine.
	}
	if a.Mend != nil {
		w.give(&asked{mend: cloneMend(a.Mend)})
		return
	}
	ask := a.Ask
	ask.Lo, ask.Hi = bytes.Clone(ask.Lo), bytes.Clone(ask.Hi)
	w.give(&asked{verify: &ask})
}

// asked is a question of a peer: one of both.
type asked struct {
	verify *wire.Verify
	mend   *wire.Mend
}

// answerer answers the questions of one link, one at a time; a new one ends the
// work on the one before.
type answerer struct {
	here *Verifier
	link node.LinkID
	peer wire.SiteID   // which asks
	kick chan struct{} // capacity 1
	quit chan struct{}

	mu     sync.Mutex
	next   *asked
	cancel context.CancelFunc // of the one under way

	// Of the goroutine: what is kept from question to question.
	view  store.View
	log   wire.LogID // the view's point
	seq   wire.Seq
	scans map[wire.LogID]*logScan // after the stored bytes were read
	text  string                  // the first damage that reading met
	rows  rowsView                // what a shard of the asker is mended from
	pace  pace
}

// give replaces the question that waits, and ends the one under way.
func (w *answerer) give(ask *asked) {
	w.mu.Lock()
	w.next = ask
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *answerer) run() {
	defer w.here.group.Done()
	defer w.forget()
	idle := time.NewTimer(answerIdleMax)
	defer idle.Stop()
	for {
		select {
		case <-w.kick:
		case <-idle.C:
			w.forget()
			continue
		case <-w.quit:
			return
		case <-w.here.Site.Closed().Done():
			return
		}
		w.mu.Lock()
		ask := w.next
		w.next = nil
		ctx, cancel := context.WithCancel(w.here.Site.Closed())
		w.cancel = cancel
		w.mu.Unlock()
		if ask != nil {
			if in := w.reply(ctx, ask); in != nil && ctx.Err() == nil {
				w.here.Site.Ask(in)
			}
		}
		cancel()
		idle.Reset(answerIdleMax)
	}
}

// reply works out what the heart is told for a question; nil = the engine closes.
func (w *answerer) reply(ctx context.Context, ask *asked) *node.VerifyAnswer {
	if ask.mend != nil {
		rows := w.mend(ctx, ask.mend)
		return &node.VerifyAnswer{Link: w.link, Rows: rows}
	}
	if answer := w.answer(ctx, ask.verify); answer != nil {
		return &node.VerifyAnswer{Link: w.link, Answer: answer}
	}
	return nil
}

// forget gives back what was kept.
func (w *answerer) forget() {
	w.scans = nil
	w.rows.forget()
	if w.view != nil {
		_ = w.view.Close() // only read from
		w.view = nil
	}
}

// answer works an answer out; nil = the engine closes, and the link's end says so.
func (w *answerer) answer(ctx context.Context, ask *wire.Verify) *wire.Verified {
	out := &wire.Verified{ID: ask.ID}
	var err error
	switch {
	case int64(ask.Log.Shard) >= int64(w.here.Shards):
		err = fmt.Errorf("it has %d shards, no shard %d", w.here.Shards, ask.Log.Shard)
	case ask.Kind == wire.VerifyState:
		err = w.state(ctx, ask, out)
	case ask.Kind == wire.VerifyJournals && w.scans == nil:
		w.scans, w.text, err = w.here.scanJournals(ctx, &w.pace)
		fallthrough
	default:
		if err == nil {
			w.logs(ask, out)
		}
	}
	if errors.Is(err, journal.ErrClosed) {
		return nil
	}
	if err != nil {
		out.Code, out.Text = wire.RefuseInternal, err.Error()
		switch {
		case errors.Is(err, errPoint):
			out.Code = wire.RefuseGap
		case errors.Is(err, errHostApplies):
			out.Code = wire.RefuseFeature
		}
	}
	return out
}

// state digests the parts of a range of the view at the asked point.
func (w *answerer) state(ctx context.Context, ask *wire.Verify, out *wire.Verified) error {
	if w.view == nil || w.log != ask.Log || w.seq != ask.Seq {
		w.forget()
		if halt, ok := w.here.halts().Towards[w.peer][ask.Log]; ok && ask.Seq != 0 {
			return halt.Why // no point of it comes there
		}
		until := time.Now().Add(pointWaitMax)
		view, err := w.here.viewAt(ctx, ask.Log, ask.Seq, func() bool { return time.Now().Before(until) })
		if err == errPoint {
			return fmt.Errorf("shard %d, seq %d: %w", ask.Log.Shard, ask.Seq, err)
		}
		if err != nil {
			return err
		}
		w.view, w.log, w.seq = view, ask.Log, ask.Seq
	}
	for _, c := range w.view.Cursors() {
		out.Rows = append(out.Rows, wire.VerifiedLog{Log: c.Log, At: c.Position})
	}
	hi := ask.Hi
	if len(hi) == 0 {
		hi = nil
	}
	var err error
	out.Parts, err = partsOf(ctx, w.view, ask.Lo, hi, ask.Count, &w.pace)
	return err
}

// logs tells where the logs of a range of shards end, and what a reading found.
func (w *answerer) logs(ask *wire.Verify, out *wire.Verified) {
	forks := w.here.halts().forks(ask.Log.Site)
	for _, j := range w.here.journals() {
		for _, log := range j.Logs() {
			if log.Shard < ask.Log.Shard || uint32(log.Shard-ask.Log.Shard) >= ask.Count {
				continue
			}
			tail, _ := j.Tail(log)
			row := wire.VerifiedLog{Log: log, At: tail.Position}
			if scan := w.scans[log]; scan != nil && ask.Kind == wire.VerifyJournals {
				row.From, row.Bad = scan.from, scan.bad
			}
			if forks[log] && ask.Kind == wire.VerifyTails {
				row.Bad = cmp.Or(tail.Position.Seq, 1)
			}
			out.Rows = append(out.Rows, row)
		}
	}
	slices.SortFunc(out.Rows, func(x, y wire.VerifiedLog) int { return x.Log.Compare(y.Log) })
	out.Rows = out.Rows[:min(len(out.Rows), wire.VerifyRowMax)]
	if ask.Kind == wire.VerifyJournals {
		out.Text = w.text
	}
}
