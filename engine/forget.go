package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// Why a peer is not forgotten.
var (
	// ErrHeard: it has answered before, and may come back for what it lacks.
	ErrHeard = node.ErrHeard
	// ErrLinked: it is linked now, so that it is not gone.
	ErrLinked = node.ErrLinked
	// ErrWriter: it writes this cluster.
	ErrWriter = node.ErrWriter
)

// ForgetOptions say how a peer is forgotten.
type ForgetOptions struct {
	Only bool // report what it would cost, and change nothing
	Gone bool // although it has answered before: it is gone for good
	// By is who asks, for the audit trail: such as the address of a client. "" = the program
	// that runs the engine.
	By string
}

// ForgetReport is what it costs to forget a peer, as JSON in schema 1.
type ForgetReport struct {
	Schema int    `json:"schema"` // 1
	Kind   string `json:"kind"`   // "forget"
	Site   string `json:"site"`   // the one that is forgotten
	Done   bool   `json:"done"`   // false: only asked for what it would cost
	Heard  bool   `json:"heard"`  // it answered, in this life of the engine or before

	// What the site could not be given any more, should it come: it would need a copy of
	// the whole.
	Shards  int   `json:"shards_count"` // of whose logs it has not confirmed all
	Entries int64 `json:"entries"`      // of them that it has not confirmed
	// LastEntries it has confirmed, and neither journal nor Store of this site has.
	LastEntries int64 `json:"last_copy_entries"`
	// What the own journal keeps now; what is kept for that site alone of it is given back.
	JournalBytes    int64 `json:"journal_bytes"`
	JournalSegments int   `json:"journal_segments"`
}

// Forget gives up a peer that never answered, such as a mistyped name, or with Gone one that
// did and will not come back: nothing is kept for it any more, its word is not waited for,
// and it is not dialed until the next Open that names it. One that has answered wants Gone
// (ErrHeard), is not linked now (ErrLinked) and is not the primary (ErrWriter); one that
// nobody knows is ErrOptions. It is in the audit trail before it is done, else it is not done
// (ErrAudit). It is durable with the next flush of the own journal, within a second or so.
func (e *Engine) Forget(site string, o ForgetOptions) (*ForgetReport, error) {
	if e.closing.Load() {
		return nil, ErrClosed
	}
	in := node.Forget{Site: wire.SiteIDOf(e.o.Cluster, site), Only: true, Gone: o.Gone}
	e.step(&in)
	if in.Err == nil && !o.Only {
		what := fmt.Sprintf("%d entries of %d shards are not kept for it any more, %d that only it has are given up",
			in.Loss.Entries, in.Loss.Shards, in.Loss.Last)
		if err := e.audited(audit.Entry{Kind: "forget", Peer: site, Shard: -1, What: what}, o.By, func() error {
			in.Only = false
			e.step(&in)
			return in.Err
		}); errors.Is(err, ErrAudit) {
			return nil, err
		}
	}
	switch {
	case errors.Is(in.Err, node.ErrNoPeer):
		return nil, fmt.Errorf("site %s has no peer %q: %w", e.id.siteName, site, ErrOptions)
	case in.Err != nil:
		return nil, fmt.Errorf("site %s does not forget site %s: %w", e.id.siteName, site, in.Err)
	}
	stats := e.own.j.Stats()
	return &ForgetReport{
		Schema: 1, Kind: "forget", Site: site, Done: !o.Only, Heard: in.Heard, Shards: in.Loss.Shards,
		Entries: in.Loss.Entries, LastEntries: in.Loss.Last, JournalBytes: stats.Bytes, JournalSegments: stats.Segments,
	}, nil
}
