package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
)

// How a site becomes the writer.
const (
	// FailoverHandover: the writer waits until the site has everything, and loses nothing.
	FailoverHandover = "switchover"
	// FailoverPromotion: the site takes over by itself. What the writer had alone is lost.
	FailoverPromotion = "promotion"
)

// handoverDefault bounds a switchover: longer, and its appends have stood still for too long.
const handoverDefault = 10 * time.Second

// FailoverOptions say how the writer moves.
type FailoverOptions struct {
	Only     bool          // report what it would cost, and change nothing
	Lossless bool          // by a switchover, or not at all
	Timeout  time.Duration // of a switchover; default 10 s
	// Plan is the id of a report that was asked for with Only: it is done only if another one
	// would have the same id now, else ErrPlan says what has changed. "" = whatever it costs.
	Plan string
	// By is who asks, for the audit trail: such as the address of a client. "" = the program
	// that runs the engine.
	By string
}

// FailoverReport is what it costs to move the writer, as JSON in schema 1.
type FailoverReport struct {
	Schema int    `json:"schema"` // 1
	Kind   string `json:"kind"`   // "failover"
	How    string `json:"how"`    // "switchover" or "promotion"
	Site   string `json:"site"`   // which is to write
	Was    string `json:"was"`    // which wrote before
	Epoch  uint64 `json:"epoch"`  // in which Site writes
	Done   bool   `json:"done"`   // false: only asked for what it would cost

	// Of a switchover: what the site is missing, and appends wait for. Of a promotion: how long
	// ago the newest entry that the site has was appended, which is what is lost at least.
	Behind *LagStatus `json:"behind"`
	// MayStillWrite: the writer is linked to this site, or was not heard to stop. It takes
	// appends until it learns of the new epoch.
	MayStillWrite bool       `json:"may_still_write"`
	HeardAt       *time.Time `json:"heard_at"` // the former writer, by this site
	// Unheard are sites that have not told since this one opened what they have: what they alone
	// have becomes orphans.
	Unheard []string `json:"unheard"`
	StallMs float64  `json:"stall_ms"` // how long appends of a switchover waited

	Plan    string `json:"plan"`               // id of this plan: see FailoverOptions
	Confirm bool   `json:"needs_confirmation"` // an operator has to agree: something may be lost
	// Of a switchover: how many entries the site has yet to apply, and in which shards the most.
	MissingEntries *int64          `json:"missing_entries"` // null of a promotion: only the former writer knows
	WorstShards    []FailoverShard `json:"worst_shards"`
	Peers          []FailoverPeer  `json:"peers"` // all that this site knows, Was and Site among them
}

// FailoverShard is what a site has yet to apply of one shard.
type FailoverShard struct {
	Shard   int   `json:"shard"`
	Entries int64 `json:"entries"`
}

// FailoverPeer is what is known of one peer when the writer is to move.
type FailoverPeer struct {
	Site string `json:"site"`
	Link string `json:"link"` // as in Status
	// HeardAt is when it was heard last; null: not since this site opened.
	HeardAt *time.Time `json:"heard_at"`
	// Reported: since this site opened it has said what it has, so that is kept.
	Reported bool `json:"reported"`
	// MayWrite: it takes appends, or took them when it was heard last.
	MayWrite bool `json:"may_still_write"`
	// AtLeastEntries of the former writer's log it has not confirmed; null where this site does
	// not write.
	AtLeastEntries *int64 `json:"not_confirmed_entries"`
}

// worstShardsMax bounds the list of a report.
const worstShardsMax = 8

// ErrPlan: the state is not the one that the plan was made from; the text says what has changed.
var ErrPlan = errors.New("the plan does not hold any more")

// Failover makes a site the writer, in a new epoch. At the site that writes it hands over to a
// peer, without loss: appends wait until that peer has everything durably and applied. If it
// has not within Timeout, appends go on here, and it is ErrUnavailable. At the site that is to
// write it takes over by itself: what the writer had and this site never received is lost to
// the cluster. Elsewhere it is ErrStandby. It is in the audit trail before it is done, else it
// is not done (ErrAudit). It returns when the epoch is on record here; appends go on once
// peers were heard, or VerifyWait has passed, and the Store stands where the older logs end.
func (e *Engine) Failover(ctx context.Context, to string, o FailoverOptions) (*FailoverReport, error) {
	if e.closing.Load() {
		return nil, ErrClosed
	}
	r, err := e.failoverPlan(to, &o)
	if err != nil || o.Only {
		return r, err
	}
	if o.Plan != "" {
		if changed := role.PlanChanged(o.Plan, r.Plan); changed != "" {
			return nil, fmt.Errorf("%w: %s; it would be %s now", ErrPlan, changed, r.Plan)
		}
	}
	what := fmt.Sprintf("site %s writes in epoch %s, by %s; site %s wrote before",
		to, wire.Epoch(r.Epoch), r.How, r.Was)
	entry := audit.Entry{Kind: "failover", Peer: to, Shard: -1, What: what}
	err = e.audited(entry, o.By, func() error {
		if r.How == FailoverPromotion {
			return e.awaitEpoch(ctx, wire.Epoch(r.Epoch))
		}
		began := time.Now()
		err := e.switchover(ctx, to, r, o.Timeout)
		r.StallMs = float64(time.Since(began)) / float64(time.Millisecond)
		return err
	})
	r.Done = err == nil
	return r, err
}

func (e *Engine) failoverPlan(to string, o *FailoverOptions) (*FailoverReport, error) {
	if o.Timeout == 0 {
		o.Timeout = handoverDefault
	}
	was, site := e.epoch.Load(), wire.SiteIDOf(e.o.Cluster, to)
	r := &FailoverReport{
		Schema: 1, Kind: "failover", How: FailoverHandover, Site: to, Was: was.name, Unheard: []string{},
	}
	switch {
	case site != e.id.site && e.routeTo(site) == nil:
		return nil, fmt.Errorf("site %q is neither site %s nor a peer of it: %w", to, e.id.siteName, ErrOptions)
	case was.primary == site:
		return nil, fmt.Errorf("site %s writes already, in epoch %s: %w", to, was.at, ErrOptions)
	case e.o.AppendAt:
		return nil, fmt.Errorf("the host of site %s feeds the log: it moves the writer by itself: %w",
			e.id.siteName, ErrOptions)
	case site == e.id.site && o.Lossless:
		return nil, fmt.Errorf("site %s writes, and hands over: run it there: %w", was.name, ErrStandby)
	case site == e.id.site:
		r.How = FailoverPromotion
		if err := e.unmended(); err != nil {
			return nil, err
		}
	case was.primary != e.id.site:
		return nil, fmt.Errorf("this is site %s: run it at site %s, which writes and hands over, or if that is gone "+
			"at site %s: %w", e.id.siteName, was.name, to, ErrStandby)
	}
	e.heart.mu.Lock()
	unheard := e.heart.node.Unheard()
	e.heart.mu.Unlock()
	r.Unheard = append(r.Unheard, unheard...)
	next, err := role.Next(was.at, site)
	if r.How == FailoverPromotion && len(unheard) > 0 {
		next, err = role.NextAlone(was.at, site, time.Now())
	}
	if err != nil {
		return nil, err
	}
	r.Epoch = uint64(next)
	err = e.failoverPeers(r)
	e.failoverID(r, was.at, site)
	return r, err
}

// failoverPeers adds what is known of each peer.
func (e *Engine) failoverPeers(r *FailoverReport) error {
	handover := r.How == FailoverHandover
	r.Peers, r.WorstShards, r.Confirm = []FailoverPeer{}, []FailoverShard{}, !handover
	for _, p := range e.Status().Peers {
		known := FailoverPeer{
			Site: p.Site, Link: p.Link, HeardAt: p.HeardAt, Reported: !slices.Contains(r.Unheard, p.Site),
			MayWrite: !handover && p.Site == r.Was,
		}
		if handover {
			known.AtLeastEntries = cmp.Or(p.Durable.Entries, p.Durable.AtLeastEntries)
		}
		r.Peers = append(r.Peers, known)
		switch {
		case handover && p.Site == r.Site && p.Learner:
			return fmt.Errorf("site %s is a learner, and does not hold everything yet: wait until it is full: %w",
				r.Site, ErrUnavailable)
		case handover && p.Site == r.Site:
			r.Behind, r.HeardAt = &p.Applied, p.HeardAt
			e.missing(r)
		case !handover && p.Site == r.Was:
			r.Behind, r.HeardAt, r.MayStillWrite = p.Behind, p.HeardAt, true
		}
	}
	return nil
}

// missing counts what the site has yet to apply before it can be handed the writing.
func (e *Engine) missing(r *FailoverReport) {
	peer, sum := e.routeTo(wire.SiteIDOf(e.o.Cluster, r.Site)), int64(0)
	if peer == nil {
		return
	}
	for i := range e.shards {
		_, tail := e.writer.Load().Tail(wire.Shard(i))
		s := &e.shards[i]
		s.mu.Lock()
		if peer.slot < len(s.peers) {
			tail -= min(tail, s.peers[peer.slot].applied)
		}
		s.mu.Unlock()
		if tail > 0 {
			sum += int64(tail)
			r.WorstShards = append(r.WorstShards, FailoverShard{i, int64(tail)})
		}
	}
	slices.SortStableFunc(r.WorstShards, func(a, b FailoverShard) int { return cmp.Compare(b.Entries, a.Entries) })
	r.WorstShards = r.WorstShards[:min(len(r.WorstShards), worstShardsMax)]
	r.MissingEntries = &sum
}

// failoverID names the state that the report shows.
func (e *Engine) failoverID(r *FailoverReport, held wire.Epoch, site wire.SiteID) {
	plan := role.Plan{Epoch: held, Site: site, Unheard: slices.Sorted(slices.Values(r.Unheard))}
	if r.How == FailoverPromotion {
		for _, f := range e.journals() {
			for _, log := range logsOf(f.j) {
				plan.Logs = append(plan.Logs, role.Standing{Log: log.ID, At: log.Tail})
			}
		}
	}
	r.Plan = plan.ID()
}

// unmended says why the Store of this site cannot be what a new epoch begins from.
func (e *Engine) unmended() error {
	a := e.appliers
	if torn := a.tornShards(); len(torn) > 0 {
		return fmt.Errorf("site %s: %d shards are half mended, the first is %d: finish that: "+
			"cfs admin replication mend %d --from SITE, asked of site %s: %w",
			e.id.siteName, len(torn), torn[0], torn[0], e.id.siteName, ErrStopped)
	}
	a.dirtyMu.Lock()
	past := slices.Sorted(maps.Keys(a.past))
	a.dirtyMu.Unlock()
	if len(past) > 0 {
		return fmt.Errorf("site %s: the Store of %d shards is past the end of a log, the first is %d: make them equal "+
			"to a site that is not: cfs admin replication mend %d --from SITE, asked of site %s: %w",
			e.id.siteName, len(past), past[0], past[0], e.id.siteName, ErrStopped)
	}
	return nil
}

// awaitEpoch takes an epoch over.
func (e *Engine) awaitEpoch(ctx context.Context, to wire.Epoch) error {
	r := e.wantEpoch(to)
	select {
	case <-r.done:
	case <-ctx.Done():
		return fmt.Errorf("epoch %s is being taken over: %w", to, ctx.Err())
	case <-e.life.Done():
		return ErrClosed
	}
	if at := e.epoch.Load().at; r.err == nil && at != to {
		return fmt.Errorf("epoch %s began instead of %s: %w", at, to, ErrFenced)
	}
	return r.err
}

// switchover hands the writing over to a peer.
func (e *Engine) switchover(ctx context.Context, to string, r *FailoverReport, timeout time.Duration) error {
	peer := e.routeTo(wire.SiteIDOf(e.o.Cluster, to))
	if peer == nil {
		return fmt.Errorf("site %s is not a peer any more: %w", to, ErrOptions)
	}
	if !e.switching.CompareAndSwap(false, true) {
		return fmt.Errorf("another switchover is under way: %w", ErrBusy)
	}
	defer e.switching.Store(false)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := e.admitted(ctx)
	if err == nil {
		e.pause(true)
		if err = e.handOver(ctx, peer.slot); err != nil {
			e.pause(false)
		}
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("not within %s", timeout)
		}
		return fmt.Errorf("site %s does not have everything yet, and site %s goes on to write: %w: %w",
			to, e.id.siteName, ErrUnavailable, err)
	}
	return e.awaitEpoch(context.WithoutCancel(ctx), wire.Epoch(r.Epoch))
}

// admitted returns when every shard takes appends: before that its writer does not know where the
// log ends.
func (e *Engine) admitted(ctx context.Context) error {
	for s := range e.shards {
		if err := e.admit(ctx, wire.Shard(s)); err != nil {
			return err
		}
	}
	return nil
}

// handOver returns when a peer has applied all that was appended.
func (e *Engine) handOver(ctx context.Context, peer int) error {
	e.own.wakeUp()
	for i := range e.shards {
		s := &e.shards[i]
		if err := e.awaitTurn(ctx, wire.Shard(i)); err != nil {
			return err
		}
		in, seq := e.writer.Load().Tail(wire.Shard(i))
		if seq == 0 {
			continue
		}
		s.mu.Lock()
		e.follows(s, wire.Shard(i), in)
		err := e.wait(ctx, s, in, seq, Level{levelHandover, peer})
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("shard %d, seq %d: %w", i, seq, err)
		}
	}
	return nil
}

// pause has appends wait, or go on.
func (e *Engine) pause(on bool) {
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		s.paused = on
		s.open.Store(!on && s.takes())
		e.writer.Load().Pause(wire.Shard(i), on)
		s.wake()
		s.mu.Unlock()
	}
}

// takes says whether the log takes appends.
func (s *shardState) takes() bool {
	return s.admission == node.AdmitVerified || s.admission == node.AdmitUnverified
}
