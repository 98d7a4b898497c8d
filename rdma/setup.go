package rdma

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/claudefs/repl/wire"
)

// Setup messages travel over the control connection. Little-endian:
//
//	0        4       5      6            8            8+n        12+n
//	┌────────┬───────┬──────┬────────────┬────────────┬──────────┐
//	│ "CFSV" │version│ kind │ body bytes │ body       │ CRC32C   │
//	└────────┴───────┴──────┴────────────┴────────────┴──────────┘
//
// Part of the format, never reuse.
const (
	setupVersion      = 1
	setupHeaderBytes  = 8
	setupBodyBytesMax = 256
	setupBytesMax     = setupHeaderBytes + setupBodyBytesMax + 4
)

// setupMagic opens every setup message.
const setupMagic = "CFSV"

// setupKind tells setup messages apart.
type setupKind uint8

const (
	setupHello   setupKind = 1 // dialer → listener: an offer
	setupWelcome setupKind = 2 // listener → dialer: its offer; its queue pair can receive
	setupReady   setupKind = 3 // dialer → listener: its queue pair can receive; no body
	setupRefusal setupKind = 4 // listener → dialer: no link; the reason as text
	setupBye     setupKind = 5 // either: orderly close; how many messages were sent in all
)

// offer is the body of hello and welcome: all that the peer must know.
type offer struct {
	Link        [16]byte // random, chosen by the dialer, returned by the listener
	Identity    Identity
	Immediate   bool
	RingAddress uint64
	RingKey     uint32
	RingBytes   uint32
	Receives    uint32
}

const (
	offerBytes     = 16 + 4 + 4 + 4 + 4 + 2 + 2 + 16 + 8 + 4 + 4 + 4
	offerImmediate = 1 << 0 // flag
)

// The least and the most that an offer may hold.
const (
	ringBytesMin  = wire.FrameBytesMax // any frame fits
	ringBytesMax  = 1 << 30
	ringAlign     = 4096
	receivesMin   = 2 * noticesMax
	receivesMax   = 1 << 14
	mtuBytesMin   = 256
	mtuBytesMax   = 4096
	numberBitsMax = 24 // of queue pair and packet sequence numbers
)

func (o *offer) append(b []byte) []byte {
	le := binary.LittleEndian
	var flags uint32
	if o.Immediate {
		flags |= offerImmediate
	}
	b = append(b, o.Link[:]...)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, o.Identity.QPN)
	b = le.AppendUint32(b, o.Identity.PSN)
	b = le.AppendUint32(b, uint32(o.Identity.MTUBytes))
	b = le.AppendUint16(b, o.Identity.LID)
	b = le.AppendUint16(b, 0)
	b = append(b, o.Identity.GID[:]...)
	b = le.AppendUint64(b, o.RingAddress)
	b = le.AppendUint32(b, o.RingKey)
	b = le.AppendUint32(b, o.RingBytes)
	return le.AppendUint32(b, o.Receives)
}

// decode reads an offer and refuses what none may say.
func (o *offer) decode(b []byte) error {
	if len(b) != offerBytes {
		return fmt.Errorf("offer: %d bytes, want %d: %w", len(b), offerBytes, wire.ErrProtocol)
	}
	le := binary.LittleEndian
	flags, reserved := le.Uint32(b[16:]), le.Uint16(b[34:])
	*o = offer{
		Link: [16]byte(b), Immediate: flags&offerImmediate != 0,
		Identity: Identity{
			QPN: le.Uint32(b[20:]), PSN: le.Uint32(b[24:]), MTUBytes: int(le.Uint32(b[28:])),
			LID: le.Uint16(b[32:]), GID: GID(b[36:]),
		},
		RingAddress: le.Uint64(b[52:]), RingKey: le.Uint32(b[60:]), RingBytes: le.Uint32(b[64:]),
		Receives: le.Uint32(b[68:]),
	}
	i := &o.Identity
	switch {
	case flags&^offerImmediate != 0 || reserved != 0:
		return fmt.Errorf("offer: flags %08x, reserved %04x: %w", flags, reserved, wire.ErrProtocol)
	case i.QPN == 0 || i.QPN>>numberBitsMax != 0 || i.PSN>>numberBitsMax != 0:
		return fmt.Errorf("offer: queue pair %d, first packet %d: %w", i.QPN, i.PSN, wire.ErrProtocol)
	case i.MTUBytes < mtuBytesMin || i.MTUBytes > mtuBytesMax || bits.OnesCount(uint(i.MTUBytes)) != 1:
		return fmt.Errorf("offer: MTU of %d bytes: %w", i.MTUBytes, wire.ErrProtocol)
	case o.RingBytes < ringBytesMin || o.RingBytes > ringBytesMax || o.RingBytes%ringAlign != 0:
		return fmt.Errorf("offer: ring of %d bytes: %w", o.RingBytes, wire.ErrProtocol)
	case o.RingAddress+uint64(o.RingBytes) < o.RingAddress:
		return fmt.Errorf("offer: ring of %d bytes at %016x: %w", o.RingBytes, o.RingAddress, wire.ErrProtocol)
	case o.Receives < receivesMin || o.Receives > receivesMax:
		return fmt.Errorf("offer: %d receives: %w", o.Receives, wire.ErrProtocol)
	}
	return nil
}

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// setup makes a whole message.
func setup(kind setupKind, body []byte) []byte {
	b := append(make([]byte, 0, setupBytesMax), setupMagic...)
	b = append(b, setupVersion, byte(kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// setupReader reads messages of bounded size, into memory of its own.
type setupReader struct {
	from   io.Reader
	buffer [setupBytesMax]byte
}

// next returns one message; its body is the reader's until the next call. The end
// of the connection between two messages is io.EOF itself.
func (r *setupReader) next() (setupKind, []byte, error) {
	b := r.buffer[:setupHeaderBytes]
	if _, err := io.ReadFull(r.from, b); err != nil {
		return 0, nil, err
	}
	kind, size := setupKind(b[5]), int(binary.LittleEndian.Uint16(b[6:]))
	switch {
	case string(b[:4]) != setupMagic:
		return 0, nil, fmt.Errorf("setup: begins with %x: %w", b[:4], wire.ErrProtocol)
	case b[4] > setupVersion:
		return 0, nil, fmt.Errorf("setup: version %d, this release speaks %d: %w", b[4], setupVersion, wire.ErrVersion)
	case b[4] == 0 || kind < setupHello || kind > setupBye || size > setupBodyBytesMax:
		return 0, nil, fmt.Errorf("setup: version %d, kind %d, %d bytes: %w", b[4], kind, size, wire.ErrProtocol)
	}
	b = r.buffer[:setupHeaderBytes+size+4]
	if _, err := io.ReadFull(r.from, b[setupHeaderBytes:]); err != nil {
		return 0, nil, fmt.Errorf("setup: kind %d: %w", kind, noEOF(err))
	}
	body, got := b[:setupHeaderBytes+size], binary.LittleEndian.Uint32(b[setupHeaderBytes+size:])
	if want := crc32.Checksum(body, castagnoli); got != want {
		return 0, nil, fmt.Errorf("setup: kind %d: crc: got %08x, want %08x: %w", kind, got, want, wire.ErrCorrupt)
	}
	return kind, body[setupHeaderBytes:], nil
}

// expect reads one message that must be of a kind; a refusal is an error with the
// peer's text.
func (r *setupReader) expect(want setupKind) ([]byte, error) {
	kind, body, err := r.next()
	switch {
	case err != nil:
		return nil, noEOF(err)
	case kind == setupRefusal:
		return nil, fmt.Errorf("refused: %.*q", setupBodyBytesMax, body)
	case kind != want:
		return nil, fmt.Errorf("setup: kind %d, want %d: %w", kind, want, wire.ErrProtocol)
	}
	return body, nil
}

// offer reads a message that carries one.
func (r *setupReader) offer(kind setupKind) (o offer, err error) {
	body, err := r.expect(kind)
	if err == nil {
		err = o.decode(body)
	}
	return o, err
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Notices travel over the queue pair, in the peer's receives, inline. 16 bytes:
// kind u32, bytes u32, number u64.
type notice struct {
	kind   noticeKind
	bytes  uint32 // noticeFrame
	number uint64
}

type noticeKind uint32

const (
	noticeFrame  noticeKind = 1 // a frame of these bytes was written: message number, from 1; without immediates
	noticeCredit noticeKind = 2 // messages up to number were released
	noticeStarve noticeKind = 3 // the sender waits for a credit; number: messages sent
	noticeBye    noticeKind = 4 // orderly close; number: messages sent in all

	noticeBytes = 16
	// noticesMax bounds the notices, other than noticeFrame, that are under way to a
	// peer which does not look: four credits by number, four by bytes, one that was
	// asked for, one request, one bye, and some for those that cross.
	noticesMax = 16
)

// immediate tells of a message that was written: its number modulo 2^10 above, its
// bytes less one in the 22 bits below. (The completion's own length is that of the
// last write only.)
func immediate(number uint64, bytes int) uint32 {
	return uint32(number)<<immediateBits | uint32(bytes-1)
}

func splitImmediate(imm uint32) (number uint32, bytes int) {
	return imm >> immediateBits, int(imm&(1<<immediateBits-1)) + 1
}

const (
	immediateBits    = 22
	immediateNumbers = 1<<(32-immediateBits) - 1

	// The largest frame is exactly what the bits can say.
	_ = uint(1<<immediateBits-wire.FrameBytesMax) + uint(wire.FrameBytesMax-1<<immediateBits)
)

func (n notice) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(n.kind))
	le.PutUint32(b[4:], n.bytes)
	le.PutUint64(b[8:], n.number)
}

func decodeNotice(b []byte) (notice, error) {
	if len(b) != noticeBytes {
		return notice{}, fmt.Errorf("notice of %d bytes: %w", len(b), wire.ErrProtocol)
	}
	le := binary.LittleEndian
	n := notice{noticeKind(le.Uint32(b)), le.Uint32(b[4:]), le.Uint64(b[8:])}
	if n.kind < noticeFrame || n.kind > noticeBye || n.kind != noticeFrame && n.bytes != 0 {
		return notice{}, fmt.Errorf("notice of kind %d, %d bytes: %w", n.kind, n.bytes, wire.ErrProtocol)
	}
	return n, nil
}
