package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// windowBytes is how much recovery reads at once. 1 MiB reads run at the speed
// of the medium; more gains nothing.
const windowBytes = 1 << 20

// windowHeadBytes is how much it reads where a file begins: first it wants the head of
// each, which is smaller with 256 shards.
const windowHeadBytes = 64 << 10

// window reads a file through one buffer.
type window struct {
	f    vfs.File
	name string
	size int64
	buf  []byte
	off  int64                 // of buf[0]
	n    int                   // bytes of buf that hold
	read func(bytes int) error // called with the size of each read; nil = no progress
}

func (w *window) reset(f vfs.File, name string) error {
	w.f, w.name, w.n = f, name, 0
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.size = size
	return nil
}

// at returns n bytes from off, fewer only at the end of the file. They are
// borrowed until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.size-off)))
	if off >= w.off && off+int64(n) <= w.off+int64(w.n) {
		return w.buf[off-w.off:][:n], nil
	}
	want := windowBytes
	if off == 0 {
		want = windowHeadBytes
	}
	want = int(min(int64(max(n, want)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.off, w.n = w.buf[:want], off, 0
	if _, err := w.f.ReadAt(w.buf, off); err != nil {
		return nil, fmt.Errorf("%s: reading %d bytes at offset %d: %w", w.name, want, off, err)
	}
	w.n = want
	if w.read != nil {
		if err := w.read(want); err != nil {
			return nil, err
		}
	}
	return w.buf[:n], nil
}

// place is what a unit must say about itself to count.
type place struct {
	segment       uint64
	generation    uint64
	term          wire.Term // of the opening that wrote the head, and so every unit behind it
	anyGeneration bool      // the head that names generation and term is lost
	anyOffset     bool      // it may have been written for another place
	cluster       wire.ClusterID
	site          wire.SiteID
	node          wire.NodeID
}

// same says whether the opening that wrote the head wrote the unit too. Another copy
// of the directory may have written units of the same segment and generation.
func (p *place) same(u *unitHeader) bool {
	return u.generation == p.generation && u.term == p.term
}

// verdict is what is known of the bytes at one offset.
type verdict struct {
	unit  unitHeader
	holds bool  // the header's digest holds: all but bodies and padding is as written
	fault error // nil = intact
}

// verifier checks units. It is reused: refs and bad belong to the last unit
// that it saw, and borrow its bytes.
type verifier struct {
	hash *xxh3.Hasher128
	refs []wire.BatchRef
	bad  []bool // per batch: its body does not hold
	// traces counts, for whoever sets it to 0, the places where next saw what the first
	// bytes of a unit of its segment look like.
	traces int
}

func newVerifier() *verifier { return &verifier{hash: xxh3.New128()} }

var errNoUnit = fmt.Errorf("no unit here: %w", wire.ErrCorrupt)

// digest hashes the unit header at the start of b, its digest field taken as
// zero, and the header of each of its batches. It fails when the batches do not
// fill the used bytes exactly.
func (v *verifier) digest(b []byte, u *unitHeader) ([16]byte, error) {
	var zero [16]byte
	v.hash.Reset()
	v.hash.Write(b[:8])
	v.hash.Write(zero[:])
	v.hash.Write(b[24:UnitHeaderBytes])
	at := uint64(UnitHeaderBytes)
	for i := range u.count {
		if at+wire.BatchHeaderBytes > uint64(u.used) {
			return zero, fmt.Errorf("unit: batch %d of %d lies outside: %w", i+1, u.count, wire.ErrCorrupt)
		}
		v.hash.Write(b[at : at+wire.BatchHeaderBytes])
		at += wire.BatchHeaderBytes + uint64(binary.LittleEndian.Uint32(b[at+108:]))
	}
	if at != uint64(u.used) {
		return zero, fmt.Errorf("unit: %d batches end at byte %d of %d: %w", u.count, at, u.used, wire.ErrCorrupt)
	}
	return v.hash.Sum128().Bytes(), nil
}

// header checks the header of the unit whose bytes begin at b (as many as there
// are, at least a header) and lies at off.
func (v *verifier) header(b []byte, off int64, p place, u *unitHeader) error {
	u.decode(b)
	switch {
	case binary.LittleEndian.Uint32(b) != unitMagic:
		return errNoUnit
	case !u.sizesHold() || int(u.bytes) > len(b):
		return fmt.Errorf("unit: %d bytes, %d used, %d batches, %d bytes are there: %w",
			u.bytes, u.used, u.count, len(b), wire.ErrCorrupt)
	}
	digest, err := v.digest(b, u)
	if err != nil {
		return err
	}
	switch {
	case digest != [16]byte(b[8:24]):
		return fmt.Errorf("unit: digest %x, its bytes give %x: %w", b[8:24], digest, wire.ErrCorrupt)
	case b[4] != FormatVersion:
		return fmt.Errorf("unit: version %d, this release reads %d: %w", b[4], FormatVersion, wire.ErrVersion)
	case plant.PlaceUnchecked:
	case u.offset != off && !p.anyOffset || u.segment != p.segment || !p.anyGeneration && !p.same(u):
		return fmt.Errorf("unit: written for segment %d generation %d term %d offset %d: %w",
			u.segment, u.generation, u.term, u.offset, wire.ErrCorrupt)
	case u.cluster != p.cluster || u.site != p.site || u.node != p.node:
		return fmt.Errorf("unit: of another journal: %w", wire.ErrCorrupt)
	case !allZero(b[5:8]) || !allZero(b[96:UnitHeaderBytes]):
		return fmt.Errorf("unit: reserved bytes are not zero: %w", wire.ErrProtocol)
	}
	return nil
}

// unit checks the whole unit at the start of b, which lies at off. fatal is only
// a newer release's bytes, intact.
func (v *verifier) unit(b []byte, off int64, p place, out *verdict) (fatal error) {
	out.holds, out.fault = false, errNoUnit
	v.refs, v.bad = v.refs[:0], v.bad[:0]
	if len(b) < UnitHeaderBytes {
		return nil
	}
	if out.fault = v.header(b, off, p, &out.unit); out.fault != nil {
		if errors.Is(out.fault, wire.ErrVersion) {
			return out.fault
		}
		return nil
	}
	u := &out.unit
	at := UnitHeaderBytes
	for range u.count {
		v.refs = append(v.refs, wire.BatchRef{})
		ref := &v.refs[len(v.refs)-1]
		if err := wire.DecodeBatchHeader(b[at:], &ref.Header); err != nil {
			if errors.Is(err, wire.ErrVersion) {
				return err
			}
			out.fault = err
			v.refs, v.bad = v.refs[:0], v.bad[:0]
			return nil
		}
		size := ref.Header.Bytes()
		ref.Bytes = b[at : at+size : at+size]
		err := wire.VerifyBody(&ref.Header, ref.Body())
		if plant.RotUnread {
			err = nil
		}
		v.bad = append(v.bad, err != nil)
		if err != nil && out.fault == nil {
			out.fault = err
		}
		at += size
	}
	out.holds = true
	if !allZero(b[u.used:u.bytes]) && out.fault == nil {
		out.fault = fmt.Errorf("unit: padding is not zero: %w", wire.ErrCorrupt)
	}
	return nil
}

// check reads and checks the unit at off of the window's file.
func (v *verifier) check(w *window, off int64, p place, out *verdict) (fatal error) {
	out.holds, out.fault = false, errNoUnit
	b, err := w.at(off, UnitHeaderBytes)
	if err != nil {
		return err
	}
	if len(b) < UnitHeaderBytes || binary.LittleEndian.Uint32(b) != unitMagic {
		return nil
	}
	out.unit.decode(b)
	if out.unit.sizesHold() {
		if b, err = w.at(off, int(out.unit.bytes)); err != nil {
			return err
		}
	}
	if fatal = v.unit(b, off, p, out); fatal != nil {
		return fmt.Errorf("%s: offset %d: %w", w.name, off, fatal)
	}
	return nil
}

// next finds the first unit whose header holds at or behind off, in steps of a
// block, and its number in (after, limit].
func (v *verifier) next(w *window, off int64, p place, after, limit UnitNumber, out *verdict) (int64, error) {
	for ; off+BlockBytes <= w.size; off += BlockBytes {
		b, err := w.at(off, UnitHeaderBytes)
		if err != nil {
			return 0, err
		}
		le := binary.LittleEndian
		if le.Uint32(b) != unitMagic || le.Uint64(b[32:]) != p.segment {
			continue
		}
		v.traces++
		if err := v.check(w, off, p, out); err != nil {
			return 0, err
		}
		if out.holds && out.unit.number > after && out.unit.number <= limit {
			return off, nil
		}
	}
	return -1, nil
}
