package wire

// The vectors of testdata/wire: bytes, and what every decoder of the format
// must answer to them. They are written for the eye and for other programs:
//
//	name: data batch, reserved flag bit 3
//	decode: batch
//	like: data batch of one entry
//	at 7: 08
//	at 8: 5b 70 …
//	expect: protocol "reserved flags"
//
// The bytes are those of the vector named by "like" with other bytes at the
// offsets told, or hex lines, in which "00*14" stands for fourteen zeros and
// "#" begins a comment. A vector too long to be read by anyone is told by size
// and XXH3-128, and made by this package. Class ok is followed by what the
// bytes hold. Regenerate with: go test ./wire -run TestVectors -rewrite

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false,
	"rewrite the vectors of testdata/wire; commit only a diff you understand")

const vectorFolder = "../testdata/wire"

// vector is one case. want is the class, nil for ok.
type vector struct {
	name   string
	decode string // batch or frame
	like   string // a vector of the same file and size to be told by difference
	bytes  []byte
	want   error
	reason string   // part of the error
	holds  []string // what an accepted vector decodes to
	long   string   // "N bytes xxh3-128 H" when the bytes are not in the file
}

var classNames = []struct {
	name  string
	class error
}{{"ok", nil}, {"corrupt", ErrCorrupt}, {"version", ErrVersion}, {"protocol", ErrProtocol}}

// classOf names the class of err and insists on exactly one.
func classOf(err error) string {
	name := "ok"
	for _, c := range classNames[1:] {
		if errors.Is(err, c.class) {
			if name != "ok" {
				return "more than one class"
			}
			name = c.name
		}
	}
	if err != nil && name == "ok" {
		return "no class"
	}
	return name
}

// decodeFast runs the package's decoders over b and tells what it holds.
func decodeFast(decode string, b []byte) ([]string, error) {
	if decode == "batch" {
		return holdsOfBatches(b, 1)
	}
	var e Envelope
	if err := DecodeEnvelope(b, &e); err != nil {
		return nil, err
	}
	if err := CheckFrame(&e, b); err != nil {
		return nil, err
	}
	holds := []string{fmt.Sprintf("%+v", e)}
	if e.Kind.carriesBatches() {
		batches, err := holdsOfBatches(Body(&e, b), int(e.BatchCount))
		return append(holds, batches...), err
	}
	m := empty(sampleMessages()[e.Kind])
	if err := m.Decode(Body(&e, b)); err != nil {
		return nil, err
	}
	return append(holds, holdsOfMessage(m)), nil
}

func holdsOfMessage(m Message) string {
	text := fmt.Sprintf("%+v", m)
	return text[:min(len(text), 500)]
}

func holdsOfBatches(body []byte, count int) (holds []string, err error) {
	refs, err := SplitBatches(body, count, nil)
	if err != nil {
		return nil, err
	}
	for i := range refs {
		h := &refs[i].Header
		if err := CheckBody(h, refs[i].Body()); err != nil {
			return nil, err
		}
		holds = append(holds, holdsOfHeader(h))
		if h.Kind != BatchData {
			continue
		}
		var r EntryReader
		var e Entry
		for r.Reset(h, refs[i].Body()); r.Next(&e); {
			holds = append(holds, holdsOfEntry(&e))
		}
		if r.Err() != nil {
			return nil, fmt.Errorf("the reader differs from CheckBody: %w", r.Err())
		}
	}
	return holds, nil
}

func holdsOfHeader(h *BatchHeader) string {
	return fmt.Sprintf("%s log %s node %d domain %d cluster %x epoch %d flags %x incarnation %s "+
		"seq %d to %d stamp %d to %d index %d schema %d prev %s chain %s digest %x",
		h.Kind, h.Log(), h.Node, h.Domain, uint64(h.Cluster), h.Epoch, h.Flags, h.Incarnation,
		h.FirstSeq, h.LastSeq(), h.FirstStamp, h.LastStamp, h.LastIndex, h.Schema, h.Prev, h.Chain, h.BodyDigest)
}

func holdsOfEntry(e *Entry) string {
	keys := fmt.Sprintf("%q", e.Keys)
	return fmt.Sprintf("entry seq %d stamp %d op %d uid %d gid %d keys %s "+
		"payload %d bytes request %x extensions %d bytes must %x",
		e.Seq, e.Stamp, e.Op, e.UID, e.GID, keys[:min(len(keys), 100)], len(e.Payload), e.Request, len(e.Extensions),
		e.MustUnderstand)
}

// decodeSlow runs the slow decoder over b.
func decodeSlow(decode string, b []byte) error {
	return slowly(func() {
		if decode == "batch" {
			slowWholeBatches(b, 1)
			return
		}
		e, body := slowFrame(b)
		if e.BatchCount > 0 {
			slowWholeBatches(body, int(e.BatchCount))
			return
		}
		slowMessage(e.Kind, body)
	})
}

func slowWholeBatches(body []byte, count int) {
	at := 0
	for _, h := range slowBatches(body, count) {
		slowBody(&h, body[at+160:at+h.Bytes()])
		at += h.Bytes()
	}
}

func TestVectorsAreDecodedAsTheyTell(t *testing.T) {
	for _, file := range vectorFiles() {
		text := render(t, file.intro, file.vectors)
		path := filepath.Join(vectorFolder, file.name)
		if *rewrite {
			fail(t, os.MkdirAll(vectorFolder, 0o755))
			fail(t, os.WriteFile(path, []byte(text), 0o644))
		}
		stored, err := os.ReadFile(path)
		fail(t, err)
		if string(stored) != text {
			t.Errorf("%s is not what the vectors of this package render to; see -rewrite", path)
		}
		vectors := parseVectors(t, string(stored))
		if len(vectors) != len(file.vectors) {
			t.Fatalf("%s holds %d vectors, want %d", path, len(vectors), len(file.vectors))
		}
		for i, v := range vectors {
			made := file.vectors[i].bytes
			if v.long != "" {
				v.bytes = made
			}
			if !bytes.Equal(v.bytes, made) {
				t.Errorf("%s: %s: the file's bytes are not those made here", path, v.name)
			}
			v.run(t)
		}
	}
}

// run checks both decoders against the vector, and that a refusal names its
// reason.
func (v *vector) run(t *testing.T) {
	holds, err := decodeFast(v.decode, v.bytes)
	if got, want := classOf(err), classOf(v.want); got != want {
		t.Errorf("%s: %s, want %s: %v", v.name, got, want, err)
	} else if err != nil && (v.reason == "" || !strings.Contains(err.Error(), v.reason)) {
		t.Errorf("%s: %q does not tell %q", v.name, err, v.reason)
	}
	if slow := decodeSlow(v.decode, v.bytes); classOf(slow) != classOf(v.want) {
		t.Errorf("%s: the slow decoder says %s (%v), want %s", v.name, classOf(slow), slow, classOf(v.want))
	}
	if v.want == nil && strings.Join(holds, "\n") != strings.Join(v.holds, "\n") {
		t.Errorf("%s: holds\n%s\nwant\n%s", v.name, strings.Join(holds, "\n"), strings.Join(v.holds, "\n"))
	}
}

// render writes the vectors of one file.
func render(t *testing.T, intro string, vectors []*vector) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n# How to read this file, and how to write it anew: wire/vectors_test.go.\n", intro)
	byName := map[string]*vector{}
	for _, v := range vectors {
		if byName[v.name] != nil {
			t.Errorf("two vectors are called %q", v.name)
		}
		like := byName[v.like]
		byName[v.name] = v
		fmt.Fprintf(&out, "\nname: %s\ndecode: %s\n", v.name, v.decode)
		body := renderHex(v)
		switch {
		case like != nil && like.long == "" && len(like.bytes) == len(v.bytes):
			fmt.Fprintf(&out, "like: %s\n", v.like)
			renderDifference(&out, like.bytes, v.bytes)
		case len(body) > 8<<10:
			v.long = sumOf(v.bytes)
			fmt.Fprintf(&out, "long: %s\n", v.long)
		default:
			out.WriteString(body)
		}
		if v.want != nil {
			fmt.Fprintf(&out, "expect: %s %q\n", classOf(v.want), v.reason)
			continue
		}
		out.WriteString("expect: ok\n")
		holds, err := decodeFast(v.decode, v.bytes)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		for _, line := range holds {
			fmt.Fprintf(&out, "holds: %s\n", line)
		}
	}
	return out.String()
}

func sumOf(b []byte) string { return fmt.Sprintf("%d bytes xxh3-128 %x", len(b), slowHash(b)) }

// renderDifference writes the runs of b that differ from like.
func renderDifference(out *strings.Builder, like, b []byte) {
	for lo := 0; lo < len(b); lo++ {
		hi := lo
		for hi < len(b) && b[hi] != like[hi] {
			hi++
		}
		if hi > lo {
			fmt.Fprintf(out, "at %d: % x\n", lo, b[lo:hi])
			lo = hi
		}
	}
}

// Where the fields of a header end, for lines that the eye can follow.
var (
	headerCuts   = []int{4, 5, 6, 7, 8, 24, 40, 56, 72, 80, 84, 88, 92, 96, 104, 108, 112, 120, 128, 136, 144, 146, 160}
	headerLabels = strings.Fields("magic version kind digest-kind flags chain prev body-digest incarnation cluster " +
		"site node shard domain epoch count body-bytes first-seq first-stamp last-stamp last-index schema reserved")
	envelopeCuts   = []int{1, 2, 4, 5, 6, 8, 12, 16, 20, 28, 32}
	envelopeLabels = strings.Fields("kind version flags codec ext-bytes batch-count " +
		"wire-bytes plain-bytes session number crc")
)

func renderHex(v *vector) string {
	var out strings.Builder
	cuts, labels := envelopeCuts, envelopeLabels
	if v.decode == "batch" {
		cuts, labels = headerCuts, headerLabels
	}
	at := 0
	for i, cut := range cuts {
		if cut > len(v.bytes) {
			break
		}
		fmt.Fprintf(&out, "  %s # %s\n", renderRuns(v.bytes[at:cut]), labels[i])
		at = cut
	}
	for _, line := range strings.SplitAfter(renderRuns(v.bytes[at:]), "\n") {
		if line != "" {
			fmt.Fprintf(&out, "  %s", line)
		}
	}
	if at < len(v.bytes) {
		fmt.Fprintf(&out, " # %d bytes from offset %d\n", len(v.bytes)-at, at)
	}
	return out.String()
}

// renderRuns writes hex in lines of 32, with runs of a byte as "00*14".
func renderRuns(b []byte) string {
	var out strings.Builder
	column := 0
	for lo := 0; lo < len(b); {
		hi := lo + 1
		for hi < len(b) && b[hi] == b[lo] {
			hi++
		}
		if hi-lo < 12 {
			hi = lo + 1
		}
		switch {
		case column == 32:
			out.WriteByte('\n')
			column = 0
		case column > 0:
			out.WriteByte(' ')
		}
		column++
		fmt.Fprintf(&out, "%02x", b[lo])
		if hi-lo > 1 {
			fmt.Fprintf(&out, "*%d", hi-lo)
		}
		lo = hi
	}
	return out.String()
}

// parseVectors reads what render writes. It knows nothing of this package's
// own vectors, so that another program could do the same.
func parseVectors(t *testing.T, text string) (vectors []*vector) {
	byName := map[string]*vector{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), " # ")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "name: "); ok {
			vectors = append(vectors, &vector{name: name})
			byName[name] = vectors[len(vectors)-1]
			continue
		}
		v := vectors[len(vectors)-1]
		if strings.HasPrefix(line, "  ") {
			v.bytes = append(v.bytes, parseRuns(t, line)...)
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		word, place, _ := strings.Cut(key, " ")
		switch word {
		case "decode":
			v.decode = value
		case "like":
			v.bytes = bytes.Clone(byName[value].bytes)
		case "at":
			offset, err := strconv.Atoi(place)
			fail(t, err)
			copy(v.bytes[offset:], parseRuns(t, value))
		case "long":
			v.long = value
		case "holds":
			v.holds = append(v.holds, value)
		case "expect":
			v.parseExpect(t, value)
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return vectors
}

func (v *vector) parseExpect(t *testing.T, value string) {
	class, reason, _ := strings.Cut(value, " ")
	for _, c := range classNames {
		if c.name == class {
			v.want = c.class
			if class != "ok" {
				var err error
				v.reason, err = strconv.Unquote(reason)
				fail(t, err)
			}
			return
		}
	}
	t.Fatalf("%s: what is class %q?", v.name, class)
}

func parseRuns(t *testing.T, line string) (b []byte) {
	for word := range strings.FieldsSeq(line) {
		digits, times, isRun := strings.Cut(word, "*")
		one, err := hex.DecodeString(digits)
		fail(t, err)
		count := 1
		if isRun {
			count, err = strconv.Atoi(times)
			fail(t, err)
		}
		b = append(b, bytes.Repeat(one, count)...)
	}
	return b
}
