package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/orphan"
	"github.com/claudefs/repl/wire"
)

// orphansName is the directory of the files of orphans, in the engine's.
const orphansName = "orphans"

// orphansShownMax bounds the entries of one report.
const orphansShownMax = 1000

// OrphansReport is what did not survive a failover and is kept at this site, as JSON in schema 1.
type OrphansReport struct {
	Schema int       `json:"schema"` // 1
	Kind   string    `json:"kind"`   // "orphans"
	At     time.Time `json:"at"`
	Site   string    `json:"site"`

	Entries   int64       `json:"entries"` // listed, or discarded
	Discarded bool        `json:"discarded"`
	Logs      []OrphanLog `json:"logs"` // sorted by site, shard, epoch
	// Shown are entries that were asked for, at most 1000; ShownAll: that is all of them.
	Shown    []OrphanEntry `json:"shown"`
	ShownAll bool          `json:"shown_all"`
}

// OrphanLog is the orphans of one log and epoch.
type OrphanLog struct {
	Site     string `json:"site"` // which wrote them
	Shard    int    `json:"shard"`
	Epoch    uint64 `json:"epoch"`
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Entries  int64  `json:"entries"`
}

// OrphanEntry is one orphan.
type OrphanEntry struct {
	Ref          string   `json:"ref"` // SITE/SHARD/INCARNATION/SEQ
	Epoch        uint64   `json:"epoch"`
	Stamp        uint64   `json:"stamp"`
	Op           int      `json:"op"`
	Keys         [][]byte `json:"keys_b64"`
	PayloadBytes int      `json:"payload_bytes"`
	Request      string   `json:"request"` // in hexadecimal; "" = none
}

// OrphansOptions say which orphans are meant.
type OrphansOptions struct {
	Shards []int    // their entries are shown
	Refs   []string // so are these
	// By is who asks for a Discard, for the audit trail: such as the address of a client. "" = the
	// program that runs the engine.
	By string
}

// Orphans lists what did not survive a failover, and shows entries. ErrOptions: a ref is not one of them.
func (e *Engine) Orphans(o OrphansOptions) (*OrphansReport, error) {
	r, listed := e.orphansReport()
	refs, err := e.orphanRefs(o.Refs)
	if err != nil {
		return nil, err
	}
	for _, l := range listed {
		wants := func(r *orphan.Range, seq wire.Seq) bool {
			return slices.Contains(o.Shards, int(r.Log.Shard)) ||
				slices.Contains(refs, wire.Ref{Log: r.Log, Incarnation: r.Incarnation, Seq: seq})
		}
		err := e.orphans.Entries(l.Incarnation, func(of *orphan.Range, entry *wire.Entry) error {
			switch {
			case !wants(of, entry.Seq):
			case len(r.Shown) == orphansShownMax:
				r.ShownAll = false
			default:
				r.Shown = append(r.Shown, e.orphanEntry(of, entry))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r.ShownAll && len(r.Shown) < len(refs) {
		return nil, fmt.Errorf("%d of %d refs are not orphans of site %s: %w",
			len(refs)-len(r.Shown), len(refs), e.id.siteName, ErrOptions)
	}
	return r, nil
}

func (e *Engine) orphansReport() (*OrphansReport, []orphan.Listed) {
	listed := e.orphans.List()
	r := &OrphansReport{
		Schema: 1, Kind: "orphans", At: time.Now().UTC(), Site: e.id.siteName, Logs: []OrphanLog{},
		Shown: []OrphanEntry{}, ShownAll: true,
	}
	for _, l := range listed {
		r.Entries += l.Entries
		r.Logs = append(r.Logs, OrphanLog{
			Site: e.siteName(l.Log.Site), Shard: int(l.Log.Shard), Epoch: uint64(l.Epoch),
			FirstSeq: uint64(l.After + 1), LastSeq: uint64(l.To), Entries: l.Entries,
		})
	}
	return r, listed
}

func (e *Engine) orphanEntry(of *orphan.Range, entry *wire.Entry) OrphanEntry {
	o := OrphanEntry{
		Ref:   fmt.Sprintf("%s/%d/%s/%d", e.siteName(of.Log.Site), of.Log.Shard, of.Incarnation, entry.Seq),
		Epoch: uint64(of.Epoch), Stamp: uint64(entry.Stamp), Op: int(entry.Op), PayloadBytes: len(entry.Payload),
	}
	for _, key := range entry.Keys {
		o.Keys = append(o.Keys, slices.Clone(key))
	}
	if entry.Request != (wire.RequestID{}) {
		o.Request = hex.EncodeToString(entry.Request[:])
	}
	return o
}

// orphanRefs reads refs as OrphanEntry shows them.
func (e *Engine) orphanRefs(texts []string) (refs []wire.Ref, err error) {
	for _, text := range texts {
		part := strings.Split(text, "/")
		bad := fmt.Errorf("ref %q: want SITE/SHARD/INCARNATION/SEQ, as the list shows it: %w", text, ErrOptions)
		if len(part) != 4 {
			return nil, bad
		}
		shard, err1 := strconv.ParseUint(part[1], 10, 32)
		in, err2 := hex.DecodeString(part[2])
		seq, err3 := strconv.ParseUint(part[3], 10, 64)
		ref := wire.Ref{Log: wire.LogID{Site: wire.SiteIDOf(e.o.Cluster, part[0]), Shard: wire.Shard(shard)}}
		ref.Seq = wire.Seq(seq)
		if errors.Join(err1, err2, err3) != nil || len(in) != len(ref.Incarnation) || seq == 0 {
			return nil, bad
		}
		copy(ref.Incarnation[:], in)
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// DiscardOrphans takes orphans off the list permanently: those of refs, or all of them without any.
// The audit trail has how many before it is done, else it is not done (ErrAudit). ErrOptions: a ref is
// not an orphan here.
func (e *Engine) DiscardOrphans(o OrphansOptions) (*OrphansReport, error) {
	o.Shards = nil
	r, err := e.Orphans(o)
	if err != nil {
		return nil, err
	}
	refs, _ := e.orphanRefs(o.Refs) // it has passed
	listed := e.orphans.List()
	ranges := orphan.RangesOf(listed, refs)
	if len(o.Refs) == 0 {
		for _, l := range listed {
			ranges = append(ranges, l.Range)
		}
	} else {
		r.Entries = int64(len(refs))
	}
	if r.Entries == 0 {
		return r, nil
	}
	what := fmt.Sprintf("%d entries that did not survive a failover are not kept any more", r.Entries)
	entry := audit.Entry{Kind: "orphans-discard", Shard: -1, What: what}
	err = e.audited(entry, o.By, func() error { return e.orphans.Settle(ranges) })
	r.Discarded = err == nil
	return r, err
}

// saveOrphans saves what ends leave behind that became known, and tells of it. Only housework calls it.
func (e *Engine) saveOrphans() {
	// Before the first look nothing was withheld: segments stay for a while after a start, for peers
	// that lost theirs.
	before, stale := e.orphans.Err(), e.housework.looked && e.orphans.Stale()
	e.housework.looked = true
	told, err := e.orphans.Look()
	for _, t := range told {
		e.tell(&event.OrphansSaved{
			Place: event.Place{Log: t.Log}, Epoch: t.Epoch, Entries: t.Entries, Logs: t.Logs, Gone: t.Gone,
		})
	}
	switch {
	case err != nil && e.life.Err() == nil:
		if before == nil {
			e.tell(&event.Failed{What: event.KindOrphansUnsaved, Err: fmt.Errorf("orphans are not saved: %w", err)})
		}
		time.AfterFunc(retainPause, e.housework.saveOrphans)
	case len(told) > 0 || before != nil || stale:
		for _, f := range e.journals() { // what was withheld may go
			e.housework.retain(f.kind)
		}
	}
}

// orphansSaved returns when the Store of a shard may be mended: what it has beyond ends is in files.
func (e *Engine) orphansSaved(ctx context.Context, shard wire.Shard) error {
	for asked := false; ; asked = true {
		why := e.orphans.Holds(shard)
		if why == nil {
			return nil
		}
		if !asked {
			e.housework.saveOrphans()
		}
		select {
		case <-time.After(restPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: make room for them: %w", why, ctx.Err())
		case <-e.life.Done():
			return ErrClosed
		}
	}
}

func (e *Engine) orphanStatus() (s OrphanStatus) {
	for _, l := range e.orphans.List() {
		s.Entries += l.Entries
		s.Logs++
	}
	if err := e.orphans.Err(); err != nil {
		s.Reason = err.Error()
	}
	return s
}

// text words it for health.
func (s *OrphanStatus) text() string {
	if s.Reason != "" {
		return "orphans are not saved, mending waits: " + s.Reason
	}
	return fmt.Sprintf("%d entries of %d logs did not survive a failover: cfs admin replication orphans list",
		s.Entries, s.Logs)
}
