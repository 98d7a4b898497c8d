package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// vectorFile is one file of testdata/wire.
type vectorFile struct {
	name    string
	intro   string
	vectors []*vector
}

func vectorFiles() []vectorFile {
	return []vectorFile{
		{"batch-header.txt", "Batch headers: FORMAT.md 2.1 to 2.3.", batchHeaderVectors()},
		{"batch-body.txt", "Bodies of batches: FORMAT.md 2.4 to 2.6 and 3.", batchBodyVectors()},
		{"frame.txt", "Envelopes, frame extensions, batch frames: FORMAT.md 4.", frameVectors()},
		{"message.txt", "Control messages: FORMAT.md 5.", messageVectors()},
	}
}

// forge encodes a batch without asking whether it is allowed: change may spoil
// any field of a good header, poke any byte of the batch; then the header gets
// the chain that belongs to it.
func forge(body []byte, change func(h *BatchHeader), poke func(b []byte)) []byte {
	h := BatchHeader{
		Kind: BatchData, DigestKind: 1, Prev: Chain(seq16(0x20)), Incarnation: Incarnation(seq16(0x40)),
		Cluster: 0xc1, Site: 0xa1, Node: 0, Shard: 17, Epoch: 3, Count: 1, FirstSeq: 41,
		FirstStamp: 1 << 60, LastStamp: 1 << 60, LastIndex: 7, Schema: 1,
		BodyBytes: uint32(len(body)), BodyDigest: slowHash(body),
	}
	if change != nil {
		change(&h)
	}
	b := append(make([]byte, BatchHeaderBytes), body...)
	putBatchHeader(b, &h)
	if poke != nil {
		poke(b)
	}
	rechain(b)
	return b
}

// rechain gives the header at the start of b the chain that belongs to it.
func rechain(b []byte) {
	clear(b[8:24])
	chain := slowHash(b[:160])
	copy(b[8:24], chain[:])
}

// rawEntry is an entry as it lies in the body; zero sizes are told as they are.
type rawEntry struct {
	delta      uint32
	op         uint16
	keys       []string
	extensions []byte
	payload    []byte
	reserved   uint8
}

// put encodes e behind dst by the table of FORMAT.md 3.1.
func (e rawEntry) put(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, e.delta)
	dst = le.AppendUint32(dst, 1000)
	dst = le.AppendUint32(dst, 100)
	dst = le.AppendUint32(dst, uint32(len(e.payload)))
	dst = le.AppendUint16(dst, e.op)
	dst = le.AppendUint16(dst, uint16(len(e.extensions)))
	dst = append(dst, uint8(len(e.keys)), e.reserved)
	for _, key := range e.keys {
		dst = le.AppendUint16(dst, uint16(len(key)))
	}
	for _, key := range e.keys {
		dst = append(dst, key...)
	}
	dst = append(dst, e.extensions...)
	return append(dst, e.payload...)
}

// smallEntry is what most vectors hold.
func smallEntry() rawEntry {
	return rawEntry{op: 5, keys: []string{"inode 17"}, payload: []byte("mode 0644")}
}

// extension encodes one extension of an entry.
func extension(kind uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func startBody(ends ...LogEnd) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(ends)))
	for _, e := range ends {
		b = appendPosition(appendLog(b, e.Log), e.End)
	}
	return b
}

func pokeAt(offset int, value byte) func(b []byte) {
	return func(b []byte) { b[offset] = value }
}

// batchCase is a batch that differs from the plain one.
type batchCase struct {
	name   string
	want   error
	reason string
	body   []byte // nil: one small entry
	change func(h *BatchHeader)
	poke   func(b []byte)
}

const plainBatch = "data batch of one entry"

func batchVectors(cases []batchCase) (vectors []*vector) {
	for _, c := range cases {
		body := c.body
		if body == nil {
			body = smallEntry().put(nil)
		}
		vectors = append(vectors, &vector{
			name: c.name, decode: "batch", like: plainBatch, bytes: forge(body, c.change, c.poke), want: c.want,
			reason: c.reason,
		})
	}
	return vectors
}

// batchFieldCases are headers with one field changed.
func batchFieldCases() []batchCase {
	return []batchCase{
		{name: plainBatch},
		{name: "first batch of an incarnation", change: func(h *BatchHeader) { h.FirstSeq, h.Prev = 1, Chain{} }},
		{name: "domain of the own site", change: func(h *BatchHeader) { h.Domain = Domain(h.Site) }},
		{name: "last shard", change: func(h *BatchHeader) { h.Shard = 65535 }},
		{name: "last seq", change: func(h *BatchHeader) { h.FirstSeq = 1<<64 - 1 }},
		{name: "version 2", want: ErrVersion, reason: "version 2", poke: pokeAt(4, 2)},
		{name: "version 255", want: ErrVersion, reason: "version 255", poke: pokeAt(4, 255)},
		{name: "version 0", want: ErrProtocol, reason: "version 0", poke: pokeAt(4, 0)},
		{name: "magic of another format", want: ErrCorrupt, reason: "magic 42534644", poke: pokeAt(0, 0x44)},
		{name: "kind 0", want: ErrProtocol, reason: "unknown kind 0", poke: pokeAt(5, 0)},
		{name: "kind 5", want: ErrProtocol, reason: "unknown kind 5", poke: pokeAt(5, 5)},
		{name: "digest kind 0", want: ErrProtocol, reason: "unknown digest kind 0", poke: pokeAt(6, 0)},
		{name: "digest kind 2", want: ErrProtocol, reason: "unknown digest kind 2", poke: pokeAt(6, 2)},
		{name: "base vector in domain 0", want: ErrProtocol, reason: "base vector", poke: pokeAt(7, 1)},
		{name: "incarnation zero", want: ErrProtocol, reason: "incarnation is zero",
			change: func(h *BatchHeader) { h.Incarnation = Incarnation{} }},
		{name: "cluster zero", want: ErrProtocol, reason: "cluster is zero",
			change: func(h *BatchHeader) { h.Cluster = 0 }},
		{name: "site zero", want: ErrProtocol, reason: "site is zero", change: func(h *BatchHeader) { h.Site = 0 }},
		{name: "epoch zero", want: ErrProtocol, reason: "epoch is zero", change: func(h *BatchHeader) { h.Epoch = 0 }},
		{name: "shard 65536", want: ErrProtocol, reason: "shard 65536",
			change: func(h *BatchHeader) { h.Shard = 65536 }},
		{name: "control shard in a data batch", want: ErrProtocol, reason: "shard 4294967295 in a data batch",
			change: func(h *BatchHeader) { h.Shard = ShardControl }},
		{name: "ordinary shard in a control batch", want: ErrProtocol, reason: "shard 17 in a control batch",
			change: func(h *BatchHeader) { h.Kind = BatchControl }},
		{name: "domain of another site", want: ErrProtocol, reason: "domain 000000a2",
			change: func(h *BatchHeader) { h.Domain = 0xa2 }},
		{name: "count 0", want: ErrProtocol, reason: "count is zero", change: func(h *BatchHeader) { h.Count = 0 }},
		{name: "count 2 in a body of one", want: ErrProtocol, reason: "2 entries take at least 50",
			change: func(h *BatchHeader) { h.Count = 2 }},
		{name: "count 2^32 - 1", want: ErrProtocol, reason: "4294967295 entries take at least",
			change: func(h *BatchHeader) { h.Count = 1<<32 - 1 }},
		{name: "first seq 0", want: ErrProtocol, reason: "first seq is zero",
			change: func(h *BatchHeader) { h.FirstSeq = 0 }},
		{name: "seq overflows", want: ErrProtocol, reason: "overflows",
			change: func(h *BatchHeader) { h.FirstSeq, h.Count = 1<<64-1, 2 }},
		{name: "zero chain before seq 2", want: ErrProtocol, reason: "previous chain",
			change: func(h *BatchHeader) { h.FirstSeq, h.Prev = 2, Chain{} }},
		{name: "another chain before seq 1", want: ErrProtocol, reason: "previous chain",
			change: func(h *BatchHeader) { h.FirstSeq = 1 }},
		{name: "last stamp before the first", want: ErrProtocol, reason: "before first stamp",
			change: func(h *BatchHeader) { h.LastStamp = h.FirstStamp - 1 }},
		{name: "two stamps for one entry", want: ErrProtocol, reason: "cannot hold 1 rising",
			change: func(h *BatchHeader) { h.LastStamp++ }},
		{name: "chain of another header", want: ErrCorrupt, reason: "chain"},
		{name: "digest of another body", want: ErrCorrupt, reason: "digest",
			change: func(h *BatchHeader) { h.BodyDigest[15] ^= 1 }},
		{name: "body that is not the one digested", want: ErrCorrupt, reason: "digest", poke: pokeAt(190, 'x')},
	}
}

func batchHeaderVectors() []*vector {
	cases := batchFieldCases()
	for bit := 1; bit < 8; bit++ {
		cases = append(cases, batchCase{
			name: fmt.Sprintf("reserved flag bit %d", bit), want: ErrProtocol, reason: "reserved flags",
			poke: pokeAt(7, 1<<bit),
		})
	}
	for bit := range 14 * 8 {
		cases = append(cases, batchCase{
			name: fmt.Sprintf("reserved bit %d of byte %d", bit%8, 146+bit/8), want: ErrProtocol,
			reason: fmt.Sprintf("at offset %d", 146+bit/8), poke: pokeAt(146+bit/8, 1<<(bit%8)),
		})
	}
	cases = append(cases, batchSizeCases()...)
	vectors := batchVectors(cases)
	for _, v := range vectors {
		if v.name == "chain of another header" {
			v.bytes[23] ^= 1
		}
	}
	plain := vectors[0].bytes
	return append(vectors,
		&vector{name: "nothing", decode: "batch", want: ErrCorrupt, reason: "0 bytes"},
		&vector{name: "header of 159 bytes", decode: "batch", bytes: plain[:159], want: ErrCorrupt,
			reason: "159 bytes"},
		&vector{name: "body cut by a byte", decode: "batch", bytes: plain[:len(plain)-1], want: ErrCorrupt,
			reason: "are left"},
		&vector{
			name: "a byte behind the batch", decode: "batch", bytes: append(bytes.Clone(plain), 0),
			want: ErrProtocol, reason: "1 bytes behind",
		},
	)
}

// batchSizeCases are bodies at their limits, and one beyond.
func batchSizeCases() []batchCase {
	marker := func(h *BatchHeader) { h.Kind = BatchMarker }
	start := func(h *BatchHeader) { h.Kind = BatchStart }
	control := func(h *BatchHeader) { h.Kind, h.Shard = BatchControl, ShardControl }
	twoEntries := func(spread uint64) ([]byte, func(h *BatchHeader)) {
		body := smallEntry().put(nil)
		second := smallEntry()
		second.delta = uint32(spread)
		return second.put(body), func(h *BatchHeader) { h.Count, h.LastStamp = 2, h.FirstStamp+Stamp(spread) }
	}
	spread, spreadChange := twoEntries(1<<32 - 1)
	beyond, beyondChange := twoEntries(1 << 32)
	return []batchCase{
		{name: "stamps 2^32 - 1 apart", body: spread, change: spreadChange},
		{name: "stamps 2^32 apart", want: ErrProtocol, reason: "2^32 or more", body: beyond, change: beyondChange},
		{name: "smallest data body", body: rawEntry{op: 1, keys: []string{"k"}}.put(nil)},
		{name: "data body below the smallest", want: ErrProtocol, reason: "at least 25",
			body: rawEntry{op: 1, keys: []string{""}}.put(nil)},
		{name: "start body of 1 byte", want: ErrProtocol, reason: "at least 2", body: []byte{0}, change: start},
		{name: "start batch of count 2", want: ErrProtocol, reason: "count 2 in a start batch", body: []byte{0, 0},
			change: func(h *BatchHeader) { h.Kind, h.Count = BatchStart, 2 }},
		{name: "smallest marker", body: []byte{1, 0}, change: marker},
		{name: "marker body of 1 byte", want: ErrProtocol, reason: "at least 2", body: []byte{1}, change: marker},
		{name: "longest marker", body: append([]byte{1, 0}, make([]byte, 1024)...), change: marker},
		{name: "marker of 1025 bytes", want: ErrProtocol, reason: "limit 1026",
			body: append([]byte{1, 0}, make([]byte, 1025)...), change: marker},
		{name: "marker of count 2", want: ErrProtocol, reason: "count 2 in a marker batch", body: []byte{1, 0},
			change: func(h *BatchHeader) { h.Kind, h.Count = BatchMarker, 2 }},
		{name: "empty control batch", body: []byte{}, change: control},
		{name: "longest control batch", body: make([]byte, BatchBytesMax-160), change: control},
		{name: "control batch over the limit", want: ErrProtocol, reason: "limit 1113952",
			body: make([]byte, BatchBytesMax-160+1), change: control},
		{name: "control batch of count 2", want: ErrProtocol, reason: "count 2 in a control batch", body: []byte{},
			change: func(h *BatchHeader) { h.Kind, h.Shard, h.Count = BatchControl, ShardControl, 2 }},
	}
}

func batchBodyVectors() []*vector {
	vectors := []*vector{{name: plainBatch, decode: "batch", bytes: forge(smallEntry().put(nil), nil, nil)}}
	vectors = append(vectors, batchVectors(startCases())...)
	vectors = append(vectors, batchVectors(baseCases())...)
	vectors = append(vectors, batchVectors(entryCases())...)
	vectors = append(vectors, batchVectors(extensionCases())...)
	return append(vectors, batchVectors(sequenceCases())...)
}
