package journal

import (
	"bytes"
	"encoding/binary"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

type field struct {
	off, size int
	name      string
}

// formatTable reads a table of FORMAT.md; its rows must lie without gap or overlap.
func formatTable(t *testing.T, name string) (fields []field, size int) {
	t.Helper()
	doc, err := os.ReadFile("FORMAT.md")
	require.NoError(t, err)
	_, rest, found := bytes.Cut(doc, []byte("<!-- table: "+name+" -->"))
	require.True(t, found)
	body, _, found := bytes.Cut(rest, []byte("<!-- end -->"))
	require.True(t, found)
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| (\d+) \| ([^|]+) \|`).FindAllSubmatch(body, -1) {
		off, _ := strconv.Atoi(string(row[1]))
		n, _ := strconv.Atoi(string(row[2]))
		require.Equal(t, size, off, "%s: gap before %s", name, row[3])
		fields = append(fields, field{off, n, string(row[3])})
		size += n
	}
	return fields, size
}

// requireFields compares encoded bytes with the table, field by field.
func requireFields(t *testing.T, fields []field, b []byte, want map[string]any) {
	t.Helper()
	for _, f := range fields {
		got := b[f.off : f.off+f.size]
		value, known := want[f.name]
		require.True(t, known, "FORMAT.md has a field %q that the code lacks", f.name)
		var expect []byte
		switch v := value.(type) {
		case int:
			expect = binary.LittleEndian.AppendUint64(nil, uint64(v))[:min(8, f.size)]
			expect = append(expect, make([]byte, f.size-len(expect))...)
		case []byte:
			expect = v
		}
		require.Equal(t, expect, got, "field %q at offset %d", f.name, f.off)
	}
}

func TestSpecificationSaysWhatTheHeadEncodes(t *testing.T) {
	fields, size := formatTable(t, "head")
	require.Equal(t, HeadFixedBytes, size)
	row := headLog{
		log: wire.LogID{Site: 21, Shard: 22}, suspect: true,
		tail: Tail{wire.Position{Incarnation: wire.Incarnation{23}, Seq: 24, Chain: wire.Chain{25}}, 26, 27},
	}
	h := &head{
		kind: Mirror, role: roleSegment, term: 2, cluster: 3, site: 4, node: 5, segment: 6, generation: 7,
		segmentBytes: 8 << 20, first: 10, prev: 9, mark: 8, logs: []headLog{row}, control: []byte{1, 2, 3},
	}
	b := h.encode()
	digest := headDigest(b)
	requireFields(t, fields, b, map[string]any{
		"magic": headMagic, "version": FormatVersion, "kind": 2, "role": 0, "reserved": 0, "head bytes": BlockBytes,
		"term":   2,
		"digest": digest[:], "cluster": 3, "site": 4, "node": 5, "segment": 6, "generation": 7,
		"segment bytes": 8 << 20,
		"first unit":    10, "last valid unit": 9, "durable-through mark": 8, "log count": 1, "control bytes": 3,
		"start bytes": 0,
	})
	back, err := decodeHead(b)
	require.NoError(t, err)
	require.Equal(t, h.logs, back.logs)
	require.Equal(t, h.control, back.control)

	fields, size = formatTable(t, "row")
	require.Equal(t, HeadLogBytes, size)
	requireFields(t, fields, b[HeadFixedBytes:], map[string]any{
		"log site": 21, "log shard": 22, "incarnation": 23, "seq": 24, "chain": 25, "last stamp": 26,
		"last host index": 27,
		"flags":           1, "reserved": 0,
	})
}

func TestSpecificationSaysWhatTheUnitEncodes(t *testing.T) {
	fields, size := formatTable(t, "unit")
	require.Equal(t, UnitHeaderBytes, size)
	u := unitHeader{
		term: 2, count: 3, segment: 4, generation: 5, number: 6, offset: 7, mark: 8, bytes: 4096, used: 900,
		cluster: 10, site: 11, node: 12,
	}
	b := make([]byte, UnitHeaderBytes)
	u.encode(b)
	var back unitHeader
	back.decode(b)
	require.Equal(t, u, back)
	requireFields(t, fields, b, map[string]any{
		"magic": unitMagic, "version": FormatVersion, "reserved": 0, "digest": 0, "term": 2, "batch count": 3,
		"segment":    4,
		"generation": 5, "unit number": 6, "file offset": 7, "durable-through mark": 8, "bytes": 4096,
		"used bytes": 900, "cluster": 10, "site": 11, "node": 12,
	})
}

// The frozen journal was written by version 1 and must be read for ever (G11).
const frozen = "../../../testdata/journal/v1"

// frozenJournal writes what lies frozen: an own journal of two openings.
func frozenJournal(t *testing.T) (*image, Options, [][]byte) {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	o.SegmentBytes, o.UnitBytesMax = 16<<10, 8<<10
	w := newWriter(5)
	var want [][]byte
	for range 2 {
		j, _, err := Open(o)
		require.NoError(t, err)
		for i := range 3 {
			b := w.batch(wire.Shard(i%2), 100)
			want = append(want, b.Bytes)
			_, err := j.Stage([]wire.BatchRef{b}, nil)
			require.NoError(t, err)
		}
		records := []ControlRecord{{ClockBound: w.stamp}, {Peer: &wire.RegisteredPeer{Site: 8, Name: "site-b"}}}
		_, err = j.StageControl(records, w.stamp)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		require.NoError(t, j.Close())
	}
	return imageOf(t, mem, "j"), o, want
}

func TestFrozenJournalIsWrittenAndReadAsEver(t *testing.T) { // G11
	m, o, want := frozenJournal(t)
	if os.Getenv("REWRITE") != "" {
		require.NoError(t, os.MkdirAll(frozen, 0o755))
		for name, b := range m.files {
			require.NoError(t, os.WriteFile(filepath.Join(frozen, name), b, 0o644))
		}
	}
	old := &image{files: map[string][]byte{}}
	names, err := filepath.Glob(path.Join(frozen, "*.seg"))
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		old.files[filepath.Base(name)] = b
	}
	require.Equal(t, m.files, old.files, "the bytes that this release writes have changed")
	o.FS = old.disk(t, "j")
	j, rec := reopen(t, o, nil)
	require.Empty(t, rec.Damage)
	require.EqualValues(t, 3, rec.Term)
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.True(t, equalAll(want, got))
	require.Equal(t, "site-b", j.Control().Peers[0].Name)
}

func TestInspectShowsDamagedFilesToTheEnd(t *testing.T) { // I9
	m, _ := twoSegments(t)
	_, units := m.spots(t, newName)
	b := m.files[newName]
	b[20] ^= 1                      // head
	b[units[3].off+40] ^= 1         // a unit's header
	b[units[5].off+128+200] ^= 1    // a body
	b[units[len(units)-1].off] ^= 1 // the last unit's magic
	var damages []Damage
	seen := map[UnitNumber]bool{}
	batches := 0
	require.NoError(t, Inspect(m, newName, func(i Item) error {
		switch {
		case i.Damage != nil:
			damages = append(damages, *i.Damage)
		case i.Unit != nil:
			seen[i.Unit.Number] = true
		case i.Batch != nil:
			batches++
		}
		return nil
	}))
	require.Len(t, damages, 4, "%+v", damages)
	require.Zero(t, damages[0].Offset)
	require.Equal(t, units[3].off, damages[1].Offset)
	require.Greater(t, damages[2].Offset, units[5].off)
	require.Equal(t, units[5].number, damages[2].Unit)
	require.Equal(t, units[len(units)-1].off, damages[3].Offset)
	require.Len(t, seen, len(units)-2)
	require.Positive(t, batches)
}
