package cli

import (
	"io"
	"strconv"
	"time"

	"github.com/claudefs/repl/engine"
)

// lagReport is "cfs admin replication lag -o json".
type lagReport struct {
	Schema int       `json:"schema"`
	Kind   string    `json:"kind"`
	Site   string    `json:"site"`
	At     time.Time `json:"at"`
	Peers  []lagRow  `json:"peers"`
}

// lagRow is one peer's lag; -o jsonl prints these.
type lagRow struct {
	Peer      string           `json:"peer"`
	HeardAt   *time.Time       `json:"last_heard_at"`
	Link      string           `json:"link"`
	WaitingOn string           `json:"waiting_on"`
	Durable   engine.LagStatus `json:"durable"`
	Applied   engine.LagStatus `json:"applied"`
}

func lagReportOf(s *engine.Status) lagReport {
	r := lagReport{Schema: 1, Kind: "lag", Site: s.Site, At: s.At, Peers: make([]lagRow, 0, len(s.Peers))}
	for i := range s.Peers {
		p := &s.Peers[i]
		r.Peers = append(r.Peers, lagRow{p.Site, p.HeardAt, p.Link, p.WaitingOn, p.Durable, p.Applied})
	}
	return r
}

// lagTable prints one row for each peer and level.
func lagTable(w io.Writer, o *output, s *engine.Status) error {
	columns := []string{"PEER", "LEVEL", "TIME", "BYTES", "ENTRIES", "WAITING ON"}
	if o.wide() {
		columns = append(columns, "LINK", "LAST HEARD")
	}
	t := newTable(w, columns...)
	for i := range s.Peers {
		p := &s.Peers[i]
		for _, level := range []struct {
			name string
			lag  *engine.LagStatus
		}{{"durable", &p.Durable}, {"applied", &p.Applied}} {
			row := append([]string{p.Site, level.name}, lagCells(s, p, level.lag)...)
			row = append(row, orNothing(p.WaitingOn))
			if o.wide() {
				row = append(row, linkText(p), silenceText(s, p))
			}
			t.row(row...)
		}
	}
	return t.flush()
}

// lagCells are time, bytes and entries; unknown is written into each, with what is at
// least behind.
func lagCells(s *engine.Status, p *engine.PeerStatus, l *engine.LagStatus) []string {
	if l.State != engine.LagKnown || l.Seconds == nil {
		cells := []string{lagText(s, p, l), "unknown", "unknown"}
		if l.AtLeastBytes != nil {
			cells[1] = "at least " + humanBytes(*l.AtLeastBytes)
		}
		if l.AtLeastEntries != nil {
			cells[2] = "at least " + strconv.FormatInt(*l.AtLeastEntries, 10)
		}
		return cells
	}
	cells := []string{humanSeconds(*l.Seconds), "unknown", "unknown"}
	if l.Bytes != nil {
		cells[1] = humanBytes(*l.Bytes)
	}
	if l.Entries != nil {
		cells[2] = strconv.FormatInt(*l.Entries, 10)
	}
	return cells
}
