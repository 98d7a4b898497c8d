package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestEntryIsCheckedBeforeItIsAppended(t *testing.T) {
	id := seq16(1)
	good := func() Entry { return Entry{Op: 1, Keys: [][]byte{[]byte("k")}} }
	for _, c := range []struct {
		name   string
		change func(e *Entry)
		class  error
		reason string
	}{
		{"smallest", func(*Entry) {}, nil, ""},
		{"op zero", func(e *Entry) { e.Op = 0 }, ErrProtocol, "op is zero"},
		{"no keys", func(e *Entry) { e.Keys = nil }, ErrLimit, "0 keys"},
		{"8 keys", func(e *Entry) { e.Keys = keysOf(e.Keys[0], 8) }, nil, ""},
		{"9 keys", func(e *Entry) { e.Keys = keysOf(e.Keys[0], 9) }, ErrLimit, "9 keys"},
		{"empty key", func(e *Entry) { e.Keys[0] = nil }, ErrLimit, "key 0 of 0 bytes"},
		{"longest key", func(e *Entry) { e.Keys[0] = make([]byte, 512) }, nil, ""},
		{"longer key", func(e *Entry) { e.Keys[0] = make([]byte, 513) }, ErrLimit, "key 0 of 513 bytes"},
		{"longest payload", func(e *Entry) { e.Payload = make([]byte, 1<<20) }, nil, ""},
		{"longer payload", func(e *Entry) { e.Payload = make([]byte, 1<<20+1) }, ErrLimit, "payload of 1048577"},
		{"longest extensions", func(e *Entry) { e.Extensions = extension(0x10, make([]byte, 4092)) }, nil, ""},
		{"longer extensions", func(e *Entry) { e.Extensions = extension(0x10, make([]byte, 4093)) }, ErrLimit, "4097"},
		{"extensions too long with the request id", func(e *Entry) {
			e.Request = RequestID(id)
			e.Extensions = extension(0x10, make([]byte, 4092))
		}, ErrLimit, "4116"},
		{"request id among the extensions", func(e *Entry) { e.Extensions = extension(1, id[:]) }, ErrProtocol,
			"Request"},
		{"extensions that fall", func(e *Entry) {
			e.Extensions = append(extension(9, nil), extension(8, nil)...)
		}, ErrProtocol, "behind"},
	} {
		e := good()
		c.change(&e)
		err := CheckEntry(&e)
		if !errors.Is(err, c.class) || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %v %q", c.name, err, c.class, c.reason)
		}
	}
}

func keysOf(key []byte, n int) (keys [][]byte) {
	for range n {
		keys = append(keys, key)
	}
	return keys
}

func TestStartBodyIsCheckedBeforeItIsAppended(t *testing.T) {
	end := LogEnd{LogID{1, 17}, Position{Incarnation{1}, 1, Chain{1}}}
	atZero := end
	atZero.End.Seq = 0
	before := []byte("before")
	for _, c := range []struct {
		name  string
		ends  []LogEnd
		class error
	}{
		{"repeated", []LogEnd{end, end}, ErrProtocol},
		{"at seq zero", []LogEnd{atZero}, ErrProtocol},
		{"too many", make([]LogEnd, StartEndsMax+1), ErrLimit},
	} {
		if out, err := AppendStart(before, c.ends); !errors.Is(err, c.class) || !bytes.Equal(out, before) {
			t.Errorf("%s: %q, %v", c.name, out, err)
		}
	}
	if _, err := AppendMarker(nil, 0, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("marker of kind 0: %v", err)
	}
	if _, err := AppendMarker(nil, 1, make([]byte, MarkerBytesMax+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("marker over its limit: %v", err)
	}
}

func TestMistakesOfTheCallerPanic(t *testing.T) {
	long := strings.Repeat("n", NameBytesMax+1)
	for name, f := range map[string]func(){
		"no room for the header": func() { CloseBatch(make([]byte, BatchHeaderBytes-1), new(BatchHeader)) },
		"batch over its limit":   func() { CloseBatch(make([]byte, BatchBytesMax+1), new(BatchHeader)) },
		"name over its limit":    func() { (&Hello{SiteName: long}).AppendTo(nil, 0) },
		"name that is not UTF-8": func() { (&Welcome{SiteName: "\xff"}).AppendTo(nil, 1) },
		"page of more than a page": func() {
			(&CursorPage{Entries: make([]PageEntry, PageEntryMax+1)}).AppendTo(nil, 1)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// A length in a damaged or hostile message costs no memory beyond what came.
func TestSizesAreCheckedBeforeMemoryIsTaken(t *testing.T) {
	body := []byte{PageResume, 0x00, 0x10} // 4096 rows, none there
	var page CursorPage
	if err := page.Decode(body); !errors.Is(err, ErrProtocol) || cap(page.Entries) != 0 {
		t.Errorf("%v, room for %d rows", err, cap(page.Entries))
	}
	if ends, err := DecodeStart([]byte{0xff, 0xff}, nil); !errors.Is(err, ErrProtocol) || cap(ends) != 0 {
		t.Errorf("%v, room for %d ends", err, cap(ends))
	}
	if refs, err := SplitBatches(nil, 65535, nil); !errors.Is(err, ErrCorrupt) || len(refs) != 0 {
		t.Errorf("%v, %d batches", err, len(refs))
	}
}

func TestBodyOfAnotherLengthIsCorrupt(t *testing.T) {
	h := sampleHeader()
	b := dataBatch(&h, sampleEntries(2))
	if err := VerifyBody(&h, b[BatchHeaderBytes:len(b)-1]); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if h.End() != (Position{h.Incarnation, h.FirstSeq + 1, h.Chain}) {
		t.Errorf("the batch ends at %s", h.End())
	}
}

func TestEntriesAreReadFromDataBatchesOnly(t *testing.T) {
	h := sampleHeader()
	body := dataBatch(&h, sampleEntries(2))[BatchHeaderBytes:]
	var r EntryReader
	h.Kind = BatchStart
	if r.Reset(&h, body); r.Next(new(Entry)) || !errors.Is(r.Err(), ErrProtocol) {
		t.Error(r.Err())
	}
	h.Kind = 99
	if err := CheckBody(&h, nil); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
	if _, err := DecodeStart([]byte{0}, nil); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
}

// Bodies are checked by their decoders as well, whoever calls them.
func TestWrongBodyLengthIsRefused(t *testing.T) {
	h := sampleHeader()
	h.Domain, h.Flags = Domain(h.Site), FlagBaseVector
	for size := range baseCountBytes + baseRowBytes {
		if err := CheckBody(&h, make([]byte, size)); !errors.Is(err, ErrProtocol) {
			t.Errorf("base vector of %d bytes: %v", size, err)
		}
	}
	for _, size := range []int{0, 1, markerKindBytes + MarkerBytesMax + 1} {
		if _, _, err := DecodeMarker(bytes.Repeat([]byte{1}, size)); !errors.Is(err, ErrProtocol) {
			t.Errorf("marker of %d bytes: %v", size, err)
		}
	}
}

func TestEveryNumberHasAName(t *testing.T) {
	unnamed := func(name string) bool { return strings.ContainsAny(name, "0123456789") }
	for k := FrameHello; k <= FrameRows; k++ {
		if unnamed(k.String()) == k.known() {
			t.Errorf("frame kind %d: %s", uint8(k), k)
		}
	}
	for k := BatchData; k <= BatchControl; k++ {
		if unnamed(k.String()) {
			t.Errorf("batch kind %d: %s", uint8(k), k)
		}
	}
	for l := LevelReceived; l <= LevelApplied; l++ {
		if unnamed(l.String()) {
			t.Errorf("ack level %d: %s", uint8(l), l)
		}
	}
	for c := range RefusalCode(100) {
		known := c >= RefuseVersion && c <= RefuseRemoved || c >= RefuseUnknownIncarnation && c <= RefuseNotWriter
		if unnamed(c.String()) == known {
			t.Errorf("refusal code %d: %s", uint16(c), c)
		}
	}
	if got := fmt.Sprint(FrameKind(0), BatchKind(9), AckLevel(7)); got != "frame kind 0 batch kind 9 ack level 7" {
		t.Error(got)
	}
	if RefuseChain.String() != "chain" || RefuseGoodbye.String() != "goodbye" || FrameFetched.String() != "fetched" {
		t.Error("names are not those of their constants")
	}
}
