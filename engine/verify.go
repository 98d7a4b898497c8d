package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// VerifyOptions say what to compare.
type VerifyOptions struct {
	Peer     string               // "" = all peers, one after another
	Lo, Hi   int                  // shards [Lo, Hi); Hi 0 = all from Lo on
	Deep     bool                 // read the stored bytes of the journals at both ends again
	Progress func(VerifyProgress) // nil = none; called by the goroutine of Verify
}

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
	var peers []peerInfo
	for _, p := range e.peers {
		if o.Peer == "" || o.Peer == p.name {
			peers = append(peers, p)
		}
	}
	switch {
	case len(peers) == 0 && o.Peer == "":
		return nil, fmt.Errorf("site %q has no peers to be compared with: %w", e.id.siteName, ErrOptions)
	case len(peers) == 0:
		return nil, fmt.Errorf("site %q is no peer of site %q: %w", o.Peer, e.id.siteName, ErrOptions)
	}
	if !e.verifier.one.TryLock() {
		return nil, fmt.Errorf("a verification of this node is running: %w", ErrBusy)
	}
	defer e.verifier.one.Unlock()
	asked := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	began := time.Now()
	report := &VerifyReport{Schema: 1, Kind: "verify", At: began.UTC(), Site: e.id.siteName, Deep: o.Deep}
	for _, p := range peers {
		v := &verification{e: e, o: o, peer: p, forks: make(map[wire.LogID]bool), out: VerifyPeer{
			Site: p.name, ShardsAsked: o.Hi - o.Lo, Differences: []VerifyDifference{}, NotCompared: []VerifyGap{},
		}}
		v.run(ctx)
		report.Peers = append(report.Peers, v.out)
	}
	report.conclude(asked.Err())
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

// verification is the comparison with one peer.
type verification struct {
	e     *Engine
	o     VerifyOptions
	peer  peerInfo
	pace  pace
	heard bool                // the peer has answered
	forks map[wire.LogID]bool // logs whose histories differ
	out   VerifyPeer

	// Deep: what the reading of the stored bytes found here, there, and there of no log.
	scans, there map[wire.LogID]*logScan
	text         string
}

// run compares everything and words the result.
func (v *verification) run(ctx context.Context) {
	defer v.e.step(&node.VerifyAsk{Peer: v.peer.site, Ask: wire.Verify{
		ID: v.e.verifier.id(), Kind: wire.VerifyEnd, Log: wire.LogID{Site: v.e.id.site},
	}})
	err := v.journals(ctx)
	for shard := v.o.Lo; shard < v.o.Hi; shard++ {
		if err == nil {
			v.progress("state", shard)
			err = v.shard(ctx, wire.Shard(shard))
		}
		if fatal(err) {
			v.gap("state", shard, v.o.Hi, err)
			break
		}
		if err != nil {
			v.gap("state", shard, shard+1, err)
			err = nil
		}
	}
	v.progress("state", v.o.Hi)
	v.out.conclude(v.cause(err))
}

// fatal says whether what follows would fail as well.
func fatal(err error) bool {
	return errors.Is(err, node.ErrNoLink) || errors.Is(err, ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// cause is what people are told for err. A closing engine ends links and contexts:
// then it is what ended the verification, and not they.
func (v *verification) cause(err error) error {
	if fatal(err) && v.e.life.Err() != nil {
		return ErrClosed
	}
	return err
}

// gap notes that something of the shards [lo, hi) was not compared.
func (v *verification) gap(what string, lo, hi int, err error) { v.out.gap(what, lo, hi, v.cause(err)) }

// progress tells that everything before a shard is done.
func (v *verification) progress(doing string, shard int) {
	if v.o.Progress != nil {
		v.o.Progress(VerifyProgress{"progress", v.peer.name, doing, shard - v.o.Lo, v.o.Hi - v.o.Lo, v.out.Keys})
	}
}

// nameOf is what the host calls a key.
func (e *Engine) nameOf(ctx context.Context, shard wire.Shard, key []byte) string {
	if n, ok := e.o.Store.(store.Namer); ok {
		return n.NameOf(ctx, shard, key)
	}
	return fmt.Sprintf("%q", key)
}
