package wire

import (
	"fmt"
	"slices"
	"strings"
)

// allowed and refused make the cases of one message type.
func allowed[M any](kind FrameKind, name string, change func(m *M)) messageCase {
	return messageCase{kind: kind, name: name, change: func(m Message) { change(any(m).(*M)) }}
}

func refused[M any](kind FrameKind, name, reason string, change func(m *M)) messageCase {
	c := allowed(kind, name, change)
	c.reason = reason
	return c
}

func poked(kind FrameKind, name, reason string, offset int, value byte) messageCase {
	return messageCase{kind: kind, name: name, reason: reason, poke: pokeAt(offset, value)}
}

func messageCases() []messageCase {
	cases := slices.Concat(helloCases(), refusalCases(), pageCases(), fetchCases(), verifyCases(), mendCases())
	cases = append(cases,
		refused(FrameAck, "ack of level 0", "level 0", func(m *Ack) { m.Level = 0 }),
		refused(FrameAck, "ack of level applied", "level 3", func(m *Ack) { m.Level = LevelApplied }),
		allowed(FrameAck, "ack of level received", func(m *Ack) { m.Level = LevelReceived }),
		refused(FrameAck, "ack of number 0", "number is zero", func(m *Ack) { m.Number = 0 }),
		allowed(FrameHeartbeat, "heartbeat of zeros", func(m *Heartbeat) { *m = Heartbeat{} }),
		allowed(FrameHeartbeatEcho, "heartbeat echo of zeros", func(m *HeartbeatEcho) { *m = HeartbeatEcho{} }),
	)
	for bit := range 8 {
		mask := byte(1) << bit
		cases = append(cases, poked(FrameHello, fmt.Sprintf("hello, reserved bit %d of byte 3", bit),
			"reserved byte", 3, mask))
		for offset := 1; offset <= 3; offset++ {
			name := fmt.Sprintf("welcome, reserved bit %d of byte %d", bit, offset)
			cases = append(cases, poked(FrameWelcome, name, "reserved byte", offset, mask))
		}
		if bit >= 2 {
			cases = append(cases, poked(FrameCursorPage, fmt.Sprintf("cursor page, reserved flag bit %d", bit),
				"reserved flags", 0, mask))
		}
	}
	return cases
}

func helloCases() []messageCase {
	name := strings.Repeat("n", 255)
	return []messageCase{
		allowed(FrameHello, "hello of a newer release", func(m *Hello) { m.VersionMin, m.VersionMax = 2, 255 }),
		allowed(FrameHello, "hello with an unknown digest kind and feature",
			func(m *Hello) { m.DigestKind, m.Features = 9, 1<<63 }),
		allowed(FrameHello, "hello that knows no writer", func(m *Hello) { m.Primary, m.Epoch = 0, 0 }),
		allowed(FrameHello, "hello without names",
			func(m *Hello) { m.ClusterName, m.SiteName, m.PeerName = "", "", "" }),
		allowed(FrameHello, "hello with the longest names",
			func(m *Hello) { m.ClusterName, m.SiteName, m.PeerName = name, name, name }),
		allowed(FrameHello, "hello of 65536 shards", func(m *Hello) { m.Shards = 65536 }),
		refused(FrameHello, "hello of 65537 shards", "65537 shards", func(m *Hello) { m.Shards = 65537 }),
		refused(FrameHello, "hello of 0 shards", "0 shards", func(m *Hello) { m.Shards = 0 }),
		refused(FrameHello, "hello of version 0", "versions 0", func(m *Hello) { m.VersionMin = 0 }),
		refused(FrameHello, "hello whose versions fall", "versions 3 to 2",
			func(m *Hello) { m.VersionMin, m.VersionMax = 3, 2 }),
		refused(FrameHello, "hello of digest kind 0", "digest kind", func(m *Hello) { m.DigestKind = 0 }),
		refused(FrameHello, "hello of site 0", "site 00000000", func(m *Hello) { m.Site = 0 }),
		refused(FrameHello, "hello to peer 0", "peer 00000000", func(m *Hello) { m.Peer = 0 }),
		refused(FrameHello, "hello of term 0", "term 0", func(m *Hello) { m.Term = 0 }),
		refused(FrameHello, "hello of counter 0", "counter 0", func(m *Hello) { m.Counter = 0 }),
		refused(FrameHello, "hello of cluster 0", "cluster is zero", func(m *Hello) { m.Cluster = 0 }),
		poked(FrameHello, "hello with a name that is not UTF-8", "not valid UTF-8", 57, 0xff),
		poked(FrameHello, "hello with a name that passes the end", "cluster name at offset 57", 56, 255),
		refused(FrameWelcome, "welcome of version 0", "version is zero", func(m *Welcome) { m.Version = 0 }),
		refused(FrameWelcome, "welcome of site 0", "site is zero", func(m *Welcome) { m.Site = 0 }),
		refused(FrameWelcome, "welcome of term 0", "term is zero", func(m *Welcome) { m.Term = 0 }),
		allowed(FrameWelcome, "welcome with the longest name", func(m *Welcome) { m.SiteName = name }),
		poked(FrameWelcome, "welcome with a name that is not UTF-8", "not valid UTF-8", 25, 0xff),
	}
}

func refusalCases() []messageCase {
	text := strings.Repeat("t", 1024)
	tooLong := func(lengthAt int) func(body []byte) {
		return func(body []byte) { copy(body[lengthAt:], []byte{0x01, 0x04}) }
	}
	return []messageCase{
		allowed(FrameRefusal, "refusal of a later code", func(m *Refusal) { m.Code = 999 }),
		allowed(FrameRefusal, "refusal that names no session", func(m *Refusal) { m.Term, m.Counter = 0, 0 }),
		allowed(FrameRefusal, "refusal with the longest text", func(m *Refusal) { m.Text = text }),
		{kind: FrameRefusal, name: "refusal with a text of 1025 bytes", reason: "text of 1025 bytes",
			poke: tooLong(10)},
		refused(FrameRefusal, "refusal of code 0", "code is zero", func(m *Refusal) { m.Code = 0 }),
		refused(FrameRefusal, "refusal of a term without counter", "one is zero", func(m *Refusal) { m.Counter = 0 }),
		refused(FrameRefusal, "refusal of a counter without term", "one is zero", func(m *Refusal) { m.Term = 0 }),
		poked(FrameRefusal, "refusal with a text that is not UTF-8", "not valid UTF-8", 12, 0xff),

		allowed(FrameBatchRefusal, "batch refusal of a later code", func(m *BatchRefusal) { m.Code = 999 }),
		allowed(FrameBatchRefusal, "batch refusal of an unknown log",
			func(m *BatchRefusal) { m.Position = Position{} }),
		allowed(FrameBatchRefusal, "batch refusal with the longest text", func(m *BatchRefusal) { m.Text = text }),
		{kind: FrameBatchRefusal, name: "batch refusal with a text of 1025 bytes",
			reason: "text of 1025 bytes", poke: tooLong(50)},
		refused(FrameBatchRefusal, "batch refusal of code 0", "code is zero", func(m *BatchRefusal) { m.Code = 0 }),
		refused(FrameBatchRefusal, "batch refusal of site 0", "log 00000000", func(m *BatchRefusal) { m.Log.Site = 0 }),
		refused(FrameBatchRefusal, "batch refusal of shard 65536", "/65536",
			func(m *BatchRefusal) { m.Log.Shard = 65536 }),
		refused(FrameBatchRefusal, "batch refusal at a seq without incarnation", "seq without incarnation",
			func(m *BatchRefusal) { m.Position.Incarnation = Incarnation{} }),
		refused(FrameBatchRefusal, "batch refusal at a seq without chain", "zero chain",
			func(m *BatchRefusal) { m.Position.Chain = Chain{} }),
		refused(FrameBatchRefusal, "batch refusal at a chain without seq", "zero chain",
			func(m *BatchRefusal) { m.Position.Seq = 0 }),
		poked(FrameBatchRefusal, "batch refusal with a text that is not UTF-8", "not valid UTF-8", 52, 0xff),
	}
}

func pageCases() []messageCase {
	rows := func(n int) (rows []PageEntry) {
		for i := range n {
			rows = append(rows, PageEntry{LogID{1, Shard(i)}, Position{Incarnation{1}, 1, Chain{1}}, 1})
		}
		return rows
	}
	return []messageCase{
		allowed(FrameCursorPage, "cursor page without rows", func(m *CursorPage) { m.Entries = nil }),
		allowed(FrameCursorPage, "cursor page of changes", func(m *CursorPage) { m.Flags = 0 }),
		allowed(FrameCursorPage, "cursor page with more to come", func(m *CursorPage) { m.Flags = PageResume }),
		refused(FrameCursorPage, "cursor page last of no answer", "last page of no answer",
			func(m *CursorPage) { m.Flags = PageLast }),
		allowed(FrameCursorPage, "cursor page of 4096 rows", func(m *CursorPage) { m.Entries = rows(4096) }),
		poked(FrameCursorPage, "cursor page whose rows are missing", "4 rows in a body of", 1, 4),
		{kind: FrameCursorPage, name: "cursor page of 4097 rows", reason: "4097 rows, limit 4096",
			poke: func(body []byte) { copy(body[1:], []byte{0x01, 0x10}) }},
		refused(FrameCursorPage, "cursor page whose rows fall", "does not rise",
			func(m *CursorPage) { m.Entries[0].Log.Shard = 19 }),
		refused(FrameCursorPage, "cursor page whose rows repeat", "does not rise",
			func(m *CursorPage) { m.Entries[0].Log.Shard = 18 }),
		refused(FrameCursorPage, "cursor page of site 0", "log 00000000",
			func(m *CursorPage) { m.Entries[0].Log.Site = 0 }),
		refused(FrameCursorPage, "cursor page of shard 65536", "/65536",
			func(m *CursorPage) { m.Entries[2].Log.Shard = 65536 }),
		refused(FrameCursorPage, "cursor page applied beyond durable", "applied seq 10",
			func(m *CursorPage) { m.Entries[0].Applied = 10 }),
		refused(FrameCursorPage, "cursor page with a seq without incarnation", "seq without incarnation",
			func(m *CursorPage) { m.Entries[0].Durable.Incarnation = Incarnation{} }),
		refused(FrameCursorPage, "cursor page with a seq without chain", "zero chain",
			func(m *CursorPage) { m.Entries[0].Durable.Chain = Chain{} }),
	}
}

func fetchCases() []messageCase {
	text := strings.Repeat("t", 1024)
	return []messageCase{
		allowed(FrameFetch, "fetch of all there is", func(m *Fetch) { m.To = 0 }),
		allowed(FrameFetch, "fetch from the beginning", func(m *Fetch) { m.From = Position{} }),
		allowed(FrameFetch, "fetch of one seq", func(m *Fetch) { m.To = m.From.Seq + 1 }),
		refused(FrameFetch, "fetch of nothing", "nothing lies behind seq 9 up to 9",
			func(m *Fetch) { m.To = m.From.Seq }),
		refused(FrameFetch, "fetch backwards", "nothing lies behind seq 9 up to 8",
			func(m *Fetch) { m.To = m.From.Seq - 1 }),
		refused(FrameFetch, "fetch of id 0", "number 0", func(m *Fetch) { m.ID = 0 }),
		poked(FrameFetch, "fetch whose id is not its number", "not the id in its body", 0, 6),
		refused(FrameFetch, "fetch of site 0", "log 00000000", func(m *Fetch) { m.Log.Site = 0 }),
		refused(FrameFetch, "fetch of shard 65536", "/65536", func(m *Fetch) { m.Log.Shard = 65536 }),
		refused(FrameFetch, "fetch from a seq without incarnation", "seq without incarnation",
			func(m *Fetch) { m.From.Incarnation = Incarnation{} }),
		refused(FrameFetch, "fetch from a chain without seq", "zero chain", func(m *Fetch) { m.From.Seq = 0 }),

		allowed(FrameFetchEnd, "fetch end, all was sent", func(m *FetchEnd) { m.Code, m.Text = 0, "" }),
		allowed(FrameFetchEnd, "fetch end of a later code", func(m *FetchEnd) { m.Code = 999 }),
		allowed(FrameFetchEnd, "fetch end with the longest text", func(m *FetchEnd) { m.Text = text }),
		{kind: FrameFetchEnd, name: "fetch end with a text of 1025 bytes", reason: "text of 1025 bytes",
			poke: func(body []byte) { copy(body[10:], []byte{0x01, 0x04}) }},
		refused(FrameFetchEnd, "fetch end of id 0", "number 0", func(m *FetchEnd) { m.ID = 0 }),
		poked(FrameFetchEnd, "fetch end whose id is not its number", "not the id in its body", 0, 6),
		poked(FrameFetchEnd, "fetch end with a text that is not UTF-8", "not valid UTF-8", 12, 0xff),

		allowed(FrameJoin, "join of the fewest streams", func(m *Join) { m.Streams, m.Stream = 2, 1 }),
		allowed(FrameJoin, "join of the most streams", func(m *Join) { m.Streams, m.Stream = 64, 63 }),
		refused(FrameJoin, "join of one stream", "1 streams", func(m *Join) { m.Streams, m.Stream = 1, 0 }),
		refused(FrameJoin, "join of 65 streams", "65 streams", func(m *Join) { m.Streams = 65 }),
		refused(FrameJoin, "join of a stream beyond the last", "stream 4 of 4", func(m *Join) { m.Stream = 4 }),
	}
}

func verifyCases() []messageCase {
	key := []byte(strings.Repeat("k", 512))
	logs := func(kind VerifyKind, count uint32) func(m *Verify) {
		return func(m *Verify) { *m = Verify{ID: 6, Kind: kind, Count: count, Log: LogID{4, 0}} }
	}
	parts := func(n int) (parts []VerifiedPart) {
		for i := range n {
			parts = append(parts, VerifiedPart{1, [32]byte{1}, []byte{1, byte(i >> 8), byte(i)}})
		}
		return parts
	}
	return []messageCase{
		allowed(FrameVerify, "verify from the first key to the last", func(m *Verify) { m.Lo, m.Hi = nil, nil }),
		allowed(FrameVerify, "verify with the longest key", func(m *Verify) { m.Lo, m.Hi = nil, key }),
		allowed(FrameVerify, "verify of tails", logs(VerifyTails, 64)),
		allowed(FrameVerify, "verify of journals", logs(VerifyJournals, 1)),
		allowed(FrameVerify, "verify, the end", logs(VerifyEnd, 0)),
		refused(FrameVerify, "verify of id 0", "id is zero", func(m *Verify) { m.ID = 0 }),
		refused(FrameVerify, "verify of kind 0", "kind 0", func(m *Verify) { m.Kind = 0 }),
		refused(FrameVerify, "verify of kind 5", "kind 5", func(m *Verify) { m.Kind = 5 }),
		poked(FrameVerify, "verify, reserved byte 9", "reserved byte", 9, 1),
		poked(FrameVerify, "verify, reserved byte 11", "reserved byte", 11, 0x80),
		refused(FrameVerify, "verify of no keys", "count 0", func(m *Verify) { m.Count = 0 }),
		refused(FrameVerify, "verify, the end of one shard", "count 1", logs(VerifyEnd, 1)),
		refused(FrameVerify, "verify of 65 shards", "65 shards", logs(VerifyTails, 65)),
		refused(FrameVerify, "verify of site 0", "log 00000000", func(m *Verify) { m.Log.Site = 0 }),
		refused(FrameVerify, "verify of shard 65536", "/65536", func(m *Verify) { m.Log.Shard = 65536 }),
		refused(FrameVerify, "verify of tails at a point", "a point or a range", func(m *Verify) {
			logs(VerifyTails, 1)(m)
			m.Seq = 1
		}),
		refused(FrameVerify, "verify of tails in a range", "a point or a range", func(m *Verify) {
			logs(VerifyTails, 1)(m)
			m.Lo = key
		}),
		refused(FrameVerify, "verify of an empty range", "holds nothing", func(m *Verify) { m.Hi = m.Lo }),
		poked(FrameVerify, "verify with a key that passes the end", "bytes left", 32, 255),
		poked(FrameVerify, "verify with a key of 517 bytes", "lo of 517 bytes", 33, 2),

		allowed(FrameVerified, "verified, nothing", func(m *Verified) { *m = Verified{ID: 6} }),
		allowed(FrameVerified, "verified of a later code", func(m *Verified) { m.Code = 999 }),
		allowed(FrameVerified, "verified of 256 parts", func(m *Verified) { m.Parts = parts(256) }),
		refused(FrameVerified, "verified of 257 parts", "257 parts", func(m *Verified) { m.Parts = parts(257) }),
		refused(FrameVerified, "verified of id 0", "id is zero", func(m *Verified) { m.ID = 0 }),
		refused(FrameVerified, "verified whose rows repeat", "does not rise",
			func(m *Verified) { m.Rows[1].Log = m.Rows[0].Log }),
		refused(FrameVerified, "verified whose parts repeat", "does not rise",
			func(m *Verified) { m.Parts[1].Hi = m.Parts[0].Hi }),
		refused(FrameVerified, "verified with an unbounded part that is not the last", "is unbounded",
			func(m *Verified) { m.Parts[0].Hi = nil }),
		poked(FrameVerified, "verified of 4098 rows", "4098 rows, limit 4096", 11, 0x10),
		poked(FrameVerified, "verified whose rows are missing", "200 rows in", 10, 200),
		poked(FrameVerified, "verified whose parts are missing", "is unbounded", 12, 3),
	}
}

func mendCases() []messageCase {
	key := []byte(strings.Repeat("k", 544))
	ranges := func(n int) (ranges []MendRange) {
		for i := range n {
			lo := []byte{1, byte(i >> 8), byte(i)}
			ranges = append(ranges, MendRange{Lo: lo, Hi: append(slices.Clone(lo), 0)})
		}
		return ranges
	}
	return []messageCase{
		allowed(FrameMend, "mend, a view", func(m *Mend) { *m = Mend{ID: 7, Kind: MendOpen, Shard: 65535} }),
		allowed(FrameMend, "mend, parts of everything", func(m *Mend) {
			*m = Mend{ID: 7, Kind: MendParts, View: 1, Count: 64, Ranges: make([]MendRange, 1)}
		}),
		allowed(FrameMend, "mend of 256 ranges", func(m *Mend) { m.Ranges = ranges(256) }),
		allowed(FrameMend, "mend with the longest key", func(m *Mend) { m.Ranges[1].Lo = key }),
		refused(FrameMend, "mend of 257 ranges", "257 ranges", func(m *Mend) { m.Ranges = ranges(257) }),
		refused(FrameMend, "mend of no range", "0 ranges", func(m *Mend) { m.Ranges = nil }),
		refused(FrameMend, "mend, parts of two ranges", "2 ranges",
			func(m *Mend) { m.Kind, m.Count, m.Skip = MendParts, 1, 0 }),
		refused(FrameMend, "mend, a view of a range", "1 ranges",
			func(m *Mend) { *m = Mend{ID: 7, Kind: MendOpen, Ranges: ranges(1)} }),
		refused(FrameMend, "mend of id 0", "id is zero", func(m *Mend) { m.ID = 0 }),
		refused(FrameMend, "mend of kind 0", "kind 0", func(m *Mend) { m.Kind = 0 }),
		refused(FrameMend, "mend of kind 4", "kind 4", func(m *Mend) { m.Kind = 4 }),
		poked(FrameMend, "mend, reserved byte 9", "reserved byte", 9, 1),
		poked(FrameMend, "mend, reserved byte 11", "reserved byte", 11, 0x80),
		refused(FrameMend, "mend of shard 65536", "shard 65536", func(m *Mend) { m.Shard = 65536 }),
		refused(FrameMend, "mend of no view", "view 0", func(m *Mend) { m.View = 0 }),
		refused(FrameMend, "mend, a view of a view", "view 9", func(m *Mend) { m.Kind = MendOpen }),
		refused(FrameMend, "mend, rows with a count", "count 1", func(m *Mend) { m.Count = 1 }),
		refused(FrameMend, "mend, parts behind a row", "skip 5",
			func(m *Mend) { m.Kind, m.Count, m.Ranges = MendParts, 1, m.Ranges[:1] }),
		refused(FrameMend, "mend of an empty range", "holds nothing",
			func(m *Mend) { m.Ranges[0].Hi = m.Ranges[0].Lo }),
		refused(FrameMend, "mend of ranges that overlap", "does not rise",
			func(m *Mend) { m.Ranges[1].Lo = []byte("key-b") }),
		refused(FrameMend, "mend behind an unbounded range", "does not rise", func(m *Mend) { m.Ranges[0].Hi = nil }),
		refused(FrameMend, "mend with a key of 545 bytes", "lo of 545 bytes",
			func(m *Mend) { m.Ranges[0].Lo = append(key, 'k') }),

		allowed(FrameRows, "rows, nothing", func(m *Rows) { *m = Rows{ID: 7} }),
		allowed(FrameRows, "rows of a later code", func(m *Rows) { m.Code = 999 }),
		allowed(FrameRows, "rows of 256 pieces", func(m *Rows) { m.Pieces, m.Data = make([]RowsPiece, 256), nil }),
		refused(FrameRows, "rows of 257 pieces", "257 pieces",
			func(m *Rows) { m.Pieces, m.Data = make([]RowsPiece, 257), nil }),
		refused(FrameRows, "rows of id 0", "id is zero", func(m *Rows) { m.ID = 0 }),
		refused(FrameRows, "rows of no range follow", "of no range follow",
			func(m *Rows) { m.Pieces, m.Data = nil, nil }),
		refused(FrameRows, "rows whose cursors repeat", "does not rise",
			func(m *Rows) { m.Cursors[1].Log = m.Cursors[0].Log }),
		refused(FrameRows, "rows whose parts repeat", "does not rise",
			func(m *Rows) { m.Parts[1].Hi = m.Parts[0].Hi }),
		refused(FrameRows, "rows of other sizes", "13 bytes left, want 14", func(m *Rows) { m.Pieces[1].Bytes = 14 }),
		poked(FrameRows, "rows of 4098 cursors", "4098 cursors, limit 4096", 23, 0x10),
		poked(FrameRows, "rows whose cursors are missing", "200 cursors and", 22, 200),
		poked(FrameRows, "rows of 65282 parts", "parts, limit 256", 25, 255),
	}
}
