package wire

import (
	"encoding/binary"
	"slices"
	"strings"
)

func startCases() []batchCase {
	start := func(h *BatchHeader) { h.Kind = BatchStart }
	end := func(site SiteID, incarnation byte) LogEnd {
		return LogEnd{LogID{site, 17}, Position{Incarnation{incarnation}, 9, Chain(seq16(0x70))}}
	}
	spoil := func(change func(e *LogEnd)) []byte {
		e := end(0xa1, 1)
		change(&e)
		return startBody(e)
	}
	most := make([]LogEnd, StartEndsMax)
	for i := range most {
		most[i] = end(SiteID(i+1), 1)
	}
	return []batchCase{
		{name: "start that names no ends", body: startBody(), change: start},
		{name: "start of seq 1", body: startBody(), change: func(h *BatchHeader) {
			h.Kind, h.FirstSeq, h.Prev = BatchStart, 1, Chain{}
		}},
		{name: "start that names three ends", body: startBody(end(0xa1, 1), end(0xa1, 2), end(0xa2, 1)), change: start},
		{name: "start of 23207 ends", body: startBody(most...), change: start},
		{name: "start of 23208 ends", want: ErrProtocol, reason: "limit 1113952",
			body: startBody(append(most, end(1<<20, 1))...), change: start},
		{name: "start whose rows are missing", want: ErrProtocol, reason: "1 rows take 50",
			body: []byte{1, 0}, change: start},
		{name: "start with a byte behind its rows", want: ErrProtocol, reason: "0 rows take 2",
			body: []byte{0, 0, 0}, change: start},
		{name: "start whose rows fall", want: ErrProtocol, reason: "does not rise",
			body: startBody(end(0xa2, 1), end(0xa1, 1)), change: start},
		{name: "start whose rows repeat", want: ErrProtocol, reason: "does not rise",
			body: startBody(end(0xa1, 1), end(0xa1, 1)), change: start},
		{name: "end of site zero", want: ErrProtocol, reason: "log 00000000/17",
			body: spoil(func(e *LogEnd) { e.Log.Site = 0 }), change: start},
		{name: "end of shard 65536", want: ErrProtocol, reason: "/65536",
			body: spoil(func(e *LogEnd) { e.Log.Shard = 65536 }), change: start},
		{name: "end of another shard", want: ErrProtocol, reason: "in a batch of shard 17",
			body: spoil(func(e *LogEnd) { e.Log.Shard = 18 }), change: start},
		{name: "end at seq zero", want: ErrProtocol, reason: "ends at seq zero",
			body: spoil(func(e *LogEnd) { e.End.Seq = 0 }), change: start},
		{name: "end without incarnation", want: ErrProtocol, reason: "seq without incarnation",
			body: spoil(func(e *LogEnd) { e.End.Incarnation = Incarnation{} }), change: start},
		{name: "end with the zero chain", want: ErrProtocol, reason: "zero chain",
			body: spoil(func(e *LogEnd) { e.End.Chain = Chain{} }), change: start},
		{name: "marker of kind zero", want: ErrProtocol, reason: "kind is zero", body: []byte{0, 0, 'x'},
			change: func(h *BatchHeader) { h.Kind = BatchMarker }},
		{name: "marker of kind 9", body: []byte{9, 0, 'x'}, change: func(h *BatchHeader) { h.Kind = BatchMarker }},
	}
}

func baseCases() []batchCase {
	active := func(h *BatchHeader) { h.Domain, h.Flags = Domain(h.Site), FlagBaseVector }
	base := func(count uint16, rows ...uint64) []byte { // origin, seq, origin, seq …
		b := binary.LittleEndian.AppendUint16(nil, count)
		for pair := range slices.Chunk(rows, 2) {
			b = binary.LittleEndian.AppendUint32(b, uint32(pair[0]))
			b = binary.LittleEndian.AppendUint64(b, pair[1])
		}
		return smallEntry().put(b)
	}
	return []batchCase{
		{name: "base vector of one row", body: base(1, 1, 40), change: active},
		{name: "base vector of two rows", body: base(2, 1, 40, 7, 1), change: active},
		{name: "base vector without rows", want: ErrProtocol, reason: "base vector: 0 rows", body: base(0),
			change: active},
		{name: "base vector that passes the end", want: ErrProtocol, reason: "base vector: 65535 rows",
			body:   base(65535, 1, 1),
			change: active},
		{name: "base vector that falls", want: ErrProtocol, reason: "origin 6 behind 7",
			body: base(2, 7, 1, 6, 1), change: active},
		{name: "base vector that repeats", want: ErrProtocol, reason: "origin 7 behind 7",
			body: base(2, 7, 1, 7, 1), change: active},
		{name: "base vector of origin zero", want: ErrProtocol, reason: "origin 0 behind 0",
			body: base(1, 0, 1), change: active},
		{name: "base vector of seq zero", want: ErrProtocol, reason: "seq zero of origin 7",
			body: base(1, 7, 0), change: active},
		{name: "base vector in a start batch", want: ErrProtocol, reason: "base vector in a start batch",
			body:   startBody(),
			change: func(h *BatchHeader) { active(h); h.Kind = BatchStart }},
		{name: "body too short for a base vector", want: ErrProtocol, reason: "at least 39",
			body: rawEntry{op: 1, keys: []string{"k"}}.put(nil), change: active},
	}
}

// entryCase is a batch of one entry.
func entryCase(name, reason string, change func(e *rawEntry)) batchCase {
	e := smallEntry()
	change(&e)
	c := batchCase{name: name, reason: reason, body: e.put(nil)}
	if reason != "" {
		c.want = ErrProtocol
	}
	return c
}

func entryCases() []batchCase {
	longest := strings.Repeat("k", 512)
	eight := slices.Repeat([]string{longest}, 8)
	cases := []batchCase{
		entryCase("entry of op zero", "op is zero", func(e *rawEntry) { e.op = 0 }),
		entryCase("entry of op 65535", "", func(e *rawEntry) { e.op = 65535 }),
		entryCase("entry without payload", "", func(e *rawEntry) { e.payload = nil }),
		entryCase("entry of the longest payload", "", func(e *rawEntry) { e.payload = make([]byte, 1<<20) }),
		entryCase("entry of a longer payload", "limit 1048576",
			func(e *rawEntry) { e.payload = make([]byte, 1<<20+1) }),
		entryCase("entry without keys", "0 keys", func(e *rawEntry) { e.keys = nil }),
		entryCase("entry of 8 longest keys", "", func(e *rawEntry) { e.keys = eight }),
		entryCase("entry of 9 keys", "9 keys", func(e *rawEntry) { e.keys = slices.Repeat([]string{"k"}, 9) }),
		entryCase("entry with an empty key", "key 1 of 0 bytes", func(e *rawEntry) { e.keys = []string{"k", ""} }),
		entryCase("entry with a key of 513 bytes", "key 0 of 513 bytes",
			func(e *rawEntry) { e.keys = []string{longest + "k"} }),
		entryCase("first entry with a delta", "stamp delta 1 of the first", func(e *rawEntry) { e.delta = 1 }),
	}
	for bit := range 8 {
		cases = append(cases, entryCase("entry, reserved flag bit "+string(rune('0'+bit)), "reserved flags",
			func(e *rawEntry) { e.reserved = 1 << bit }))
	}
	whole := smallEntry().put(nil)
	cut := func(name, reason string, body []byte) batchCase {
		return batchCase{name: name, want: ErrProtocol, reason: reason, body: body}
	}
	claimsKeys := slices.Clone(whole[:25])
	claimsKeys[20] = 8
	return append(cases,
		cut("entry cut in its payload", "38 bytes left, the entry takes 41", whole[:38]),
		cut("entry cut in its key lengths", "the lengths of 8 keys end at 38", claimsKeys),
		cut("bytes behind the last entry", "1 bytes behind the last entry", append(slices.Clone(whole), 0)),
	)
}

func extensionCases() []batchCase {
	id, group := seq16(0x80), seq16(0x90)
	with := func(name, reason string, parts ...[]byte) batchCase {
		return entryCase(name, reason, func(e *rawEntry) { e.extensions = slices.Concat(parts...) })
	}
	unknown := extension(0x0010, []byte("ignore me"))
	return []batchCase{
		with("request id", "", extension(0x0001, id[:])),
		with("request id, then an unknown one to ignore", "", extension(0x0001, id[:]), unknown),
		with("unknown extension to ignore", "", unknown),
		with("unknown extension that must be understood", "", extension(0x8010, []byte("understand me"))),
		with("two that must be understood", "", extension(0x8010, nil), extension(0x8011, nil)),
		with("context delta", "", extension(0x8002, []byte{1, 2, 3})),
		with("transaction group", "", extension(0x8003, group[:])),
		with("highest extension number", "", extension(0x7fff, nil)),
		with("extensions of 4096 bytes", "", extension(0x0010, make([]byte, 4092))),
		with("extensions of 4097 bytes", "extensions of 4097 bytes", extension(0x0010, make([]byte, 4093))),
		with("extension number zero", "extension 0000", extension(0x0000, nil)),
		with("extension number zero that must be understood", "extension 8000", extension(0x8000, nil)),
		with("extensions that fall", "behind number 0011", extension(0x0011, nil), unknown),
		with("extension twice", "behind number 0010", unknown, unknown),
		with("one number with both bits", "behind number 0010", unknown, extension(0x8010, nil)),
		with("request id behind another", "behind number 0010", unknown, extension(0x0001, id[:])),
		with("request id of 15 bytes", "request id", extension(0x0001, id[:15])),
		with("request id of 17 bytes", "request id", extension(0x0001, append(id[:], 0))),
		with("request id zero", "request id", extension(0x0001, make([]byte, 16))),
		with("request id that must be understood", "request id as extension 8001", extension(0x8001, id[:])),
		with("context delta to ignore", "without its must-understand bit", extension(0x0002, nil)),
		with("transaction group to ignore", "without its must-understand bit", extension(0x0003, nil)),
		with("extension header cut", "3 bytes left", []byte{0x10, 0, 0}),
		with("extension value cut", "passes the end", []byte{0x10, 0, 2, 0, 'x'}),
	}
}

// sequenceCases are batches of several entries.
func sequenceCases() []batchCase {
	entries := func(deltas ...uint32) (body []byte) {
		for _, delta := range deltas {
			e := smallEntry()
			e.delta = delta
			body = e.put(body)
		}
		return body
	}
	spread := func(count uint32, last Stamp) func(h *BatchHeader) {
		return func(h *BatchHeader) { h.Count, h.LastStamp = count, h.FirstStamp+last }
	}
	full := rawEntry{op: 1, keys: []string{"k"}, payload: make([]byte, 1<<20)}.put(nil)
	rest := rawEntry{delta: 1, op: 1, keys: []string{"k"}}
	rest.payload = make([]byte, BatchBytesMax-160-len(full)-25)
	fullBatch := rest.put(full)
	rest.payload = append(rest.payload, 0)
	return []batchCase{
		{name: "three entries", body: entries(0, 1, 4096), change: spread(3, 4096)},
		{name: "longest batch", body: fullBatch, change: spread(2, 1)},
		{name: "batch over the limit", want: ErrProtocol, reason: "limit 1113952", body: rest.put(full),
			change: spread(2, 1)},
		{name: "stamps that stand", want: ErrProtocol, reason: "behind", body: entries(0, 1, 1), change: spread(3, 2)},
		{name: "stamps that fall", want: ErrProtocol, reason: "behind", body: entries(0, 2, 1), change: spread(3, 2)},
		{name: "last entry short of the last stamp", want: ErrProtocol, reason: "of the last entry",
			body: entries(0, 1), change: spread(2, 2)},
		{name: "last entry beyond the last stamp", want: ErrProtocol, reason: "of the last entry",
			body: entries(0, 3), change: spread(2, 2)},
		{name: "more entries than the count", want: ErrProtocol, reason: "bytes behind the last entry",
			body: entries(0, 1, 2), change: spread(2, 1)},
		{name: "fewer entries than the count", want: ErrProtocol, reason: "0 bytes left",
			body: entries(0, 1), change: spread(3, 2)},
		{name: "stamps too close for the count", want: ErrProtocol, reason: "cannot hold 3 rising",
			body: entries(0, 1, 2), change: spread(3, 1)},
	}
}
