package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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

// VerifyProgress is how far a verification is.
type VerifyProgress struct {
	Kind   string `json:"kind"` // "progress"
	Peer   string `json:"peer"`
	Doing  string `json:"doing"` // "journals", "state"
	Shards int    `json:"shards_done"`
	Of     int    `json:"shards_of"`
	Keys   uint64 `json:"keys_compared"`
}

// Results of a verification, by the worst of what was found.
const (
	VerifyEqual       = "equal"       // everything that was asked for was compared, and is equal
	VerifyPartly      = "partly"      // what was compared is equal, but something was not compared
	VerifyUnreachable = "unreachable" // nothing was compared: no link
	VerifyDifferent   = "different"
)

// VerifyReport is what a verification found, as JSON in schema 1: additive
// changes only.
type VerifyReport struct {
	Schema  int          `json:"schema"` // 1
	Kind    string       `json:"kind"`   // "verify"
	At      time.Time    `json:"at"`
	Site    string       `json:"site"`
	Deep    bool         `json:"deep"`
	Seconds float64      `json:"seconds"`
	Result  string       `json:"result"`
	Peers   []VerifyPeer `json:"peers"`
}

// VerifyPeer is what was compared with one peer.
type VerifyPeer struct {
	Site           string             `json:"site"`
	Result         string             `json:"result"`
	Reason         string             `json:"reason"` // of what is not equal; "" when it is
	ShardsAsked    int                `json:"shards_asked"`
	ShardsCompared int                `json:"shards_compared"` // their state
	LogsCompared   int                `json:"logs_compared"`
	Keys           uint64             `json:"keys_compared"`
	Differences    []VerifyDifference `json:"differences"`
	More           bool               `json:"more_differences"` // than are listed
	NotCompared    []VerifyGap        `json:"not_compared"`
	MoreNot        int                `json:"more_not_compared"` // than are listed
}

// VerifyDifference is one thing that the two sites do not have in common.
type VerifyDifference struct {
	What   string `json:"what"` // "state", "history", "damage"
	Shard  int    `json:"shard"`
	Path   string `json:"path"` // the host's name of the key; "" = none
	Key    string `json:"key"`  // hexadecimal; "" = none
	Site   string `json:"log_site"`
	Seq    uint64 `json:"seq"`
	Detail string `json:"detail"`
}

// VerifyGap is something that could not be compared.
type VerifyGap struct {
	What   string `json:"what"` // "state", "journals"
	Shard  int    `json:"shard"`
	Reason string `json:"reason"`
}

// differencesMax bounds each of a report's lists for one peer.
const differencesMax = 100

// Verify compares this site with its peers while both work: the journals' logs by
// chain, and the state of the Stores by digests of one point of each shard's
// history, one shard at a time and resting as long as it works. Nothing is written.
// One verification of a node runs at a time; another is ErrBusy. When ctx ends, the
// report says what was not compared.
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
	if len(peers) == 0 {
		return nil, fmt.Errorf("site %q is no peer of site %q: %w", o.Peer, e.id.siteName, ErrOptions)
	}
	if !e.verifier.one.TryLock() {
		return nil, fmt.Errorf("a verification of this node is running: %w", ErrBusy)
	}
	defer e.verifier.one.Unlock()
	began := time.Now()
	report := &VerifyReport{Schema: 1, Kind: "verify", At: began.UTC(), Site: e.id.siteName, Deep: o.Deep}
	for _, p := range peers {
		v := &verification{e: e, o: o, peer: p, pace: newPace(), out: VerifyPeer{
			Site: p.name, ShardsAsked: o.Hi - o.Lo, Differences: []VerifyDifference{}, NotCompared: []VerifyGap{},
		}}
		v.run(ctx)
		report.Peers = append(report.Peers, v.out)
	}
	report.Result = worst(report.Peers)
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

// worst is the result of the whole: a difference counts more than what is unknown.
func worst(peers []VerifyPeer) string {
	results := make(map[string]int)
	for i := range peers {
		results[peers[i].Result]++
	}
	switch {
	case results[VerifyDifferent] > 0:
		return VerifyDifferent
	case results[VerifyUnreachable] == len(peers):
		return VerifyUnreachable
	case results[VerifyEqual] == len(peers):
		return VerifyEqual
	}
	return VerifyPartly
}

// verification is the comparison with one peer.
type verification struct {
	e     *Engine
	o     VerifyOptions
	peer  peerInfo
	pace  pace
	out   VerifyPeer
	scans map[wire.LogID]*logScan // deep: of this site's journals
}

// run compares everything and words the result.
func (v *verification) run(ctx context.Context) {
	defer v.e.step(&node.VerifyAsk{Peer: v.peer.site, Ask: wire.Verify{
		ID: v.e.verifier.id(), Kind: wire.VerifyEnd, Log: wire.LogID{Site: v.e.id.site},
	}})
	err := v.journals(ctx)
	for shard := v.o.Lo; shard < v.o.Hi; shard++ {
		if err == nil {
			v.progress("state", shard-v.o.Lo)
			err = v.shard(ctx, wire.Shard(shard))
		}
		if err != nil {
			v.gap("state", shard, err)
			if !fatal(err) {
				err = nil
			}
		}
	}
	v.progress("state", v.o.Hi-v.o.Lo)
	out := &v.out
	switch {
	case len(out.Differences) > 0:
		out.Result, out.Reason = VerifyDifferent, out.Differences[0].text()
	case len(out.NotCompared) == 0 && out.ShardsCompared == out.ShardsAsked:
		out.Result = VerifyEqual
	case out.ShardsCompared == 0 && errors.Is(err, node.ErrNoLink):
		out.Result, out.Reason = VerifyUnreachable, err.Error()
	default:
		out.Result, out.Reason = VerifyPartly, out.NotCompared[0].Reason
	}
}

// fatal says whether what follows would fail as well.
func fatal(err error) bool {
	return errors.Is(err, node.ErrNoLink) || errors.Is(err, ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (d *VerifyDifference) text() string {
	if d.Path != "" {
		return d.Path + ": " + d.Detail
	}
	return fmt.Sprintf("shard %d: %s", d.Shard, d.Detail)
}

func (v *verification) progress(doing string, shards int) {
	if v.o.Progress != nil {
		v.o.Progress(VerifyProgress{"progress", v.peer.name, doing, shards, v.o.Hi - v.o.Lo, v.out.Keys})
	}
}

func (v *verification) gap(what string, shard int, err error) {
	if len(v.out.NotCompared) == differencesMax {
		v.out.MoreNot++
		return
	}
	v.out.NotCompared = append(v.out.NotCompared, VerifyGap{What: what, Shard: shard, Reason: err.Error()})
}

func (v *verification) differ(d VerifyDifference) {
	if len(v.out.Differences) == differencesMax {
		v.out.More = true
		return
	}
	v.out.Differences = append(v.out.Differences, d)
}

// id gives a question its name.
func (v *verifier) id() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastID++
	return v.lastID
}

// ask asks the peer and waits for its answer.
func (v *verification) ask(ctx context.Context, q wire.Verify) (*wire.Verified, error) {
	all := &v.e.verifier
	q.ID = all.id()
	waiter := make(chan told, 1)
	all.mu.Lock()
	if all.waiting == nil {
		all.waiting = make(map[uint64]chan told)
	}
	all.waiting[q.ID] = waiter
	all.mu.Unlock()
	defer func() {
		all.mu.Lock()
		delete(all.waiting, q.ID)
		all.mu.Unlock()
	}()
	v.e.step(&node.VerifyAsk{Peer: v.peer.site, Ask: q})
	select {
	case t := <-waiter:
		if t.err == nil && t.answer.Code != 0 {
			t.err = fmt.Errorf("site %s: %s", v.peer.name, t.answer.Text)
		}
		return t.answer, t.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-v.e.done:
		return nil, ErrClosed
	}
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

// nameOf is what the host calls a key.
func (e *Engine) nameOf(ctx context.Context, shard wire.Shard, key []byte) string {
	if n, ok := e.o.Store.(store.Namer); ok {
		return n.NameOf(ctx, shard, key)
	}
	return fmt.Sprintf("%q", key)
}
