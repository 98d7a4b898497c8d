package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/node"
)

// Progress is how far a verification is.
type Progress struct {
	Kind        string `json:"kind"` // "progress"
	Peer        string `json:"peer"`
	Phase       string `json:"phase"` // "journals", "state"
	Shards      int    `json:"shards_done"`
	ShardsTotal int    `json:"shards_total"`
	Keys        uint64 `json:"keys_compared"`
}

// Results of a verification, by the worst of what was found.
const (
	Equal       = "equal"       // everything that was asked for was compared, and is equal
	Partly      = "partly"      // what was compared is equal, but something was not compared
	Unreachable = "unreachable" // nothing was compared: no link
	Different   = "different"
)

// Why a verification ended before it had compared everything.
const (
	Timeout     = "timeout"     // the context's deadline
	Interrupted = "interrupted" // who asked for it has gone, or wants no more
)

// Report is what a verification found, as JSON in schema 1: additive
// changes only.
type Report struct {
	Schema  int          `json:"schema"` // 1
	Kind    string       `json:"kind"`   // "verify"
	At      time.Time    `json:"at"`
	Site    string       `json:"site"`
	Deep    bool         `json:"deep"`
	Seconds float64      `json:"seconds"`
	Result  string       `json:"result"`
	Ended   string       `json:"ended"` // "timeout", "interrupted"; "" = it went through
	Peers   []PeerReport `json:"peers"`
}

// PeerReport is what was compared with one peer.
type PeerReport struct {
	Site           string       `json:"site"`
	Result         string       `json:"result"`
	Reason         string       `json:"reason"` // of what is not equal; "" when it is
	ShardsAsked    int          `json:"shards_requested"`
	ShardsCompared int          `json:"shards_compared"` // their state
	LogsCompared   int          `json:"logs_compared"`
	Keys           uint64       `json:"keys_compared"`
	Differences    []Difference `json:"differences"`
	More           bool         `json:"differences_truncated"` // than are listed
	NotCompared    []Gap        `json:"not_compared"`
	MoreNot        int          `json:"not_compared_truncated"` // than are listed
}

// Difference is one thing that the two sites do not have in common.
type Difference struct {
	What   string `json:"what"`  // "state", "history", "damage"
	Shard  int    `json:"shard"` // -1 = damage that no log shows
	Path   string `json:"path"`  // the host's name of the key; "" = none
	Key    string `json:"key"`   // hexadecimal; "" = none
	Site   string `json:"log_site"`
	Seq    uint64 `json:"seq"`
	Detail string `json:"detail"`
}

// Gap is a range of shards of which something could not be compared, for one
// reason.
type Gap struct {
	What   string `json:"what"`         // "state", "journals"
	Shard  int    `json:"shard"`        // the first
	Count  int    `json:"shards_count"` // from it on
	Reason string `json:"reason"`
	// Lasting: it would be so again, until somebody decides.
	Lasting bool `json:"permanent"`
}

// listMax bounds each of a report's lists for one peer.
const listMax = 100

// conclude words the result of the whole: a difference counts more than what is
// unknown. cut is why it ended early, if it did.
func (r *Report) conclude(cut error) {
	results := make(map[string]int)
	for i := range r.Peers {
		results[r.Peers[i].Result]++
	}
	switch {
	case results[Different] > 0:
		r.Result = Different
	case results[Unreachable] == len(r.Peers):
		r.Result = Unreachable
	case results[Equal] == len(r.Peers):
		r.Result = Equal
		return // the end came too late to matter
	default:
		r.Result = Partly
	}
	switch {
	case errors.Is(cut, context.DeadlineExceeded):
		r.Ended = Timeout
	case cut != nil:
		r.Ended = Interrupted
	}
}

// conclude words the result with one peer; err is what ended it.
func (p *PeerReport) conclude(err error) {
	nothing := p.ShardsCompared+p.LogsCompared == 0
	switch {
	case len(p.Differences) > 0:
		p.Result, p.Reason = Different, p.Differences[0].text()
	case len(p.NotCompared) == 0 && p.ShardsCompared == p.ShardsAsked:
		p.Result = Equal
	case nothing && errors.Is(err, node.ErrNoLink):
		p.Result, p.Reason = Unreachable, err.Error()
	default:
		p.Result, p.Reason = Partly, p.NotCompared[0].Reason
	}
}

func (d *Difference) text() string {
	if d.Path != "" {
		return d.Path + ": " + d.Detail
	}
	if d.Shard < 0 {
		return d.Detail
	}
	return fmt.Sprintf("shard %d: %s", d.Shard, d.Detail)
}

// differ notes a difference, as long as there is room.
func (p *PeerReport) differ(d Difference) {
	if len(p.Differences) == listMax {
		p.More = true
		return
	}
	p.Differences = append(p.Differences, d)
}

// gap notes that something of the shards [lo, hi) was not compared. What goes on from
// the gap before for the same reason is the same gap.
func (p *PeerReport) gap(what string, lo, hi int, err error) {
	reason := err.Error()
	_, lasts := errors.AsType[*lasting](err)
	switch { // as people say it, and without what the error came through
	case errors.Is(err, context.DeadlineExceeded):
		reason = "time ran out"
	case errors.Is(err, context.Canceled):
		reason = "interrupted"
	}
	if n := len(p.NotCompared); n > 0 {
		last := &p.NotCompared[n-1]
		if last.What == what && last.Reason == reason && last.Lasting == lasts && last.Shard+last.Count == lo {
			last.Count += hi - lo
			return
		}
	}
	if len(p.NotCompared) == listMax {
		p.MoreNot++
		return
	}
	p.NotCompared = append(p.NotCompared,
		Gap{What: what, Shard: lo, Count: hi - lo, Reason: reason, Lasting: lasts})
}
