package namespace

import (
	"encoding/binary"
	"fmt"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Schema is the payload schema that this release writes and reads.
const Schema = 1

// payloadHeaderBytes: version, flags, time.
const payloadHeaderBytes = 1 + 1 + 8

// DataBytesMax is how much content one Write carries at most.
const DataBytesMax = wire.EntryPayloadBytesMax - 64

// Flags of payloads, by operation. Part of the format, never reuse.
const (
	payloadDir   = 1 << 0 // Unlink, Rename: the inode is a directory
	payloadAttrs = 1 << 0 // Truncate: mode, uid and gid follow

	payloadMode  = 1 << 0 // SetAttr
	payloadUID   = 1 << 1
	payloadGID   = 1 << 2
	payloadAtime = 1 << 3
	payloadMtime = 1 << 4
)

// payload is the decoded form of an entry's payload, of any operation. Data and
// the names are borrowed from the entry.
type payload struct {
	op                   wire.Op
	flags                uint8
	time                 int64
	parent, parent2      Inode
	inode, replaced      Inode
	mode, uid, gid       uint32
	atime, mtime         int64
	offset, size         uint64
	name, name2, data    []byte
	ownerUID, ownerGID   uint32 // the entry's
	rest                 []byte
	encoding, incomplete bool
}

// flagsAllowed is what an operation's flags may hold.
func flagsAllowed(op wire.Op) uint8 {
	switch op {
	case engine.OpUnlink, engine.OpRename:
		return payloadDir
	case engine.OpTruncate:
		return payloadAttrs
	case engine.OpSetAttr:
		return payloadMode | payloadUID | payloadGID | payloadAtime | payloadMtime
	}
	return 0
}

// fields visits the fields of p in the order of the format: the one place that
// knows the layout, for encoding and decoding alike.
func (p *payload) fields() bool {
	switch p.op {
	case engine.OpCreate, engine.OpMkDir, engine.OpSymlink:
		p.ino(&p.parent)
		p.ino(&p.inode)
		p.u32(&p.mode)
		p.i64(&p.atime)
		p.i64(&p.mtime)
		p.bytes(&p.name)
		if p.op == engine.OpSymlink {
			p.bytes(&p.name2)
		}
	case engine.OpLink, engine.OpUnlink:
		p.ino(&p.parent)
		p.ino(&p.inode)
		p.bytes(&p.name)
	case engine.OpRename:
		p.ino(&p.parent)
		p.ino(&p.inode)
		p.ino(&p.parent2)
		p.ino(&p.replaced)
		p.bytes(&p.name)
		p.bytes(&p.name2)
	case engine.OpWrite:
		p.ino(&p.inode)
		p.u64(&p.offset)
		p.i64(&p.mtime)
		p.tail(&p.data)
	case engine.OpTruncate:
		p.ino(&p.inode)
		p.u64(&p.size)
		p.i64(&p.mtime)
		if p.flags&payloadAttrs != 0 {
			p.owner()
		}
	case engine.OpSetAttr:
		p.ino(&p.inode)
		p.owner()
		p.i64(&p.atime)
		p.i64(&p.mtime)
	case engine.OpSetXattr:
		p.ino(&p.inode)
		p.bytes(&p.name)
		p.bytes(&p.data)
	case engine.OpRemoveXattr:
		p.ino(&p.inode)
		p.bytes(&p.name)
	default:
		return false
	}
	return true
}

func (p *payload) owner() {
	p.u32(&p.mode)
	p.u32(&p.uid)
	p.u32(&p.gid)
}

// encode appends p to dst.
func (p *payload) encode(dst []byte) []byte {
	dst = append(dst, Schema, p.flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.time))
	p.rest, p.encoding = dst, true
	p.fields()
	dst, p.rest = p.rest, nil
	return dst
}

// decode reads the payload of e, which p borrows.
func (p *payload) decode(e *wire.Entry) error {
	b := e.Payload
	*p = payload{op: e.Op, ownerUID: e.UID, ownerGID: e.GID}
	if e.Op < engine.OpCreate || e.Op > engine.OpRemoveXattr {
		return fmt.Errorf("seq %d: op %d: %w", e.Seq, e.Op, store.ErrUnknownOp)
	}
	if len(b) < payloadHeaderBytes {
		return fmt.Errorf("seq %d: payload of %d bytes: %w", e.Seq, len(b), wire.ErrProtocol)
	}
	if b[0] != Schema {
		return fmt.Errorf("seq %d: payload schema %d, this release reads %d: %w", e.Seq, b[0], Schema,
			store.ErrUnknownOp)
	}
	p.flags = b[1]
	if unknown := p.flags &^ flagsAllowed(p.op); unknown != 0 {
		return fmt.Errorf("seq %d: op %d: payload flags %02x: %w", e.Seq, e.Op, unknown, store.ErrUnknownOp)
	}
	p.time = int64(binary.LittleEndian.Uint64(b[2:]))
	p.rest = b[payloadHeaderBytes:]
	p.fields()
	if p.incomplete || len(p.rest) != 0 {
		return fmt.Errorf("seq %d: op %d: payload of %d bytes does not fit its fields: %w",
			e.Seq, e.Op, len(b), wire.ErrProtocol)
	}
	return nil
}

func (p *payload) take(n int) []byte {
	if n > len(p.rest) {
		p.incomplete = true
		return make([]byte, n)
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

func (p *payload) u64(v *uint64) {
	if p.encoding {
		p.rest = binary.LittleEndian.AppendUint64(p.rest, *v)
		return
	}
	*v = binary.LittleEndian.Uint64(p.take(8))
}

func (p *payload) u32(v *uint32) {
	if p.encoding {
		p.rest = binary.LittleEndian.AppendUint32(p.rest, *v)
		return
	}
	*v = binary.LittleEndian.Uint32(p.take(4))
}

func (p *payload) i64(v *int64) {
	u := uint64(*v)
	p.u64(&u)
	*v = int64(u)
}

func (p *payload) ino(v *Inode) {
	u := uint64(*v)
	p.u64(&u)
	*v = Inode(u)
}

func (p *payload) bytes(v *[]byte) {
	if p.encoding {
		p.rest = append(binary.LittleEndian.AppendUint16(p.rest, uint16(len(*v))), *v...)
		return
	}
	*v = p.take(int(binary.LittleEndian.Uint16(p.take(2))))
}

func (p *payload) tail(v *[]byte) {
	if p.encoding {
		p.rest = append(p.rest, *v...)
		return
	}
	*v = p.take(len(p.rest))
}
