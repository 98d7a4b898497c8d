package wire

// A slow and obvious decoder, written from FORMAT.md and not from the code: it
// reads field by field, takes memory as it likes, and stops at the first fault
// by a panic that slowly() turns into the fault's class. Vectors and fuzz
// targets hold the real decoders against it.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// slowFault is a refusal on its way up.
type slowFault struct{ err error }

// slowly runs f and returns the class of the fault that stopped it.
func slowly(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(slowFault)
			if !ok {
				panic(r)
			}
			err = fault.err
		}
	}()
	f()
	return nil
}

func must(holds bool, class error, what string) {
	if !holds {
		panic(slowFault{fmt.Errorf("slow: %s: %w", what, class)})
	}
}

// slowRead reads a fixed shape; too few bytes are a fault of the class.
func slowRead[T any](r *bytes.Reader, class error) (v T) {
	must(binary.Read(r, binary.LittleEndian, &v) == nil, class, fmt.Sprintf("too short for %T", v))
	return v
}

func slowTake(r *bytes.Reader, n int, class error) []byte {
	must(n <= r.Len(), class, "too short for its bytes")
	b := make([]byte, n)
	_, _ = io.ReadFull(r, b)
	return b
}

func slowHash(b []byte) (out [16]byte) {
	sum := xxh3.Hash128(b)
	binary.BigEndian.PutUint64(out[:8], sum.Hi)
	binary.BigEndian.PutUint64(out[8:], sum.Lo)
	return out
}

// FORMAT.md 2.1.
type slowHeaderShape struct {
	Magic                            uint32
	Version, Kind, DigestKind, Flags uint8
	Chain, Prev, Digest, Incarnation [16]byte
	Cluster                          uint64
	Site, Node, Shard, Domain        uint32
	Epoch                            uint64
	Count, BodyBytes                 uint32
	FirstSeq, FirstStamp, LastStamp  uint64
	LastIndex                        uint64
	Schema                           uint16
	Reserved                         [14]byte
}

// slowHeader follows FORMAT.md 2.7, steps 1 to 5.
func slowHeader(b []byte) BatchHeader {
	s := slowRead[slowHeaderShape](bytes.NewReader(b), ErrCorrupt)
	must(s.Magic == 0x42534643, ErrCorrupt, "magic")
	must(s.Version <= 1, ErrVersion, "version")
	must(s.Version == 1, ErrProtocol, "version zero")
	plain := bytes.Clone(b[:160])
	copy(plain[8:24], make([]byte, 16))
	must(slowHash(plain) == s.Chain, ErrCorrupt, "chain")

	zero := [16]byte{}
	must(s.Reserved == [14]byte{}, ErrProtocol, "reserved")
	must(s.Kind >= 1 && s.Kind <= 4, ErrProtocol, "kind")
	must(s.DigestKind == 1, ErrProtocol, "digest kind")
	must(s.Flags == 0 || s.Flags == 1 && s.Kind == 1 && s.Domain != 0, ErrProtocol, "flags")
	must(s.Incarnation != zero && s.Cluster != 0 && s.Site != 0 && s.Epoch != 0, ErrProtocol, "zero id")
	if s.Kind == 4 {
		must(s.Shard == 0xffffffff, ErrProtocol, "shard")
	} else {
		must(s.Shard < 65536, ErrProtocol, "shard")
	}
	must(s.Domain == 0 || s.Domain == s.Site, ErrProtocol, "domain")
	must(s.Count >= 1 && (s.Kind == 1 || s.Count == 1), ErrProtocol, "count")
	must(s.FirstSeq >= 1 && s.FirstSeq+uint64(s.Count-1) >= s.FirstSeq, ErrProtocol, "seq")
	must((s.FirstSeq == 1) == (s.Prev == zero), ErrProtocol, "previous chain")
	least, most := uint64(0), uint64(1113952)
	switch s.Kind {
	case 1:
		least = 25*uint64(s.Count) + 14*uint64(s.Flags)
	case 2:
		least = 2
	case 3:
		least, most = 2, 1026
	}
	must(uint64(s.BodyBytes) >= least && uint64(s.BodyBytes) <= most, ErrProtocol, "body bytes")
	must(s.LastStamp >= s.FirstStamp, ErrProtocol, "stamps fall")
	spread := s.LastStamp - s.FirstStamp
	must(spread >= uint64(s.Count)-1 && spread < 1<<32, ErrProtocol, "spread of stamps")
	must(s.Count > 1 || spread == 0, ErrProtocol, "spread of one stamp")
	return BatchHeader{
		Kind: BatchKind(s.Kind), DigestKind: s.DigestKind, Flags: s.Flags, Chain: s.Chain, Prev: s.Prev,
		BodyDigest: s.Digest, Incarnation: s.Incarnation, Cluster: ClusterID(s.Cluster), Site: SiteID(s.Site),
		Node: NodeID(s.Node), Shard: Shard(s.Shard), Domain: Domain(s.Domain), Epoch: Epoch(s.Epoch),
		Count: s.Count, BodyBytes: s.BodyBytes, FirstSeq: Seq(s.FirstSeq), FirstStamp: Stamp(s.FirstStamp),
		LastStamp: Stamp(s.LastStamp), LastIndex: s.LastIndex, Schema: s.Schema,
	}
}

// slowBatches follows FORMAT.md 2.7, steps 1 to 6, for all batches of a body.
func slowBatches(body []byte, count int) (headers []BatchHeader) {
	for range count {
		h := slowHeader(body)
		end := 160 + int(h.BodyBytes)
		must(end <= len(body), ErrCorrupt, "batch passes the end")
		must(slowHash(body[160:end]) == h.BodyDigest, ErrCorrupt, "body digest")
		headers = append(headers, h)
		body = body[end:]
	}
	must(len(body) == 0, ErrProtocol, "bytes behind the last batch")
	return headers
}

// slowBody follows FORMAT.md 2.7, step 7. It returns the entries of data.
func slowBody(h *BatchHeader, body []byte) []Entry {
	switch h.Kind {
	case BatchData:
		return slowEntries(h, body)
	case BatchStart:
		for _, e := range slowStart(body) {
			must(e.Log.Shard == h.Shard, ErrProtocol, "another shard's end")
		}
	case BatchMarker:
		slowMarker(body)
	}
	return nil
}

// FORMAT.md 2.4.
func slowStart(body []byte) (ends []LogEnd) {
	r := bytes.NewReader(body)
	for range slowRead[uint16](r, ErrProtocol) {
		e := LogEnd{slowLog(r), slowPosition(r)}
		must(e.End.Seq >= 1, ErrProtocol, "end at seq zero")
		if n := len(ends); n > 0 {
			before := append(slowSortKey(ends[n-1].Log), ends[n-1].End.Incarnation[:]...)
			here := append(slowSortKey(e.Log), e.End.Incarnation[:]...)
			must(bytes.Compare(before, here) < 0, ErrProtocol, "rows do not rise")
		}
		ends = append(ends, e)
	}
	must(r.Len() == 0, ErrProtocol, "bytes behind the rows")
	return ends
}

// slowSortKey is big-endian, so that comparing bytes compares numbers.
func slowSortKey(l LogID) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(l.Site))
	return binary.BigEndian.AppendUint32(b, uint32(l.Shard))
}

// FORMAT.md 2.5.
func slowMarker(body []byte) {
	r := bytes.NewReader(body)
	must(slowRead[uint16](r, ErrProtocol) != 0, ErrProtocol, "marker kind zero")
	must(r.Len() <= 1024, ErrProtocol, "marker too long")
}

// FORMAT.md 3.1.
type slowEntryShape struct {
	Delta, UID, GID, PayloadBytes uint32
	Op, ExtensionBytes            uint16
	KeyCount, Reserved            uint8
}

func slowEntries(h *BatchHeader, body []byte) (entries []Entry) {
	r := bytes.NewReader(body)
	if h.Flags&1 != 0 {
		slowBase(r)
	}
	for i := range h.Count {
		s := slowRead[slowEntryShape](r, ErrProtocol)
		must(s.Op != 0, ErrProtocol, "op")
		must(s.Reserved == 0, ErrProtocol, "reserved")
		must(s.KeyCount >= 1 && s.KeyCount <= 8, ErrProtocol, "key count")
		must(s.PayloadBytes <= 1<<20 && s.ExtensionBytes <= 4096, ErrProtocol, "sizes")
		var sizes []uint16
		for range s.KeyCount {
			sizes = append(sizes, slowRead[uint16](r, ErrProtocol))
		}
		e := Entry{Op: Op(s.Op), UID: s.UID, GID: s.GID, Seq: h.FirstSeq + Seq(i), Stamp: h.FirstStamp + Stamp(s.Delta)}
		for _, size := range sizes {
			must(size >= 1 && size <= 512, ErrProtocol, "key size")
			e.Keys = append(e.Keys, slowTake(r, int(size), ErrProtocol))
		}
		slowExtensions(slowTake(r, int(s.ExtensionBytes), ErrProtocol), &e)
		e.Payload = slowTake(r, int(s.PayloadBytes), ErrProtocol)
		if i == 0 {
			must(s.Delta == 0, ErrProtocol, "first delta")
		} else {
			must(e.Stamp > entries[i-1].Stamp, ErrProtocol, "stamps do not rise")
		}
		entries = append(entries, e)
	}
	must(r.Len() == 0, ErrProtocol, "bytes behind the last entry")
	must(entries[len(entries)-1].Stamp == h.LastStamp, ErrProtocol, "last stamp")
	return entries
}

// FORMAT.md 2.6.
func slowBase(r *bytes.Reader) {
	count := slowRead[uint16](r, ErrProtocol)
	must(count >= 1, ErrProtocol, "empty base vector")
	before := uint32(0)
	for range count {
		row := slowRead[struct {
			Origin uint32
			Seq    uint64
		}](r, ErrProtocol)
		must(row.Origin > before && row.Seq > 0, ErrProtocol, "base vector")
		before = row.Origin
	}
}

// FORMAT.md 3.2.
func slowExtensions(b []byte, e *Entry) {
	r := bytes.NewReader(b)
	before := uint16(0)
	for r.Len() > 0 {
		kind := slowRead[uint16](r, ErrProtocol)
		value := slowTake(r, int(slowRead[uint16](r, ErrProtocol)), ErrProtocol)
		number, mustUnderstand := kind&0x7fff, kind&0x8000 != 0
		must(number > before, ErrProtocol, "extensions do not rise")
		before = number
		switch number {
		case 1:
			must(!mustUnderstand && len(value) == 16, ErrProtocol, "form of the request id")
			e.Request = RequestID(value)
			must(e.Request != RequestID{}, ErrProtocol, "request id zero")
			continue
		case 2, 3:
			must(mustUnderstand, ErrProtocol, "extension without its bit")
		}
		if mustUnderstand && e.MustUnderstand == 0 {
			e.MustUnderstand = kind
		}
		e.Extensions = binary.LittleEndian.AppendUint16(e.Extensions, kind)
		e.Extensions = binary.LittleEndian.AppendUint16(e.Extensions, uint16(len(value)))
		e.Extensions = append(e.Extensions, value...)
	}
}

// FORMAT.md 5: logs and positions.
func slowLog(r *bytes.Reader) LogID {
	l := slowRead[LogID](r, ErrProtocol)
	must(l.Site != 0 && l.Shard < 65536, ErrProtocol, "log")
	return l
}

func slowPosition(r *bytes.Reader) Position {
	p := slowRead[Position](r, ErrProtocol)
	must(p.Seq == 0 || p.Incarnation != Incarnation{}, ErrProtocol, "seq without incarnation")
	must((p.Seq == 0) == (p.Chain == Chain{}), ErrProtocol, "chain without seq, or the other way round")
	return p
}

func slowString(r *bytes.Reader, n int) string {
	b := slowTake(r, n, ErrProtocol)
	must(utf8.Valid(b), ErrProtocol, "utf-8")
	return string(b)
}

func slowName(r *bytes.Reader) string { return slowString(r, int(slowRead[uint8](r, ErrProtocol))) }

func slowText(r *bytes.Reader) string {
	n := slowRead[uint16](r, ErrProtocol)
	must(n <= 1024, ErrProtocol, "text too long")
	return slowString(r, int(n))
}

// FORMAT.md 4.1.
type slowEnvelopeShape struct {
	Kind, Version        uint8
	Flags                uint16
	Codec, ExtBytes      uint8
	BatchCount           uint16
	Wire, Plain, Session uint32
	Number               uint64
	CRC                  uint32
}

// slowEnvelope follows FORMAT.md 4.4, steps 1 to 3.
func slowEnvelope(b []byte) Envelope {
	s := slowRead[slowEnvelopeShape](bytes.NewReader(b), ErrCorrupt)
	must(s.Version <= 1, ErrVersion, "version")
	must(s.Version == 1, ErrProtocol, "version zero")
	must(s.Kind >= 1 && s.Kind <= 15 || s.Kind == 18 || s.Kind == 19, ErrProtocol, "kind")
	must(s.Flags == 0 && s.Codec == 0 && s.Plain == s.Wire, ErrProtocol, "flags or codec")
	batches := s.Kind == 4 || s.Kind == 11
	numbered := batches || s.Kind == 10 || s.Kind == 12
	switch s.Kind {
	case 1, 13:
		must(s.Session == 0, ErrProtocol, "session of a hello or join")
	case 3:
	default:
		must(s.Session != 0, ErrProtocol, "no session")
	}
	must(numbered == (s.Number != 0), ErrProtocol, "number")
	if batches {
		must(s.BatchCount >= 1 && uint64(s.Wire) >= 162*uint64(s.BatchCount), ErrProtocol, "batch count")
		must(32+uint64(s.ExtBytes)+uint64(s.Wire) <= 4<<20, ErrProtocol, "frame too long")
	} else {
		must(s.BatchCount == 0 && s.Wire <= 1<<20, ErrProtocol, "control frame too long")
	}
	return Envelope{
		Kind: FrameKind(s.Kind), Flags: s.Flags, Codec: Codec(s.Codec), ExtBytes: s.ExtBytes,
		BatchCount: s.BatchCount, WireBytes: s.Wire, PlainBytes: s.Plain, Session: s.Session, Number: s.Number,
	}
}

// slowFrame follows FORMAT.md 4.4, steps 1 to 5, and returns the body.
func slowFrame(frame []byte) (Envelope, []byte) {
	e := slowEnvelope(frame)
	bodyAt := 32 + int(e.ExtBytes)
	must(len(frame) == bodyAt+int(e.WireBytes), ErrCorrupt, "length")
	plain := bytes.Clone(frame)
	if e.BatchCount > 0 {
		plain = plain[:bodyAt]
	}
	copy(plain[28:32], make([]byte, 4))
	crc := crc32.Checksum(plain, crc32.MakeTable(crc32.Castagnoli))
	must(crc == binary.LittleEndian.Uint32(frame[28:]), ErrCorrupt, "crc")

	r := bytes.NewReader(frame[32:bodyAt])
	before := uint8(0)
	for r.Len() > 0 {
		kind := slowRead[uint8](r, ErrProtocol)
		value := slowTake(r, int(slowRead[uint8](r, ErrProtocol)), ErrProtocol)
		must(kind < 0x80, ErrProtocol, "must be understood")
		must(kind > before, ErrProtocol, "extensions do not rise")
		must(kind != 1 || len(value) == 25, ErrProtocol, "trace context")
		must(kind != 2 || len(value) == 4, ErrProtocol, "stopped logs")
		if kind == 2 {
			e.Stopped = binary.LittleEndian.Uint32(value)
		}
		before = kind
	}
	body := frame[bodyAt:]
	if e.Kind == FrameFetch || e.Kind == FrameFetchEnd {
		must(slowRead[uint64](bytes.NewReader(body), ErrProtocol) == e.Number, ErrProtocol, "fetch id")
	}
	return e, body
}
