package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Look sees whether the file of every segment is there and as long as what was written to
// it. What is not is damage, as if a reader had met it: it is among Holes on return. It reads
// no bytes of files that are.
func (j *Journal) Look() error {
	j.mu.Lock()
	segs := slices.Clone(j.segs)
	j.mu.Unlock()
	for _, s := range segs {
		j.mu.Lock()
		if j.closed {
			j.mu.Unlock()
			return ErrClosed
		}
		if !slices.Contains(j.segs, s) {
			j.mu.Unlock()
			continue // given back meanwhile
		}
		r := &Reader{j: j, seg: s, off: s.headBytes, v: newVerifier(), version: s.version}
		j.readers = append(j.readers, r)
		s.pins++
		end := s.end
		j.mu.Unlock()
		err := r.look(end)
		r.Close()
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

// look meets the damage of a file that ends before end, or is not there.
func (r *Reader) look(end int64) error {
	name := r.j.o.path(r.seg.name)
	f, err := r.j.o.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r.meet(err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	size, err := f.Size()
	_ = f.Close() // not even read from
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case size < end:
		return r.meet(io.EOF)
	}
	return nil
}
