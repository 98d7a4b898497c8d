package sim

import (
	"path"
	"syscall"

	"github.com/claudefs/repl/wire"
)

// strayAlign is where misdirected writes land: media err by whole blocks.
const strayAlign = 4 << 10

// stray says whether a write gets lost, and where it lands instead; below 0 it
// lands nowhere. The system is told that all is well, and the ledger believes it
// until the journal is opened the next time: so only the mirror is struck, whose
// source still has everything.
func (d *disk) stray(f *diskFile, parts [][]byte, off int64) (to int64, lost bool) {
	if len(d.astray) == 0 || path.Dir(f.name) != mirrorDir || off == 0 {
		return 0, false
	}
	fault := d.astray[0]
	d.astray = d.astray[1:]
	d.flipped = true
	d.w.fault(fault.kind)
	if fault.kind == lostWrite {
		return -1, true
	}
	// Behind the head and before its place: over what lies there.
	blocks := (off - flipHeadBytes) / strayAlign
	if blocks < 2 {
		return -1, true
	}
	return (1 + int64(fault.draw%uint64(blocks-1))) * strayAlign, true
}

// ReadAt fails in spells of readErrors.
func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.unreadable > 0 && len(p) > 0 {
		f.d.w.fault(readErrors)
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}

// flipOwn changes one bit in the body of a batch of the own journal that both
// Stores and the peer have durably: the last copy of an entry is never struck.
func (d *disk) flipOwn(f *item) {
	if len(d.ownExtents) == 0 {
		return
	}
	x := d.ownExtents[f.draw%uint64(len(d.ownExtents))]
	state := d.file(x.file)
	if len(state.pending) > 0 || len(state.crashed) > 0 || !d.w.check.everywhere(&x.header) || !d.intact(x.file, x) {
		return
	}
	lo := x.off + wire.BatchHeaderBytes
	bits := uint64(x.header.Bytes()-wire.BatchHeaderBytes) * 8
	if bits == 0 {
		return
	}
	bit := f.draw >> 20 % bits
	if d.flipBit(x.file, lo+int64(bit/8), uint8(1)<<(bit%8)) == nil {
		d.w.fault(ownFlip)
	}
}
