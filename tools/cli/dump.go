package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/wire"
)

// dumpReport is "cfs dump … -o json"; -o jsonl prints its rows.
type dumpReport struct {
	Schema int       `json:"schema"`
	Kind   string    `json:"kind"`
	What   string    `json:"what"` // "segment" or "frame"
	File   string    `json:"file"`
	Bytes  int64     `json:"file_bytes"`
	Damage int       `json:"damage_count"`
	Head   any       `json:"head"` // of a segment; null else
	Rows   []dumpRow `json:"rows"`
}

// dumpRow is one flush unit or frame, or a place whose bytes do not hold.
type dumpRow struct {
	Offset  int64       `json:"offset"`
	Bytes   int64       `json:"bytes"`
	Kind    string      `json:"kind"`
	Number  uint64      `json:"number"`
	Text    string      `json:"text"` // for people
	Damage  *string     `json:"damage"`
	Batches []dumpBatch `json:"batches"`
}

// dumpBatch is one batch's header.
type dumpBatch struct {
	Kind        string    `json:"kind"`
	Site        string    `json:"site_id"`
	Shard       uint32    `json:"shard"`
	Incarnation string    `json:"incarnation"`
	FirstSeq    uint64    `json:"first_seq"`
	LastSeq     uint64    `json:"last_seq"`
	Count       uint32    `json:"count"`
	Bytes       int       `json:"bytes"`
	Epoch       uint64    `json:"epoch"`
	Chain       string    `json:"chain"`
	Prev        string    `json:"previous_chain"`
	FirstAt     time.Time `json:"first_at"`
	LastAt      time.Time `json:"last_at"`
}

func dumpBatchOf(h *wire.BatchHeader) dumpBatch {
	return dumpBatch{
		Kind: h.Kind.String(), Site: fmt.Sprintf("%08x", uint32(h.Site)), Shard: uint32(h.Shard),
		Incarnation: h.Incarnation.String(), FirstSeq: uint64(h.FirstSeq), LastSeq: uint64(h.LastSeq()),
		Count: h.Count, Bytes: h.Bytes(), Epoch: uint64(h.Epoch), Chain: h.Chain.String(), Prev: h.Prev.String(),
		FirstAt: h.FirstStamp.Time().UTC(), LastAt: h.LastStamp.Time().UTC(),
	}
}

func (a *app) dump() *cobra.Command {
	return branch("dump", "read journal files and frames, damaged ones too",
		a.dumpVerb("segment FILE [-o FORMAT]", "the flush units of a journal segment", readSegment),
		a.dumpVerb("frame FILE [-o FORMAT]", "the frames of a recorded link", readFrames))
}

func (a *app) dumpVerb(use, short string, read func(path string) (*dumpReport, error)) *cobra.Command {
	var o *output
	c := verb(use, short, Read, 1, 1, func(_ *cobra.Command, args []string) error {
		report, err := read(args[0])
		if err != nil {
			return failure(ExitFailed, err, "name a file: a server's segments are below DIR/repl in its --data DIR")
		}
		if err := a.showDump(o, report); err != nil {
			return err
		}
		if report.Damage > 0 {
			return failure(ExitFailed, fmt.Errorf("%s: damage at %s", report.File,
				plural(report.Damage, "place", "places")), damageNext(report.What))
		}
		return nil
	})
	o = a.outputFlags(c)
	return c
}

func damageNext(what string) string {
	if what == "segment" {
		return "start the server: it repairs a mirror from a peer, and names the logs that it cannot prove"
	}
	return "the link sends a damaged frame again; record it once more"
}

func (a *app) showDump(o *output, r *dumpReport) error {
	switch o.format {
	case FormatJSON:
		return o.object(r)
	case FormatJSONL:
		for i := range r.Rows {
			if err := o.object(&r.Rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(a.stdout, "OFFSET", "BYTES", "KIND", "NUMBER", "WHAT")
	for i := range r.Rows {
		row := &r.Rows[i]
		what := row.Text
		if row.Damage != nil {
			what = "DAMAGED: " + *row.Damage
		}
		t.row(fmt.Sprint(row.Offset), fmt.Sprint(row.Bytes), row.Kind, fmt.Sprint(row.Number), what)
		for j := range row.Batches {
			if b := &row.Batches[j]; o.wide() {
				what := fmt.Sprintf("site %s shard %d seq %d–%d epoch %d chain %s",
					b.Site, b.Shard, b.FirstSeq, b.LastSeq, b.Epoch, b.Chain)
				t.row("", fmt.Sprint(b.Bytes), "  "+b.Kind, "", what)
			}
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	counted, one := 0, "frame"
	if r.What == "segment" {
		one = "flush unit"
	}
	for i := range r.Rows {
		if r.Rows[i].Damage == nil && r.Rows[i].Kind != "head" {
			counted++
		}
	}
	fmt.Fprintf(a.stdout, "%s, %s, damage at %s\n", plural(counted, one, one+"s"),
		humanBytes(r.Bytes), plural(r.Damage, "place", "places"))
	return nil
}

// frameFileBytesMax bounds what "dump frame" reads into memory.
const frameFileBytesMax = 1 << 30

// readFrames walks a file of frames, one behind the other. Behind damage it
// goes on at the next offset where a whole frame holds.
func readFrames(path string) (*dumpReport, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > frameFileBytesMax:
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read: cut the file", path, info.Size(), frameFileBytesMax)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &dumpReport{Schema: 1, Kind: "dump", What: "frame", File: path, Bytes: int64(len(data)), Rows: []dumpRow{}}
	for at := 0; at < len(data); {
		row, err := readFrame(data[at:])
		if err != nil {
			text := err.Error()
			row = dumpRow{Kind: "damage", Bytes: int64(nextFrame(data[at:])), Damage: &text, Batches: []dumpBatch{}}
			r.Damage++
		}
		row.Offset = int64(at)
		at += int(row.Bytes)
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

// nextFrame is the distance from the start of b, which is damaged, to the next
// whole frame, or to the end.
func nextFrame(b []byte) int {
	for at := 1; at < len(b); at++ {
		if _, err := readFrame(b[at:]); err == nil {
			return at
		}
	}
	return len(b)
}

// readFrame decodes the frame at the start of b.
func readFrame(b []byte) (dumpRow, error) {
	var e wire.Envelope
	if err := wire.DecodeEnvelope(b, &e); err != nil {
		return dumpRow{}, err
	}
	size := e.FrameBytes()
	if size > len(b) {
		return dumpRow{}, fmt.Errorf("%s frame of %d bytes, the file ends after %d: %w",
			e.Kind, size, len(b), wire.ErrCorrupt)
	}
	frame := b[:size]
	if err := wire.CheckFrame(&e, frame); err != nil {
		return dumpRow{}, err
	}
	row := dumpRow{Bytes: int64(size), Kind: e.Kind.String(), Number: e.Number, Batches: []dumpBatch{}}
	if e.Kind != wire.FrameBatches && e.Kind != wire.FrameFetched {
		text, err := messageText(e.Kind, wire.Body(&e, frame))
		row.Text = text
		return row, err
	}
	batches, err := wire.Unpack(&e, frame, nil)
	if err != nil {
		return dumpRow{}, err
	}
	entries := 0
	for i := range batches {
		row.Batches = append(row.Batches, dumpBatchOf(&batches[i].Header))
		entries += int(batches[i].Header.Count)
	}
	row.Text = fmt.Sprintf("session %d  %s  %s", e.Session,
		plural(len(batches), "batch", "batches"), plural(entries, "entry", "entries"))
	return row, nil
}

// messageText tells a control frame in a few words.
func messageText(kind wire.FrameKind, body []byte) (string, error) {
	m := wire.NewMessage(kind)
	if m == nil {
		return "", errors.New("no control frame")
	}
	if err := m.Decode(body); err != nil {
		return "", err
	}
	switch m := m.(type) {
	case *wire.Hello:
		return fmt.Sprintf("cluster %q  %s to %s  versions %d–%d  session (%d, %d)  shards %d  epoch %d", m.ClusterName,
			m.SiteName, m.PeerName, m.VersionMin, m.VersionMax, m.Term, m.Counter, m.Shards, m.Epoch), nil
	case *wire.Welcome:
		return fmt.Sprintf("%s  version %d  term %d", m.SiteName, m.Version, m.Term), nil
	case *wire.Refusal:
		return fmt.Sprintf("%s: %s", m.Code, m.Text), nil
	case *wire.Ack:
		return fmt.Sprintf("%s up to frame %d", m.Level, m.Number), nil
	case *wire.BatchRefusal:
		return fmt.Sprintf("log %s at seq %d: %s: %s", m.Log, m.Position.Seq, m.Code, m.Text), nil
	case *wire.CursorPage:
		return plural(len(m.Entries), "log", "logs"), nil
	case *wire.Heartbeat:
		return fmt.Sprintf("number %d  last stamp %s", m.Number, stampText(m.LastStamp)), nil
	case *wire.HeartbeatEcho:
		return fmt.Sprintf("number %d", m.Number), nil
	case *wire.Fetch:
		return fmt.Sprintf("log %s  seq %d to %d", m.Log, m.From.Seq, m.To), nil
	case *wire.FetchEnd:
		return fmt.Sprintf("code %d  %s", m.Code, m.Text), nil
	case *wire.Join:
		return fmt.Sprintf("link %x  stream %d of %d", m.Link, m.Stream, m.Streams), nil
	case *wire.Verify:
		return fmt.Sprintf("id %d  kind %d  log %s  seq %d  count %d", m.ID, m.Kind, m.Log, m.Seq, m.Count), nil
	case *wire.Verified:
		return fmt.Sprintf("id %d  code %d  %s, %s  %s", m.ID, m.Code, plural(len(m.Rows), "log", "logs"),
			plural(len(m.Parts), "part", "parts"), m.Text), nil
	}
	return fmt.Sprintf("%+v", m), nil
}

func stampText(s wire.Stamp) string {
	if s == 0 {
		return "none"
	}
	return s.Time().UTC().Format(time.RFC3339Nano)
}
