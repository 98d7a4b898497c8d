package demo

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/wire"
)

// Verdict is how a run of Demo ended: "cfs demo --json".
type Verdict struct {
	Schema     int    `json:"schema"`
	Kind       string `json:"kind"` // "demo"
	OK         bool   `json:"ok"`
	Sites      int    `json:"sites"`
	Entries    int    `json:"entries"` // decided at site-a
	Bytes      int64  `json:"bytes"`   // of content
	Rate       int64  `json:"entries_per_second"`
	Kills      int    `json:"kills"`
	Lost       int    `json:"lost"`
	Duplicated int    `json:"duplicated"`
	Digest     string `json:"digest"`
	Difference string `json:"first_difference"` // "" = none

	Tree          string  `json:"tree"`
	Names         int64   `json:"names"`      // files, directories and links imported
	Skipped       int64   `json:"skipped"`    // of kinds that are not kept
	Unreadable    int64   `json:"unreadable"` // not imported
	Seed          uint64  `json:"seed"`
	Acked         int     `json:"acked"`
	ImportSeconds float64 `json:"import_seconds"`
	SettleSeconds float64 `json:"settle_seconds"`
	Dir           string  `json:"dir"` // "" = removed
}

// Line is the one line that closes a run.
func (v *Verdict) Line() string {
	if v.OK {
		return "demo: ok " + v.counts() + " digest=" + v.Digest
	}
	return "demo: FAILED " + v.counts() + fmt.Sprintf(" difference=%q", v.Difference)
}

func (v *Verdict) counts() string {
	return fmt.Sprintf("sites=%d entries=%d bytes=%d rate=%d/s kills=%d lost=%d duplicated=%d",
		v.Sites, v.Entries, v.Bytes, v.Rate, v.Kills, v.Lost, v.Duplicated)
}

// findings is what comparing both sites with the ledger showed.
type findings struct {
	entries    int
	names      uint64 // at site-a
	lost       int
	duplicated int
	digest     string
	difference string // the first thing that is not as it must be; "" = none
}

// compare audits both sites, which have settled, against what was acknowledged
// (I1, I2, I3, I7).
func (p *pair) compare(ctx context.Context, acked ledger) (findings, error) {
	var f findings
	for i, name := range siteNames {
		audit, err := p.audit(ctx, i)
		if err != nil {
			return f, fmt.Errorf("audit of %s: %w", name, err)
		}
		if i == 0 {
			f.entries = len(audit.distinct)
		}
		f.duplicated += audit.duplicated()
		if lost, first := audit.lost(acked); lost > 0 {
			f.lost += lost
			f.note("%s has no row for the acknowledged entry (shard %d, seq %d)", name, first.Log.Shard, first.Seq)
		}
		if err := audit.gap(); err != nil {
			f.note("%s: %v", name, err)
		}
		if n := len(audit.distinct); n != f.entries {
			f.note("%s decided %d entries, %s decided %d", siteNames[0], f.entries, name, n)
		}
	}
	if f.duplicated > 0 {
		f.note("%d rows repeat an entry", f.duplicated)
	}
	return f, p.compareDigests(ctx, &f)
}

// note keeps the first difference.
func (f *findings) note(format string, args ...any) {
	f.difference = cmp.Or(f.difference, fmt.Sprintf(format, args...))
}

// compareDigests compares namespace and content, and looks for the first path
// that differs if the digests do.
func (p *pair) compareDigests(ctx context.Context, f *findings) error {
	var digests [2]fsapi.Digest
	for i, name := range siteNames {
		var err error
		if digests[i], err = p.clients[i].Digest(ctx); err != nil {
			return fmt.Errorf("digest of %s: %w", name, err)
		}
	}
	f.digest, f.names = digests[0].Hash, digests[0].Names
	if a, b := digests[0].Applied, digests[1].Applied; a != b {
		f.note("%s has applied up to %d, %s up to %d, summed over all logs", siteNames[0], a, siteNames[1], b)
	}
	if digests[0].Hash == digests[1].Hash {
		return nil
	}
	path, err := p.firstDifference(ctx)
	if err != nil {
		return err
	}
	f.difference = path // says more than whatever was noted before
	return nil
}

// audit reads the decided rows of a site.
func (p *pair) audit(ctx context.Context, i int) (*siteAudit, error) {
	audit := newSiteAudit()
	return audit, p.clients[i].Decided(ctx, 0, func(row fsapi.DecidedRow) error {
		ref, err := refOf(&row)
		if err == nil {
			audit.add(ref)
		}
		return err
	})
}

// refOf names the entry that a row decided.
func refOf(row *fsapi.DecidedRow) (wire.Ref, error) {
	log := wire.LogID{Site: wire.SiteID(row.Site), Shard: wire.Shard(row.Shard)}
	ref := wire.Ref{Log: log, Seq: wire.Seq(row.Seq)}
	if n, err := hex.Decode(ref.Incarnation[:], []byte(row.Incarnation)); err != nil || n != len(ref.Incarnation) {
		return ref, fmt.Errorf("row %d: incarnation %q", row.Row, row.Incarnation)
	}
	return ref, nil
}

// firstDifference walks both sites and returns the first path whose attributes
// or content differ. Walks are in the same order, so the first rows that differ
// name it.
func (p *pair) firstDifference(ctx context.Context) (string, error) {
	var rows [2][]fsapi.WalkRow
	for i, name := range siteNames {
		if err := p.clients[i].Walk(ctx, "/", func(r fsapi.WalkRow) error {
			rows[i] = append(rows[i], r)
			return nil
		}); err != nil {
			return "", fmt.Errorf("walk of %s: %w", name, err)
		}
	}
	return firstDifference(rows[0], rows[1]), nil
}

func firstDifference(a, b []fsapi.WalkRow) string {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i].Path < b[i].Path:
			return a[i].Path + " is missing at " + siteNames[1]
		case a[i].Path > b[i].Path:
			return b[i].Path + " is missing at " + siteNames[0]
		case a[i] != b[i]:
			return a[i].Path + " differs"
		}
	}
	switch {
	case len(a) > len(b):
		return a[len(b)].Path + " is missing at " + siteNames[1]
	case len(b) > len(a):
		return b[len(a)].Path + " is missing at " + siteNames[0]
	}
	return "digests differ, but no path does"
}
