package powerloss

import (
	"fmt"
	"io"
	"math/rand/v2"
)

// tearBytes is what a disk writes as a whole: the file systems rely on it.
const tearBytes = 4096

// fates says what a cut does with writes that no flush made durable.
type fates uint8

const (
	dropAll  fates = iota // none reached the medium
	keepAll               // all did
	keepSome              // each did or not, by chance, or some of its 4 KiB blocks
)

func (f fates) String() string { return [...]string{"drop", "keep", "some"}[f] }

// cut is one moment at which the power fails: behind the first entries of the log.
type cut struct {
	at    int // entries that completed before
	fates fates
	seed  uint64 // of keepSome
}

func (c cut) String() string {
	return fmt.Sprintf("entry %d, unsynced %s, seed %d", c.at, c.fates, c.seed)
}

// storage is what a disk image is read from and written to.
type storage interface {
	io.ReaderAt
	io.WriterAt
}

// image is a disk that follows a log, forwards only.
//
//	entries  0 … flush … flush … cut
//	         └─ on it ──┘└ tail ┘    the tail's writes are put on top of it for one
//	                                 cut, and taken off again (undo)
type image struct {
	disk    storage
	log     io.ReaderAt
	entries []logged
	applied int    // entries whose writes are on the disk for good
	undo    []undo // of the cut that is shown
	buf     []byte
}

type undo struct {
	offset int64
	old    []byte
}

// show makes the disk what the medium may have after c, which is not before the
// cut that was shown last.
func (m *image) show(c cut) error {
	if err := m.hide(); err != nil {
		return err
	}
	flushed := m.applied
	for i := c.at - 1; i >= m.applied; i-- {
		if m.entries[i].flags&flagFlush != 0 {
			flushed = i
			break
		}
	}
	for ; m.applied < flushed; m.applied++ {
		e := &m.entries[m.applied]
		if err := m.write(e, 0, e.bytes, false); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(c.seed, uint64(c.at)))
	for i := m.applied; i < c.at; i++ {
		if err := m.survive(&m.entries[i], c.fates, r); err != nil {
			return err
		}
	}
	return nil
}

// survive puts on the disk what a cut leaves of one write of the tail.
func (m *image) survive(e *logged, f fates, r *rand.Rand) error {
	switch {
	case e.flags&flagFUA != 0 || f == keepAll:
		return m.write(e, 0, e.bytes, true)
	case f == dropAll || e.bytes == 0:
		return nil
	}
	whole := r.IntN(4) // two in four whole, one not at all, one in pieces
	for at := int64(0); at < e.bytes; at += tearBytes {
		if whole < 2 || whole == 2 && r.IntN(2) == 0 {
			if err := m.write(e, at, min(tearBytes, e.bytes-at), true); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts bytes of an entry on the disk; with remember they can be taken off.
func (m *image) write(e *logged, from, bytes int64, remember bool) error {
	if bytes == 0 {
		return nil
	}
	if int64(len(m.buf)) < bytes {
		m.buf = make([]byte, bytes)
	}
	b := m.buf[:bytes]
	if e.flags&flagDiscard != 0 {
		clear(b)
	} else if _, err := m.log.ReadAt(b, e.at+from); err != nil {
		return fmt.Errorf("log: data at %d: %w", e.at+from, err)
	}
	if remember {
		old := make([]byte, bytes)
		if _, err := m.disk.ReadAt(old, e.offset+from); err != nil {
			return fmt.Errorf("image: %d bytes at %d: %w", bytes, e.offset+from, err)
		}
		m.undo = append(m.undo, undo{e.offset + from, old})
	}
	if _, err := m.disk.WriteAt(b, e.offset+from); err != nil {
		return fmt.Errorf("image: %d bytes at %d: %w", bytes, e.offset+from, err)
	}
	return nil
}

// hide takes off what was shown for one cut only.
func (m *image) hide() error {
	for i := len(m.undo) - 1; i >= 0; i-- {
		if _, err := m.disk.WriteAt(m.undo[i].old, m.undo[i].offset); err != nil {
			return fmt.Errorf("image: %d bytes at %d: %w", len(m.undo[i].old), m.undo[i].offset, err)
		}
	}
	m.undo = m.undo[:0]
	return nil
}
