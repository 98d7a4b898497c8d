package wire

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// sampleHeader returns a header that Check takes, with a distinct value in
// every field.
func sampleHeader() BatchHeader {
	return BatchHeader{
		Kind:        BatchData,
		Prev:        Chain(seq16(0x20)),
		Incarnation: Incarnation(seq16(0x40)),
		Cluster:     0x5051525354555657,
		Site:        0x60616263,
		Node:        0x64656667,
		Shard:       0x6869,
		Epoch:       0x7071727374757677,
		Count:       1,
		FirstSeq:    0x8081828384858687,
		FirstStamp:  0x9091929394959697,
		LastStamp:   0x9091929394959697,
		LastIndex:   0xa0a1a2a3a4a5a6a7,
		Schema:      0xb0b1,
	}
}

// seq16 returns 16 rising bytes.
func seq16(first byte) (b [16]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// sampleEntries returns n entries that CheckEntry takes.
func sampleEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{
			Op: Op(i + 1), UID: 1000 + uint32(i), GID: 100,
			Keys:    [][]byte{[]byte("inode 17"), fmt.Appendf(nil, "dirent 4/%d", i)},
			Payload: bytes.Repeat([]byte{byte(i)}, 10*i),
		}
		if i%2 == 1 {
			entries[i].Request = RequestID(seq16(0xc0))
			entries[i].Extensions = []byte{0x10, 0x00, 2, 0, 'o', 'k'}
		}
	}
	return entries
}

// dataBatch closes a batch of entries, one counter step apart.
func dataBatch(h *BatchHeader, entries []Entry) []byte {
	b := make([]byte, BatchHeaderBytes)
	for i := range entries {
		h.LastStamp = h.FirstStamp + Stamp(i)
		b = AppendEntry(b, h.FirstStamp, h.LastStamp, &entries[i])
	}
	h.Count = uint32(len(entries))
	CloseBatch(b, h)
	return b
}

func TestEntriesComeBackFromTheirBatch(t *testing.T) {
	h := sampleHeader()
	entries := sampleEntries(5)
	b := dataBatch(&h, entries)

	refs, err := SplitBatches(b, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if refs[0].Header != h {
		t.Fatalf("header came back as %+v, want %+v", refs[0].Header, h)
	}
	if err := CheckBody(&h, refs[0].Body()); err != nil {
		t.Fatal(err)
	}
	var r EntryReader
	var e Entry
	i := 0
	for r.Reset(&h, refs[0].Body()); r.Next(&e); i++ {
		want := entries[i]
		if e.Seq != h.FirstSeq+Seq(i) || e.Stamp != h.FirstStamp+Stamp(i) {
			t.Errorf("entry %d: seq %d, stamp %d", i, e.Seq, e.Stamp)
		}
		if e.Op != want.Op || e.UID != want.UID || e.GID != want.GID || e.Request != want.Request ||
			fmt.Sprintf("%q", e.Keys) != fmt.Sprintf("%q", want.Keys) ||
			!bytes.Equal(e.Payload, want.Payload) || !bytes.Equal(e.Extensions, want.Extensions) {
			t.Errorf("entry %d came back as %+v, want %+v", i, e, want)
		}
	}
	if r.Err() != nil || i != len(entries) {
		t.Fatalf("read %d entries: %v", i, r.Err())
	}
}

// I9, for everything that lies between the writer's memory and the reader's.
func TestEveryFlippedBitOfABatchIsDetected(t *testing.T) {
	h := sampleHeader()
	b := dataBatch(&h, sampleEntries(5))
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		_, err := SplitBatches(b, 1, nil)
		if err == nil {
			t.Fatalf("bit %d of byte %d flipped, and no one noticed", bit%8, bit/8)
		}
		if bit/8 != 4 && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

// I4, I9: a reader that holds a log's tail tells a spliced batch by the chain.
func TestSpliceOfTwoBatchesIsDetected(t *testing.T) {
	log := make([][]byte, 3)
	headers := make([]BatchHeader, len(log))
	h := sampleHeader()
	for i := range log {
		log[i] = dataBatch(&h, sampleEntries(4))
		headers[i] = h
		h.Prev, h.FirstSeq, h.FirstStamp = h.Chain, h.LastSeq()+1, h.LastStamp+1
	}
	for cut := 1; cut < len(log[0]); cut++ {
		for _, other := range [][]byte{log[1], log[2]} {
			spliced := append(bytes.Clone(log[0][:cut]), other[cut:]...)
			if bytes.Equal(spliced, log[0]) || bytes.Equal(spliced, other) {
				continue
			}
			if _, err := SplitBatches(spliced, 1, nil); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("two batches spliced at byte %d: %v", cut, err)
			}
		}
	}
	// The third batch in the second one's place: same log, same sizes, every
	// checksum of its own holds, only the chain before it tells.
	forged := headers[2]
	forged.FirstSeq = headers[1].FirstSeq
	b := bytes.Clone(log[2])
	CloseBatch(b, &forged)
	refs, err := SplitBatches(b, 1, nil)
	fail(t, err)
	if got := refs[0].Header; got.Prev == headers[0].Chain || got.Chain == headers[1].Chain {
		t.Fatal("a batch of another place continues the chain")
	}
	if headers[1].Prev != headers[0].Chain || headers[2].Prev != headers[1].Chain {
		t.Fatal("a batch in its own place does not continue the chain")
	}
}

func TestBatchesAreWrittenAndReadWithoutAllocating(t *testing.T) {
	h := sampleHeader()
	entries := sampleEntries(5)
	b := dataBatch(&h, entries)
	var (
		got   BatchHeader
		r     EntryReader
		e     Entry
		refs  = make([]BatchRef, 0, 4)
		start = []LogEnd{{LogID{1, 2}, Position{Incarnation{1}, 2, Chain{3}}}}
		ends  = make([]LogEnd, 0, 4)
		row   = make([]byte, 0, 100)
	)
	checkNoAllocation(t, "CloseBatch", func() { CloseBatch(b, &h) })
	checkNoAllocation(t, "DecodeBatchHeader", func() { fail(t, DecodeBatchHeader(b, &got)) })
	checkNoAllocation(t, "VerifyBody", func() { fail(t, VerifyBody(&h, b[BatchHeaderBytes:])) })
	checkNoAllocation(t, "CheckBody", func() { fail(t, CheckBody(&h, b[BatchHeaderBytes:])) })
	checkNoAllocation(t, "SplitBatches", func() {
		_, err := SplitBatches(b, 1, refs)
		fail(t, err)
	})
	checkNoAllocation(t, "EntryReader", func() {
		for r.Reset(&h, b[BatchHeaderBytes:]); r.Next(&e); {
		}
		fail(t, r.Err())
	})
	room := make([]byte, 0, len(b))
	checkNoAllocation(t, "AppendEntry", func() {
		out := room
		for i := range entries {
			fail(t, CheckEntry(&entries[i]))
			out = AppendEntry(out, h.FirstStamp, h.FirstStamp+Stamp(i), &entries[i])
		}
	})
	checkNoAllocation(t, "AppendStart and DecodeStart", func() {
		body, err := AppendStart(row, start)
		fail(t, err)
		_, err = DecodeStart(body, ends)
		fail(t, err)
	})
}

func checkNoAllocation(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

func fail(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
