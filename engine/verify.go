package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/verify"
	"github.com/claudefs/repl/wire"
)

// What a verification is asked for and what it tells; see package verify.
type (
	VerifyOptions    = verify.Options
	VerifyProgress   = verify.Progress
	VerifyReport     = verify.Report
	VerifyPeer       = verify.PeerReport
	VerifyDifference = verify.Difference
	VerifyGap        = verify.Gap
)

// Results of a verification, and why it ended before it had compared everything.
const (
	VerifyEqual       = verify.Equal
	VerifyPartly      = verify.Partly
	VerifyUnreachable = verify.Unreachable
	VerifyDifferent   = verify.Different
	VerifyTimeout     = verify.Timeout
	VerifyInterrupted = verify.Interrupted
)

// Verify compares this site with its peers while both work: the journals' logs by
// chain, and the state of the Stores by digests of one point of each shard's
// history, one shard at a time and resting as long as it works. Nothing is written.
// One verification of a node runs at a time; another is ErrBusy. When ctx ends, or the
// engine is closed, the report says what was not compared. Close waits for it.
func (e *Engine) Verify(ctx context.Context, o VerifyOptions) (*VerifyReport, error) {
	if o.Hi == 0 {
		o.Hi = e.o.Shards
	}
	if o.Lo < 0 || o.Lo >= o.Hi || o.Hi > e.o.Shards {
		return nil, fmt.Errorf("shards %d to %d: the engine has 0 to %d: %w", o.Lo, o.Hi-1, e.o.Shards-1, ErrOptions)
	}
	var peers []wire.SiteID
	for _, p := range e.routes() {
		if o.Peer == "" || o.Peer == p.name {
			peers = append(peers, p.site)
		}
	}
	switch {
	case len(peers) == 0 && o.Peer == "":
		return nil, fmt.Errorf("site %q has no peers to be compared with: %w", e.id.siteName, ErrOptions)
	case len(peers) == 0:
		return nil, fmt.Errorf("site %q is not a peer of site %q: %w", o.Peer, e.id.siteName, ErrOptions)
	}
	report, err := e.verifier.Verify(ctx, o, peers)
	if errors.Is(err, verify.ErrRunning) {
		err = fmt.Errorf("%w: %w", err, ErrBusy)
	}
	return report, err
}

// newVerifier makes what compares this site; the journals and the Store are open.
func (e *Engine) newVerifier() *verify.Verifier {
	return verify.New(verify.Config{
		Site: compared{e}, ID: e.id.site, Primary: func() wire.SiteID { return e.epoch.Load().primary },
		Shards: e.o.Shards, Store: e.o.Store, HostLog: e.o.AppendAt,
	})
}

// compared is this site as comparisons see it.
type compared struct{ e *Engine }

func (c compared) Name(site wire.SiteID) string { return c.e.siteName(site) }

func (c compared) Ask(in node.Input) { c.e.step(in) }

func (c compared) Journal(log wire.LogID) *journal.Journal { return c.e.journalOf(log).j }

func (c compared) Due(log wire.LogID, at wire.Position) wire.Position {
	return c.e.due(log, at)
}

func (c compared) Stopped(log wire.LogID) error { return c.e.appliers.endedBy(log) }

func (c compared) Closed() context.Context { return c.e.life }

func (c compared) Halts() *verify.Halts {
	c.e.heart.mu.Lock()
	heart := c.e.heart.node.Status(c.e.now())
	c.e.heart.mu.Unlock()
	h := &verify.Halts{
		Here: make(map[wire.LogID]error), Towards: make(map[wire.SiteID]map[wire.LogID]verify.Halt),
		Silent: make(map[wire.SiteID]error), Unsent: make(map[wire.SiteID]bool), LeftOut: make(map[wire.SiteID]int),
	}
	for i := range heart.Stopped {
		h.Here[heart.Stopped[i].Log] = c.stopped(&heart.Stopped[i])
	}
	for i := range heart.Peers {
		p := &heart.Peers[i]
		h.LeftOut[p.Site], h.Unsent[p.Site] = int(p.LeftOut), p.Session == 0
		if p.Accepted == 0 {
			h.Silent[p.Site] = fmt.Errorf("site %s has no session with site %s", p.Name, c.e.id.siteName)
		}
		logs := make(map[wire.LogID]verify.Halt)
		for k := range p.Stopped {
			l := &p.Stopped[k]
			fork := l.Code == wire.RefuseChain || l.Code == wire.RefuseUnknownIncarnation
			logs[l.Log] = verify.Halt{Why: c.stopped(l), Fork: fork}
		}
		h.Towards[p.Site] = logs
	}
	return h
}

func (c compared) stopped(l *node.StoppedLog) error {
	return fmt.Errorf("the log of site %s, shard %d, is stopped: %s: %s", c.e.siteName(l.Log.Site), l.Log.Shard, l.Code,
		l.Reason)
}

// journalOf is the journal that holds a log here.
func (e *Engine) journalOf(log wire.LogID) *flusher {
	if log.Site == e.id.site {
		return e.own
	}
	return e.mirror
}
