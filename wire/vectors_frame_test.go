package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// forgeFrame encodes a frame without asking whether it is allowed, and gives
// it the CRC that belongs to it.
func forgeFrame(e Envelope, ext, body []byte, poke func(b []byte)) []byte {
	e.ExtBytes = uint8(len(ext))
	e.WireBytes, e.PlainBytes = uint32(len(body)), uint32(len(body))
	b := slices.Concat(appendEnvelope(nil, &e), ext, body)
	if poke != nil {
		poke(b)
	}
	recrc(b)
	return b
}

// recrc gives the frame the CRC that belongs to it.
func recrc(b []byte) {
	covered := b
	if b[0] == 4 || b[0] == 11 {
		covered = b[:min(len(b), 32+int(b[5]))]
	}
	clear(b[28:32])
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
}

// frameCase is a frame that differs from its like.
type frameCase struct {
	name, like string
	want       error
	reason     string
	envelope   Envelope
	ext, body  []byte
	poke       func(b []byte)
}

func frameVectorsOf(cases []frameCase) (vectors []*vector) {
	for _, c := range cases {
		vectors = append(vectors, &vector{
			name: c.name, decode: "frame", like: c.like, want: c.want, reason: c.reason,
			bytes: forgeFrame(c.envelope, c.ext, c.body, c.poke),
		})
	}
	return vectors
}

const (
	plainBeat    = "heartbeat"
	plainBatches = "frame of two batches"
)

func frameVectors() []*vector {
	beat := Envelope{Kind: FrameHeartbeat, Session: 3}
	beatBody := make([]byte, 24)
	spoiled := func(name, reason string, offset int, value byte) frameCase {
		return frameCase{
			name: name, like: plainBeat, want: ErrProtocol, reason: reason, envelope: beat, body: beatBody,
			poke: pokeAt(offset, value),
		}
	}
	cases := []frameCase{
		{name: plainBeat, envelope: beat, body: beatBody},
		{name: "version 2", like: plainBeat, want: ErrVersion, reason: "version 2", envelope: beat, body: beatBody,
			poke: pokeAt(1, 2)},
		{name: "version 255 of an unknown kind", like: plainBeat, want: ErrVersion, reason: "version 255",
			envelope: beat,
			body:     beatBody, poke: func(b []byte) { b[0], b[1] = 99, 255 }},
		spoiled("version 0", "version 0", 1, 0),
		spoiled("kind 0", "unknown kind 0", 0, 0),
		spoiled("kind 16", "unknown kind 16", 0, 16),
		spoiled("codec 1", "unknown codec 1", 4, 1),
		spoiled("plain bytes that differ", "25 plain bytes, 24 wire bytes", 12, 25),
		spoiled("heartbeat of session 0", "session is zero", 16, 0),
		spoiled("heartbeat with a number", "number 1", 20, 1),
		spoiled("heartbeat with a batch count", "batch count 1", 6, 1),
		{name: "body cut by a byte", like: plainBeat, want: ErrCorrupt, reason: "envelope says 56", envelope: beat,
			body: beatBody[:23], poke: func(b []byte) { b[8], b[12] = 24, 24 }},
		{name: "body with a byte more", like: plainBeat, want: ErrCorrupt, reason: "envelope says 56", envelope: beat,
			body: make([]byte, 25), poke: func(b []byte) { b[8], b[12] = 24, 24 }},
	}
	for bit := range 16 {
		cases = append(cases, spoiled(fmt.Sprintf("reserved flag bit %d", bit), "reserved flags", 2+bit/8, 1<<(bit%8)))
	}
	cases = append(cases, frameExtensionCases(beat, beatBody)...)
	cases = append(cases, batchFrameCases()...)
	vectors := frameVectorsOf(cases)
	badCRC := slices.Clone(vectors[0].bytes)
	badCRC[31] ^= 0x80
	changed := slices.Clone(vectors[0].bytes)
	changed[55] ^= 1
	return append(vectors,
		&vector{name: "crc of another frame", decode: "frame", like: plainBeat, bytes: badCRC,
			want: ErrCorrupt, reason: "crc"},
		&vector{name: "control body that changed", decode: "frame", like: plainBeat, bytes: changed,
			want: ErrCorrupt, reason: "crc"},
		&vector{name: "envelope of 31 bytes", decode: "frame", bytes: badCRC[:31], want: ErrCorrupt,
			reason: "31 bytes"},
	)
}

// frameExtensionCases are heartbeats with extensions.
func frameExtensionCases(beat Envelope, body []byte) (cases []frameCase) {
	tlv := func(kind byte, value []byte) []byte { return append([]byte{kind, byte(len(value))}, value...) }
	traceID := seq16(0x50)
	trace := tlv(1, append(traceID[:], 1, 2, 3, 4, 5, 6, 7, 8, 1))
	for _, c := range []struct {
		name, reason string
		ext          []byte
	}{
		{"trace context", "", trace},
		{"trace context, then an unknown one to ignore", "", append(slices.Clone(trace), tlv(9, []byte("x"))...)},
		{"unknown extension to ignore", "", tlv(9, []byte("ignore me"))},
		{"extensions of 255 bytes", "", tlv(9, make([]byte, 253))},
		{"unknown extension that must be understood", "extension 89 must be understood", tlv(0x89, nil)},
		{"trace context that must be understood", "extension 81 must be understood", append([]byte{0x81},
			trace[1:]...)},
		{"trace context of 24 bytes", "trace context takes 25", tlv(1, make([]byte, 24))},
		{"trace context of 26 bytes", "trace context takes 25", tlv(1, make([]byte, 26))},
		{"stopped logs", "", tlv(2, []byte{3, 0, 0, 0})},
		{"stopped logs of 3 bytes", "stopped logs takes 4", tlv(2, make([]byte, 3))},
		{"stopped logs of 5 bytes", "stopped logs takes 4", tlv(2, make([]byte, 5))},
		{"extension number zero", "extension 00", tlv(0, nil)},
		{"extension number zero that must be understood", "extension 80", tlv(0x80, nil)},
		{"extension twice", "behind number 09", append(tlv(9, nil), tlv(9, nil)...)},
		{"extensions that fall", "behind number 09", append(tlv(9, nil), tlv(8, nil)...)},
		{"extension header cut", "1 bytes left", []byte{9}},
		{"extension value cut", "passes the end", []byte{9, 2, 0}},
	} {
		f := frameCase{name: c.name, reason: c.reason, envelope: beat, ext: c.ext, body: body}
		if c.reason != "" {
			f.want = ErrProtocol
		}
		cases = append(cases, f)
	}
	return cases
}

func batchFrameCases() []frameCase {
	first := forge(smallEntry().put(nil), nil, nil)
	second := forge(smallEntry().put(nil), func(h *BatchHeader) {
		h.FirstSeq, h.Prev, h.FirstStamp, h.LastStamp = 42, Chain(first[8:24]), 1<<60+1, 1<<60+1
	}, nil)
	two := slices.Concat(first, second)
	envelope := Envelope{Kind: FrameBatches, BatchCount: 2, Session: 3, Number: 1}
	with := func(change func(e *Envelope)) Envelope {
		e := envelope
		change(&e)
		return e
	}
	spoiled := func(name, reason string, body []byte, change func(e *Envelope)) frameCase {
		return frameCase{name: name, like: plainBatches, want: ErrProtocol, reason: reason,
			envelope: with(change), body: body}
	}
	sized := func(size int) []byte {
		e := rawEntry{op: 1, keys: []string{"k"}, payload: make([]byte, size-BatchHeaderBytes-EntryBytesMin)}
		return forge(e.put(nil), nil, nil)
	}
	three := slices.Repeat(sized(1<<20), 3)
	most := FrameBytesMax - EnvelopeBytes - 3<<20
	longest := slices.Concat(three, sized(most))
	beyond := slices.Concat(three, sized(most+1))
	changed := slices.Clone(two)
	changed[len(changed)-1] ^= 1
	return []frameCase{
		{name: plainBatches, envelope: envelope, body: two},
		{name: "fetched frame of two batches", like: plainBatches, body: two,
			envelope: with(func(e *Envelope) { e.Kind, e.Number = FrameFetched, 9 })},
		{name: "frame of one batch with a trace context", envelope: with(func(e *Envelope) { e.BatchCount = 1 }),
			ext: append([]byte{1, 25}, make([]byte, 25)...), body: first},
		{name: "longest frame", envelope: with(func(e *Envelope) { e.BatchCount = 4 }), body: longest},
		spoiled("frame over the limit", "limit is 4194304", beyond, func(e *Envelope) { e.BatchCount = 4 }),
		{name: "frame over the limit by its extension", want: ErrProtocol, reason: "limit is 4194304",
			envelope: with(func(e *Envelope) { e.BatchCount = 4 }), ext: []byte{9, 0}, body: longest},
		spoiled("batch frame number 0", "number 0", two, func(e *Envelope) { e.Number = 0 }),
		spoiled("batch frame of session 0", "session is zero", two, func(e *Envelope) { e.Session = 0 }),
		spoiled("batch count 0", "batch count is zero", two, func(e *Envelope) { e.BatchCount = 0 }),
		spoiled("batch count 1 of two", "bytes behind 1 batches", two, func(e *Envelope) { e.BatchCount = 1 }),
		spoiled("batch count no body of this size can hold", "65535 batches take at least", two,
			func(e *Envelope) { e.BatchCount = 65535 }),
		{name: "body of 162 bytes", body: forge(startBody(), func(h *BatchHeader) { h.Kind = BatchStart }, nil),
			envelope: with(func(e *Envelope) { e.BatchCount = 1 })},
		{name: "body of 161 bytes", want: ErrProtocol, reason: "take at least 162", body: make([]byte, 161),
			envelope: with(func(e *Envelope) { e.BatchCount = 1 })},
		{name: "batch cut by the frame's end", want: ErrCorrupt, reason: "are left",
			body: two[:len(two)-1], envelope: envelope},
		{name: "a changed bit in a batch", like: plainBatches, want: ErrCorrupt, reason: "digest",
			body: changed, envelope: envelope},
	}
}

// messageCase spoils the good message of a kind, or one of its body's bytes.
type messageCase struct {
	kind   FrameKind
	name   string
	reason string // empty: allowed
	change func(m Message)
	poke   func(body []byte)
}

func messageVectors() (vectors []*vector) {
	samples := sampleMessages()
	for kind := FrameHello; kind <= FrameRows; kind++ {
		if m := samples[kind]; m != nil {
			vectors = append(vectors, &vector{name: kind.String(), decode: "frame",
				bytes: m.AppendTo(nil, sessionOf(kind))})
		}
	}
	for _, c := range messageCases() {
		m := sampleMessages()[c.kind]
		if c.change != nil {
			c.change(m)
		}
		frame := m.AppendTo(nil, sessionOf(c.kind))
		if c.poke != nil {
			c.poke(frame[EnvelopeBytes:])
			recrc(frame)
		}
		v := &vector{name: c.name, decode: "frame", like: c.kind.String(), bytes: frame, reason: c.reason}
		if c.reason != "" {
			v.want = ErrProtocol
		}
		vectors = append(vectors, v)
	}
	for kind := FrameHello; kind <= FrameRows; kind++ {
		if m := samples[kind]; m != nil {
			vectors = append(vectors, bodyLengthVectors(kind, m)...)
		}
	}
	return vectors
}

// bodyLengthVectors are a message's body one byte short and one too long, and
// its envelope with a session or number that its kind does not have.
func bodyLengthVectors(kind FrameKind, m Message) []*vector {
	frame := m.AppendTo(nil, sessionOf(kind))
	body := frame[EnvelopeBytes:]
	var e Envelope
	if err := DecodeEnvelope(frame, &e); err != nil {
		panic(err)
	}
	short, long := "left", "behind the last field"
	if kind == FrameCursorPage {
		short, long = "rows in a body of", "rows in a body of"
	}
	number := e
	number.Number ^= 1 << 40
	session := e
	session.Session = 1
	if !frameKinds[kind].opens {
		session.Session = 0
	}
	cases := []frameCase{
		{name: kind.String() + " a byte short", want: ErrProtocol, reason: short, envelope: e,
			body: body[:len(body)-1]},
		{name: kind.String() + " a byte too long", want: ErrProtocol, reason: long, envelope: e,
			body: append(slices.Clone(body), 0)},
		{name: kind.String() + " with another number", like: kind.String(), want: ErrProtocol, reason: "number",
			envelope: number, body: body},
	}
	odd := frameCase{name: kind.String() + " with another session", like: kind.String(), envelope: session, body: body}
	if kind != FrameRefusal {
		odd.want, odd.reason = ErrProtocol, "session"
	}
	cases = append(cases, odd)
	cases = append(cases, frameCase{
		name: kind.String() + " of 1 MiB", want: ErrProtocol, reason: strings.Fields(long)[0], envelope: e,
		body: append(slices.Clone(body), make([]byte, ControlBytesMax-len(body))...),
	}, frameCase{
		name: kind.String() + " over 1 MiB", want: ErrProtocol, reason: "limit 1048576", envelope: e,
		body: append(slices.Clone(body), make([]byte, ControlBytesMax-len(body)+1)...),
	})
	return frameVectorsOf(cases)
}
