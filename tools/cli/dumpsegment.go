package cli

import (
	"fmt"
	"os"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
)

// segmentHead is a segment's head in JSON.
type segmentHead struct {
	Journal      string       `json:"journal"` // "own" or "mirror"
	Repair       bool         `json:"repair"`
	Bytes        int64        `json:"bytes"`
	Term         uint32       `json:"term"`
	Cluster      string       `json:"cluster_id"`
	Site         string       `json:"site_id"`
	Segment      uint64       `json:"segment"`
	Generation   uint64       `json:"generation"`
	SegmentBytes int64        `json:"segment_bytes"`
	FirstUnit    uint64       `json:"first_unit"`
	PrevUnit     uint64       `json:"previous_unit"`
	DurableUnit  uint64       `json:"durable_through_unit"`
	Logs         []segmentLog `json:"logs"`
}

// segmentLog is one row of a head's table of log tails.
type segmentLog struct {
	Site        string `json:"site_id"`
	Shard       uint32 `json:"shard"`
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"`
	Chain       string `json:"chain"`
	Suspect     bool   `json:"suspect"`
}

func segmentHeadOf(h *journal.HeadInfo) *segmentHead {
	head := &segmentHead{
		Journal: "own", Repair: h.Repair, Bytes: h.Bytes, Term: uint32(h.Term),
		Cluster: fmt.Sprintf("%016x", uint64(h.Cluster)), Site: fmt.Sprintf("%08x", uint32(h.Site)),
		Segment: h.Segment, Generation: h.Generation, SegmentBytes: h.SegmentBytes,
		FirstUnit: uint64(h.First), PrevUnit: uint64(h.Prev), DurableUnit: uint64(h.Mark), Logs: []segmentLog{},
	}
	if h.Kind == journal.Mirror {
		head.Journal = "mirror"
	}
	for _, l := range h.Logs {
		head.Logs = append(head.Logs, segmentLog{
			Site: fmt.Sprintf("%08x", uint32(l.Log.Site)), Shard: uint32(l.Log.Shard),
			Incarnation: l.Tail.Position.Incarnation.String(), Seq: uint64(l.Tail.Position.Seq),
			Chain: l.Tail.Position.Chain.String(), Suspect: l.Suspect,
		})
	}
	return head
}

// readSegment reads what holds of a segment file.
func readSegment(path string) (*dumpReport, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &dumpReport{Schema: 1, Kind: "dump", What: "segment", File: path, Bytes: info.Size(), Rows: []dumpRow{}}
	err = journal.Inspect(vfs.OS{}, path, func(i journal.Item) error {
		r.addItem(&i)
		return nil
	})
	return r, err
}

// addItem books what Inspect found: batches go to their unit's row, damage gets
// a row of its own.
func (r *dumpReport) addItem(i *journal.Item) {
	switch {
	case i.Head != nil:
		h := i.Head
		head := segmentHeadOf(h)
		r.Head = head
		r.Rows = append(r.Rows, dumpRow{
			Offset: i.Offset, Bytes: h.Bytes, Kind: "head", Number: h.Segment, Batches: []dumpBatch{},
			Text: fmt.Sprintf("%s journal  site %s  term %d  generation %d  units from %d  durable through %d  %s",
				head.Journal, head.Site, h.Term, h.Generation, h.First, h.Mark, plural(len(h.Logs), "log", "logs")),
		})
	case i.Unit != nil:
		u := i.Unit
		r.Rows = append(r.Rows, dumpRow{
			Offset: i.Offset, Bytes: int64(u.Bytes), Kind: "unit", Number: uint64(u.Number), Batches: []dumpBatch{},
			Text: fmt.Sprintf("term %d  %s  %d bytes used  durable through %d", u.Term,
				plural(u.Batches, "batch", "batches"), u.Used, u.Mark),
		})
	case i.Batch != nil:
		last := &r.Rows[len(r.Rows)-1]
		if last.Kind == "unit" {
			last.Batches = append(last.Batches, dumpBatchOf(i.Batch))
		}
	case i.Damage != nil:
		r.Damage++
		r.Rows = append(r.Rows, dumpRow{
			Offset: i.Offset, Kind: "damage", Number: uint64(i.Damage.Unit), Damage: &i.Damage.Reason,
			Batches: []dumpBatch{},
		})
	}
}
