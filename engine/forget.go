package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// ErrHeard: the peer has answered before, and may come back for what it lacks.
var ErrHeard = node.ErrHeard

// ForgetReport is what it costs to forget a peer, as JSON in schema 1.
type ForgetReport struct {
	Schema int    `json:"schema"` // 1
	Kind   string `json:"kind"`   // "forget"
	Site   string `json:"site"`   // the one that is forgotten
	Done   bool   `json:"done"`   // false: only asked for what it would cost

	// What the site could not be given any more, should it exist: it would need a copy of
	// the whole.
	Shards  int   `json:"shards_count"` // whose logs have entries
	Entries int64 `json:"entries"`      // in them
	// What the own journal keeps now; what is kept for that site alone of it is given back.
	JournalBytes    int64 `json:"journal_bytes"`
	JournalSegments int   `json:"journal_segments"`
}

// Forget gives up a peer that never answered, such as a mistyped name: nothing is kept for
// it any more, and it is not dialed until the next Open that names it. A peer that ever
// answered is not forgotten (ErrHeard); one that nobody knows is ErrOptions. With only,
// nothing is changed, and the report says what it would cost. It is durable with the next
// flush of the own journal, within a second or so.
func (e *Engine) Forget(site string, only bool) (*ForgetReport, error) {
	if e.closing.Load() {
		return nil, ErrClosed
	}
	in := node.Forget{Site: wire.SiteIDOf(e.o.Cluster, site), Only: only}
	e.step(&in)
	switch {
	case errors.Is(in.Err, node.ErrNoPeer):
		return nil, fmt.Errorf("site %s has no peer %q: %w", e.id.siteName, site, ErrOptions)
	case in.Err != nil:
		return nil, fmt.Errorf("site %s keeps what site %s is missing: %w", e.id.siteName, site, in.Err)
	}
	stats := e.own.j.Stats()
	return &ForgetReport{
		Schema: 1, Kind: "forget", Site: site, Done: !only, Shards: in.Loss.Shards, Entries: in.Loss.Entries,
		JournalBytes: stats.Bytes, JournalSegments: stats.Segments,
	}, nil
}
