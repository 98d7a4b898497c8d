package mend

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/claudefs/repl/wire"
)

func appendPart(dst []byte, p *Part) []byte {
	dst = append(dst, p.Digest[:]...)
	for _, key := range [][]byte{p.Lo, p.Hi} {
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(key))), key...)
	}
	return dst
}

func appendCursors(dst []byte, cursors []wire.Cursor) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(len(cursors)))
	for i := range cursors {
		c := &cursors[i]
		dst = le.AppendUint32(le.AppendUint32(dst, uint32(c.Log.Site)), uint32(c.Log.Shard))
		dst = le.AppendUint64(append(dst, c.Position.Incarnation[:]...), uint64(c.Position.Seq))
		dst = le.AppendUint64(append(dst, c.Position.Chain[:]...), uint64(c.Epoch))
	}
	return dst
}

// reader takes the fields of a record. The first that is missing sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// key is nil where it is empty: as the beginning of everything, and as its end.
func (r *reader) key() []byte {
	if b := r.take(int(r.u16())); len(b) > 0 {
		return slices.Clone(b) // the rows behind it need not stay
	}
	return nil
}

func (r *reader) part() (p Part) {
	copy(p.Digest[:], r.take(len(p.Digest)))
	p.Lo, p.Hi = r.key(), r.key()
	return p
}

func (r *reader) cursors() (cursors []wire.Cursor) {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		c := wire.Cursor{Log: wire.LogID{Site: wire.SiteID(r.u32()), Shard: wire.Shard(r.u32())}}
		copy(c.Position.Incarnation[:], r.take(len(c.Position.Incarnation)))
		c.Position.Seq = wire.Seq(r.u64())
		copy(c.Position.Chain[:], r.take(len(c.Position.Chain)))
		c.Epoch = wire.Epoch(r.u64())
		cursors = append(cursors, c)
	}
	return cursors
}

func (r *reader) err() error {
	if r.bad || len(r.b) > 0 {
		return errors.New("its fields do not fit")
	}
	return nil
}
