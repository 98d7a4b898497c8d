package wire

// Each decoder against the slow one: they accept the same bytes, refuse the
// others with the same class, read the same values, and what was accepted is
// encoded back to the same bytes, since every value has one encoding. The
// vectors are the seeds. Damage that a checksum would stop at once is made
// reachable by an argument that gives the bytes their checksums back.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
)

// seeds calls add with every vector that is small enough to be mutated well.
func seeds(decode string, add func(b []byte)) {
	for _, file := range vectorFiles() {
		for _, v := range file.vectors {
			if v.decode == decode && len(v.bytes) < 16<<10 {
				add(v.bytes)
			}
		}
	}
}

func compareClasses(t *testing.T, fast, slow error) {
	t.Helper()
	if classOf(fast) != classOf(slow) {
		t.Fatalf("the decoder says %s (%v), the slow one %s (%v)", classOf(fast), fast, classOf(slow), slow)
	}
}

func FuzzBatch(f *testing.F) {
	seeds("batch", func(b []byte) {
		f.Add(b, true)
		f.Add(b, false)
	})
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal && len(b) >= BatchHeaderBytes {
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint32(b[108:], uint32(len(b)-BatchHeaderBytes))
			digest := slowHash(b[BatchHeaderBytes:])
			copy(b[40:56], digest[:])
			rechain(b)
		}
		compareBatches(t, b, 1)
	})
}

// compareBatches holds SplitBatches, CheckBody, EntryReader and the encoders
// against the slow decoder.
func compareBatches(t *testing.T, body []byte, count int) {
	t.Helper()
	refs, err := SplitBatches(body, count, nil)
	var headers []BatchHeader
	compareClasses(t, err, slowly(func() { headers = slowBatches(body, count) }))
	for i := range refs {
		h := &refs[i].Header
		if *h != headers[i] {
			t.Fatalf("header %+v, the slow decoder reads %+v", *h, headers[i])
		}
		again := append(make([]byte, BatchHeaderBytes), refs[i].Body()...)
		CloseBatch(again, &headers[i])
		if !bytes.Equal(again, refs[i].Bytes) {
			t.Fatalf("batch %x is encoded back to %x", refs[i].Bytes, again)
		}
		compareBodies(t, h, refs[i].Body())
	}
}

func compareBodies(t *testing.T, h *BatchHeader, body []byte) {
	t.Helper()
	err := CheckBody(h, body)
	var want []Entry
	compareClasses(t, err, slowly(func() { want = slowBody(h, body) }))
	if h.Kind != BatchData {
		return
	}
	var (
		r   EntryReader
		e   Entry
		i   int
		out []byte
	)
	if h.Flags&FlagBaseVector != 0 {
		if size, err := checkBase(body); err == nil {
			out = append(out, body[:size]...)
		}
	}
	for r.Reset(h, body); r.Next(&e); i++ {
		if err := CheckEntry(&e); err != nil {
			t.Fatalf("entry %d was read but may not be written: %v", i, err)
		}
		if size := len(out) + EntryBytes(&e); size > len(body) {
			t.Fatalf("entry %d is encoded back to more than the body", i)
		}
		out = AppendEntry(out, h.FirstStamp, e.Stamp, &e)
		if err == nil && !equalEntries(&e, &want[i]) {
			t.Fatalf("entry %d is %+v, the slow decoder reads %+v", i, e, want[i])
		}
	}
	compareClasses(t, r.Err(), err)
	if err == nil && !bytes.Equal(out, body) {
		t.Fatalf("body %x is encoded back to %x", body, out)
	}
}

// equalEntries compares what two entries say.
func equalEntries(a, b *Entry) bool {
	return fmt.Sprintf("%x", a.Keys) == fmt.Sprintf("%x", b.Keys) &&
		bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Extensions, b.Extensions) &&
		a.Op == b.Op && a.UID == b.UID && a.GID == b.GID && a.Seq == b.Seq && a.Stamp == b.Stamp &&
		a.Request == b.Request && a.MustUnderstand == b.MustUnderstand
}

// FuzzEntries reaches bodies without a header's checksums before them.
func FuzzEntries(f *testing.F) {
	seeds("batch", func(b []byte) {
		var h BatchHeader
		if DecodeBatchHeader(b, &h) == nil {
			f.Add(b[BatchHeaderBytes:], uint8(h.Kind), h.Flags, uint16(h.Count), uint32(h.LastStamp-h.FirstStamp))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte, kind, flags uint8, count uint16, spread uint32) {
		h := sampleHeader()
		h.Kind, h.Flags, h.DigestKind = BatchKind(kind), flags, DigestXXH3
		h.Domain, h.Shard = Domain(h.Site), 17
		if h.Kind == BatchControl {
			h.Shard = ShardControl
		}
		h.Count, h.BodyBytes = uint32(count), uint32(len(body))
		h.LastStamp = h.FirstStamp + Stamp(spread)
		if h.Check() == nil {
			compareBodies(t, &h, body)
		}
	})
}

// FuzzAppend writes entries: what CheckEntry takes is read back as it was.
func FuzzAppend(f *testing.F) {
	id := seq16(1)
	f.Add(uint16(1), uint32(2), uint32(3), []byte("key"), uint8(1), []byte("payload"), id[:],
		extension(0x8010, []byte("x")))
	f.Add(uint16(0), uint32(2), uint32(3), []byte{}, uint8(9), []byte{}, []byte{}, extension(1, id[:]))
	f.Fuzz(func(t *testing.T, op uint16, uid, gid uint32, key []byte, keys uint8, payload, request, extensions []byte) {
		e := Entry{Op: Op(op), UID: uid, GID: gid, Payload: payload, Extensions: extensions}
		copy(e.Request[:], request)
		for range keys {
			e.Keys = append(e.Keys, key)
		}
		if CheckEntry(&e) != nil {
			return
		}
		h := sampleHeader()
		b := dataBatch(&h, []Entry{e})
		if size := BatchHeaderBytes + EntryBytes(&e); size != len(b) {
			t.Fatalf("EntryBytes says %d, the batch takes %d", size, len(b))
		}
		var r EntryReader
		var got Entry
		r.Reset(&h, b[BatchHeaderBytes:])
		if !r.Next(&got) || r.Next(new(Entry)) || r.Err() != nil {
			t.Fatalf("an entry that may be appended is refused: %v", r.Err())
		}
		e.Seq, e.Stamp, e.MustUnderstand = h.FirstSeq, h.FirstStamp, got.MustUnderstand
		if !equalEntries(&got, &e) {
			t.Fatalf("%+v came back as %+v", e, got)
		}
	})
}

func FuzzExtensions(f *testing.F) {
	for _, c := range extensionCases() {
		body := c.body[EntryHeaderBytes+2+len("inode 17"):]
		f.Add(body[:len(body)-len("mode 0644")])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := walkExtensions(b)
		var e Entry
		compareClasses(t, err, slowly(func() { slowExtensions(b, &e) }))
		same := x.request == e.Request && x.must == e.MustUnderstand
		if err == nil && !(same && bytes.Equal(b[x.requestBytes:], e.Extensions)) {
			t.Fatalf("%+v, the slow decoder reads %+v", x, e)
		}
	})
}

func FuzzStart(f *testing.F) {
	for _, c := range startCases() {
		if len(c.body) < 16<<10 {
			f.Add(c.body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ends, err := DecodeStart(body, nil)
		var want []LogEnd
		compareClasses(t, err, slowly(func() { want = slowStart(body) }))
		if err != nil || len(ends) > StartEndsMax {
			return
		}
		if !reflect.DeepEqual(ends, want) {
			t.Fatalf("%v, the slow decoder reads %v", ends, want)
		}
		if again, err := AppendStart(nil, ends); err != nil || !bytes.Equal(again, body) {
			t.Fatalf("body %x is encoded back to %x: %v", body, again, err)
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add([]byte{0, 0, 'x'})
	f.Add(make([]byte, markerKindBytes+MarkerBytesMax+1))
	f.Fuzz(func(t *testing.T, body []byte) {
		kind, text, err := DecodeMarker(body)
		compareClasses(t, err, slowly(func() { slowMarker(body) }))
		if err != nil {
			return
		}
		if again, err := AppendMarker(nil, kind, text); err != nil || !bytes.Equal(again, body) {
			t.Fatalf("body %x is encoded back to %x: %v", body, again, err)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	seeds("frame", func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, want Envelope
		err := DecodeEnvelope(b, &e)
		compareClasses(t, err, slowly(func() { want = slowEnvelope(b) }))
		if err == nil && e != want {
			t.Fatalf("%+v, the slow decoder reads %+v", e, want)
		}
		if err == nil && !bytes.Equal(appendEnvelope(nil, &e)[:28], b[:28]) {
			t.Fatalf("envelope %x is encoded back to something else", b[:28])
		}
	})
}

func FuzzFrame(f *testing.F) {
	seeds("frame", func(b []byte) {
		f.Add(b, true)
		f.Add(b, false)
	})
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal && len(b) >= EnvelopeBytes && len(b) >= EnvelopeBytes+int(b[5]) {
			b = bytes.Clone(b)
			size := uint32(len(b) - EnvelopeBytes - int(b[5]))
			binary.LittleEndian.PutUint32(b[8:], size)
			binary.LittleEndian.PutUint32(b[12:], size)
			recrc(b)
		}
		var e Envelope
		err := DecodeEnvelope(b, &e)
		if err == nil {
			err = CheckFrame(&e, b)
		}
		var body []byte
		compareClasses(t, err, slowly(func() { _, body = slowFrame(b) }))
		switch {
		case err != nil:
		case e.BatchCount > 0:
			compareBatches(t, body, int(e.BatchCount))
		default:
			compareMessages(t, e.Kind, body)
		}
	})
}

func FuzzMessage(f *testing.F) {
	seeds("frame", func(b []byte) {
		if len(b) >= EnvelopeBytes {
			f.Add(b[0], b[EnvelopeBytes:])
		}
	})
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		if _, ok := sampleMessages()[FrameKind(kind)]; ok && len(body) <= ControlBytesMax {
			compareMessages(t, FrameKind(kind), body)
		}
	})
}

// compareMessages decodes into a message that is full of something else, as a
// session does that uses one again.
func compareMessages(t *testing.T, kind FrameKind, body []byte) {
	t.Helper()
	m := sampleMessages()[kind]
	err := m.Decode(body)
	var want Message
	compareClasses(t, err, slowly(func() { want = slowMessage(kind, body) }))
	if err != nil {
		return
	}
	if page, ok := m.(*CursorPage); ok && len(page.Entries) == 0 {
		page.Entries = nil
	}
	if answer, ok := m.(*Verified); ok {
		if len(answer.Rows) == 0 {
			answer.Rows = nil
		}
		if len(answer.Parts) == 0 {
			answer.Parts = nil
		}
	}
	switch m := m.(type) {
	case *Mend:
		m.Ranges = nilIfEmpty(m.Ranges)
	case *Rows:
		m.Cursors, m.Parts = nilIfEmpty(m.Cursors), nilIfEmpty(m.Parts)
		m.Pieces, m.Data = nilIfEmpty(m.Pieces), nilIfEmpty(m.Data)
	}
	if !reflect.DeepEqual(m, want) {
		t.Fatalf("%s: %+v, the slow decoder reads %+v", kind, m, want)
	}
	if again := m.AppendTo(nil, sessionOf(kind)); !bytes.Equal(again[EnvelopeBytes:], body) {
		t.Fatalf("%s: body %x is encoded back to %x", kind, body, again[EnvelopeBytes:])
	}
}

// nilIfEmpty is a list as the slow decoder has it.
func nilIfEmpty[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}
