package wire

// FORMAT.md is the specification. These tests read its tables and hold them
// against the constants of the package and against bytes that it wrote.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// docTable is one table of FORMAT.md under its heading.
type docTable struct {
	heading string // "Batch header", without its number
	columns []string
	rows    [][]string
}

func readTables(t *testing.T) []docTable {
	t.Helper()
	text, err := os.ReadFile("FORMAT.md")
	fail(t, err)
	var tables []docTable
	var heading string
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			_, heading, _ = strings.Cut(strings.TrimLeft(line, "# "), " ")
		}
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			tables = append(tables, docTable{heading: heading, columns: cells})
			inside = true
		case strings.HasPrefix(cells[0], "---"):
		default:
			last := &tables[len(tables)-1]
			if len(cells) != len(last.columns) {
				t.Fatalf("%s: row %q has %d cells, want %d", heading, line, len(cells), len(last.columns))
			}
			last.rows = append(last.rows, cells)
		}
	}
	return tables
}

// inMemory are types whose values never leave a process.
var inMemory = map[string]bool{"wire.Order": true, "wire.Fit": true}

// exportedConstants evaluates the constants of this package from its source.
func exportedConstants(t *testing.T) map[string]constant.Value {
	t.Helper()
	names, err := filepath.Glob("*.go")
	fail(t, err)
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		fail(t, err)
		files = append(files, file)
	}
	// Imports stay unresolved: no constant of the format depends on one.
	conf := types.Config{Error: func(error) {}}
	pkg, _ := conf.Check("wire", set, files, nil)
	values := map[string]constant.Value{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Exported() && !inMemory[c.Type().String()] {
			values[name] = c.Val()
		}
	}
	return values
}

func TestEachConstantIsInTheSpecification(t *testing.T) {
	values := exportedConstants(t)
	if len(values) < 50 {
		t.Fatalf("found only %d constants", len(values))
	}
	seen := map[string]bool{}
	for _, table := range readTables(t) {
		if table.columns[0] != "constant" {
			continue
		}
		for _, row := range table.rows {
			name := strings.Trim(row[0], "`")
			value, ok := values[name]
			if !ok {
				t.Errorf("%s: %s is no constant of the package", table.heading, name)
				continue
			}
			told, err := strconv.ParseUint(row[1], 0, 64)
			if have, exact := constant.Uint64Val(value); err != nil || !exact || have != told {
				t.Errorf("%s: %s is %s, the package has %s", table.heading, name, row[1], value)
			}
			if seen[name] {
				t.Errorf("%s: %s is specified twice", table.heading, name)
			}
			seen[name] = true
		}
	}
	for name := range values {
		if !seen[name] {
			t.Errorf("constant %s is not in FORMAT.md", name)
		}
	}
}

// layout ties a table of offsets to bytes: encode writes value, whose fields
// hold distinct bytes, and returns what the table describes.
type layout struct {
	value  any
	size   int // fixed part, up to the first string or rows
	encode func() []byte
	extra  map[string]uint64 // fields of the table that value does not have
}

// fillDistinct sets every number, array, string and slice (one element) of v
// to bytes that no other field has.
func fillDistinct(v reflect.Value, next *byte) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillDistinct(v.Field(i), next)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillDistinct(v.Index(i), next)
		}
	case reflect.String:
		*next++
		v.SetString(fmt.Sprintf("name %d", *next))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillDistinct(v.Index(0), next)
	default:
		n := uint64(0)
		for i := range int(v.Type().Size()) {
			*next++
			n |= uint64(*next) << (8 * i)
		}
		v.SetUint(n)
	}
}

// encodeField returns the bytes that the field at path should have.
func encodeField(t *testing.T, v reflect.Value, path string) []byte {
	for name := range strings.SplitSeq(path, ".") {
		if v = v.FieldByName(name); !v.IsValid() {
			t.Fatalf("no field %s", path)
		}
	}
	if v.Kind() == reflect.String {
		return []byte(v.String())
	}
	if v.Kind() == reflect.Slice {
		return v.Bytes()
	}
	var b bytes.Buffer
	fail(t, binary.Write(&b, binary.LittleEndian, v.Interface()))
	return b.Bytes()
}

func controlBody(m Message) func() []byte {
	return func() []byte { return m.AppendTo(nil, 1)[EnvelopeBytes:] }
}

func layouts() map[string]*layout {
	header := &BatchHeader{}
	row := &LogEnd{}
	envelope := &Envelope{}
	entry := &Entry{
		Payload: make([]byte, 0x010203), Extensions: make([]byte, 0x0405),
		Keys: [][]byte{{1}, {2}, {3}, {4}, {5}, {6}, {7}},
	}
	hello, welcome, refusal, ack := &Hello{}, &Welcome{}, &Refusal{}, &Ack{}
	batchRefusal, page, pageRow := &BatchRefusal{}, &CursorPage{}, &CursorPage{}
	heartbeat, echo, fetch, fetchEnd := &Heartbeat{}, &HeartbeatEcho{}, &Fetch{}, &FetchEnd{}
	join := &Join{}
	verify, verified, verifiedRow := &Verify{}, &Verified{}, &Verified{}
	mend, mendRange, rows, rowsLists := &Mend{}, &Mend{}, &Rows{}, &Rows{}
	next := byte(0)
	for _, v := range []any{
		header, row, envelope, &entry.UID, &entry.GID, &entry.Op, hello, welcome, refusal, ack,
		batchRefusal, page, pageRow, heartbeat, echo, fetch, fetchEnd, join,
		verify, verified, verifiedRow, mend, mendRange, rows, rowsLists,
	} {
		fillDistinct(reflect.ValueOf(v).Elem(), &next)
	}
	magic := map[string]uint64{"BatchMagic": uint64(BatchMagic), "Version": Version}
	return map[string]*layout{
		"Batch header": {header, 160, func() []byte {
			b := make([]byte, BatchHeaderBytes)
			putBatchHeader(b, header)
			return b
		}, magic},
		"START body": {row, 48, func() []byte { return appendPosition(appendLog(nil, row.Log), row.End) }, nil},
		"Base vector": {nil, 12, func() []byte {
			b := binary.LittleEndian.AppendUint32(nil, 0x01020304)
			b = binary.LittleEndian.AppendUint64(b, 0x05060708090a0b0c)
			body := append([]byte{1, 0}, b...)
			if size, err := checkBase(body); size != len(body) || err != nil {
				panic(fmt.Sprint("the vector is not one: ", err))
			}
			return b
		}, map[string]uint64{"origin": 0x01020304, "seq": 0x05060708090a0b0c}},
		"Entry header": {entry, 22, func() []byte {
			return AppendEntry(nil, 0x1000, 0x1000+0x0a0b0c0d, entry)
		}, map[string]uint64{
			"stamp delta": 0x0a0b0c0d, "payload bytes": 0x010203, "extension bytes": 0x0405, "key count": 7,
		}},
		"Envelope": {envelope, 32, func() []byte {
			return sealFrame(appendEnvelope(nil, envelope), 0, EnvelopeBytes)
		}, map[string]uint64{
			"Version": Version,
			"crc":     uint64(frameCRC(appendEnvelope(nil, envelope))),
		}},
		"Hello":           {hello, 56, controlBody(hello), nil},
		"Welcome":         {welcome, 24, controlBody(welcome), map[string]uint64{}},
		"Refusal":         {refusal, 10, controlBody(refusal), nil},
		"Ack":             {ack, 9, controlBody(ack), nil},
		"Batch refusal":   {batchRefusal, 50, controlBody(batchRefusal), nil},
		"Cursor page":     {page, 3, controlBody(page), map[string]uint64{"row count": 1}},
		"Cursor page row": {&pageRow.Entries[0], 56, func() []byte { return controlBody(pageRow)()[3:] }, nil},
		"Heartbeat":       {heartbeat, 24, controlBody(heartbeat), nil},
		"Heartbeat echo":  {echo, 16, controlBody(echo), nil},
		"Fetch":           {fetch, 64, controlBody(fetch), nil},
		"Fetch end":       {fetchEnd, 10, controlBody(fetchEnd), nil},
		"Join":            {join, 20, controlBody(join), nil},
		"Verify":          {verify, 32, controlBody(verify), nil},
		"Verified":        {verified, 14, controlBody(verified), map[string]uint64{"row count": 1, "part count": 1}},
		"Verified row":    {&verifiedRow.Rows[0], 64, func() []byte { return verifiedRows(verifiedRow) }, nil},
		"Verified part": {&verifiedRow.Parts[0], 36, func() []byte {
			return verifiedRows(verifiedRow)[64:]
		}, nil},
		"Mend":       {mend, 34, controlBody(mend), map[string]uint64{"range count": 1}},
		"Mend range": {&mendRange.Ranges[0], 32, func() []byte { return controlBody(mendRange)()[34:] }, nil},
		"Rows": {rows, 28, controlBody(rows), map[string]uint64{
			"cursor count": 1, "part count": 1, "piece count": 1,
		}},
		"Rows cursor": {&rowsLists.Cursors[0], 56, func() []byte { return rowsBehind(rowsLists) }, nil},
		"Rows piece": {&rowsLists.Pieces[0], 36, func() []byte {
			return rowsBehind(rowsLists)[56+36+2+len(rowsLists.Parts[0].Hi):]
		}, nil},
		"Row": {nil, 6, func() []byte {
			return AppendRow(nil, make([]byte, 0x0102), make([]byte, 0x030405))
		}, map[string]uint64{"key bytes": 0x0102, "value bytes": 0x030405}},
	}
}

// rowsBehind are the lists behind an answer's text.
func rowsBehind(m *Rows) []byte { return controlBody(m)()[30+len(m.Text):] }

// verifiedRows are the rows and parts behind an answer's text.
func verifiedRows(m *Verified) []byte { return controlBody(m)()[16+len(m.Text):] }

func TestEveryFieldLiesWhereTheSpecificationSays(t *testing.T) {
	all := layouts()
	for _, table := range readTables(t) {
		if table.columns[0] != "offset" {
			continue
		}
		l := all[table.heading]
		if l == nil {
			t.Errorf("%s: no bytes to compare with", table.heading)
			continue
		}
		delete(all, table.heading)
		t.Run(table.heading, func(t *testing.T) { l.compare(t, table) })
	}
	for heading := range all {
		t.Errorf("%s: no table in FORMAT.md", heading)
	}
}

// compare walks the rows: each begins where the one before ended, and holds
// the bytes of its field.
func (l *layout) compare(t *testing.T, table docTable) {
	b := l.encode()
	at, fixed := 0, 0
	fields := 0
	for _, row := range table.rows {
		name := strings.Trim(row[2], "`")
		if row[0] != strconv.Itoa(at) && row[0] != "…" {
			t.Fatalf("%s: offset %s, the row before ends at %d", name, row[0], at)
		}
		if lengthBytes, isString := strings.CutSuffix(row[1], "+n"); isString {
			width, _ := strconv.Atoi(lengthBytes)
			want := encodeField(t, reflect.ValueOf(l.value).Elem(), name)
			if n := littleEndian(b[at : at+width]); int(n) != len(want) {
				t.Fatalf("%s: length %d, want %d", name, n, len(want))
			}
			at += width
			if got := b[at : at+len(want)]; !bytes.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			at += len(want)
			continue
		}
		size, err := strconv.Atoi(row[1])
		fail(t, err)
		got := b[at : at+size]
		if value, ok := l.extra[name]; ok {
			if littleEndian(got) != value {
				t.Errorf("%s: bytes %x, want the number %x", name, got, value)
			}
		} else if name == "reserved" {
			if !bytes.Equal(got, make([]byte, size)) {
				t.Errorf("reserved bytes %x at offset %d", got, at)
			}
		} else if want := encodeField(t, reflect.ValueOf(l.value).Elem(), name); !bytes.Equal(got, want) {
			t.Errorf("%s: bytes %x, want %x", name, got, want)
		}
		fields++
		at += size
		fixed = at
	}
	if fixed != l.size || fields == 0 {
		t.Errorf("the table describes %d bytes, want %d", fixed, l.size)
	}
	if at > len(b) {
		t.Errorf("the table describes %d bytes, encoded are %d", at, len(b))
	}
}

func littleEndian(b []byte) uint64 {
	var n [8]byte
	copy(n[:], b)
	return binary.LittleEndian.Uint64(n[:])
}

func TestBodySizesAreThoseOfTheSpecification(t *testing.T) {
	for _, table := range readTables(t) {
		if table.heading != "Body sizes" {
			continue
		}
		for i, row := range table.rows {
			h := BatchHeader{Kind: BatchKind(i + 1), Count: 1}
			if h.Kind.String() != row[0] {
				t.Fatalf("row %d is %s, want %s", i, row[0], h.Kind)
			}
			sizeMin, sizeMax := h.bodyBytesRange()
			if strconv.FormatUint(sizeMax, 10) != row[2] {
				t.Errorf("%s: at most %s, the package has %d", row[0], row[2], sizeMax)
			}
			want := strconv.FormatUint(sizeMin, 10)
			if h.Kind == BatchData {
				h.Flags = FlagBaseVector
				withBase, _ := h.bodyBytesRange()
				want = fmt.Sprintf("%d × count, plus %d with a base vector", sizeMin, withBase-sizeMin)
			}
			if want != row[1] {
				t.Errorf("%s: at least %s, the package has %s", row[0], row[1], want)
			}
		}
		return
	}
	t.Fatal("no table of body sizes")
}
