package cli

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/claudefs/repl/wire"
)

// frameOf is a frame whose envelope and checksum hold, whatever the body is.
func frameOf(kind wire.FrameKind, body []byte) []byte {
	e := wire.Envelope{Kind: kind, BatchCount: 1, Session: 7, Number: 1, WireBytes: uint32(len(body))}
	if kind == wire.FrameBatches || kind == wire.FrameFetched {
		return append(wire.AppendBatchesEnvelope(nil, &e), body...)
	}
	e.BatchCount = 0
	switch kind {
	case wire.FrameHello, wire.FrameJoin:
		e.Session, e.Number = 0, 0
	case wire.FrameFetch, wire.FrameFetchEnd:
	default:
		e.Number = 0
	}
	b := append(wire.AppendBatchesEnvelope(nil, &e), body...)
	clear(b[28:32])
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// FuzzDumpFrames: the rows of a file cover it without a gap; one that is whole reads the
// same alone, no frame hides in damage, and what follows whatever came is found.
func FuzzDumpFrames(f *testing.F) {
	last := (&wire.Heartbeat{Clock: 1, LastStamp: 2, Number: 3}).AppendTo(nil, 7)
	head := last[:wire.EnvelopeBytes]
	for _, m := range []interface {
		AppendTo(dst []byte, session uint32) []byte
	}{
		&wire.Heartbeat{Clock: 1}, &wire.Ack{Level: wire.LevelDurable, Number: 1}, &wire.Refusal{Text: "no"},
		&wire.Fetch{ID: 1, To: 9}, &wire.FetchEnd{ID: 1, Text: "x"}, &wire.CursorPage{},
	} {
		frame := m.AppendTo(nil, 7)
		f.Add(head, frame[0], frame[wire.EnvelopeBytes:])
		f.Add(slices.Concat(head, last, []byte("garbage")), frame[0], frame[wire.EnvelopeBytes:])
	}
	h := wire.BatchHeader{
		Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 2, Epoch: 1, Count: 1, FirstSeq: 1,
		FirstStamp: 1 << 12, LastStamp: 1 << 12,
	}
	batch := wire.AppendEntry(make([]byte, wire.BatchHeaderBytes), h.FirstStamp, h.FirstStamp,
		&wire.Entry{Op: 1024, Keys: [][]byte{[]byte("k")}, Payload: []byte("p")})
	wire.CloseBatch(batch, &h)
	f.Add(last, uint8(wire.FrameBatches), batch)
	f.Add(last, uint8(wire.FrameFetched), batch[:len(batch)-1])
	file := filepath.Join(f.TempDir(), "frames")
	f.Fuzz(func(t *testing.T, before []byte, kind uint8, body []byte) {
		if len(before)+len(body) > 8<<10 {
			return // the search behind damage, done twice here, takes its time
		}
		b := slices.Concat(before, frameOf(wire.FrameKind(kind), body), last)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readFrames(file)
		if err != nil {
			t.Fatal(err)
		}
		requireRows(t, r, b)
		if row := r.Rows[len(r.Rows)-1]; row.Damage != nil || row.Bytes != int64(len(last)) {
			t.Fatalf("the heartbeat at the end is not found: %+v", row)
		}
	})
}

// requireRows checks the rows of b against a search at each of its offsets.
func requireRows(t *testing.T, r *dumpReport, b []byte) {
	t.Helper()
	at, damage := int64(0), 0
	for i, row := range r.Rows {
		if row.Offset != at || row.Bytes < 1 || row.Bytes > int64(len(b))-at {
			t.Fatalf("row %d is %+v, it begins at %d of %d", i, row, at, len(b))
		}
		end := at + row.Bytes
		if row.Damage == nil {
			alone, err := readFrame(b[at:end])
			if alone.Offset = at; err != nil || !reflect.DeepEqual(alone, row) {
				t.Fatalf("row %d is %+v, alone %+v: %v", i, row, alone, err)
			}
			at = end
			continue
		}
		for damage++; at < end; at++ {
			if hidden, err := readFrame(b[at:]); err == nil {
				t.Fatalf("row %d is %+v, at %d there is %+v", i, row, at, hidden)
			}
		}
	}
	if at != int64(len(b)) || damage != r.Damage {
		t.Fatalf("the rows end at %d of %d, %d of them damaged, %d said", at, len(b), damage, r.Damage)
	}
}
