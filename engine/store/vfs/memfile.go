package vfs

import (
	"io"
	"io/fs"
	"syscall"
)

// held counts the pages that carry bytes.
func (ino *inode) held() int64 {
	var n int64
	for _, p := range ino.pages {
		if p != nil {
			n++
		}
	}
	return n
}

func (ino *inode) page(n int64) *[pageBytes]byte {
	if n < int64(len(ino.pages)) {
		return ino.pages[n]
	}
	return nil
}

// keepOld remembers what the medium has for page n before sectors [lo, hi) of it
// change, and leaves a copy to be changed.
func (ino *inode) keepOld(n int64, lo, hi int) {
	if ino.old == nil {
		ino.old = map[int64]*oldPage{}
	}
	o := ino.old[n]
	if o == nil {
		o = &oldPage{}
		if p := ino.page(n); p != nil {
			c := *p
			o.data, ino.pages[n] = p, &c
		}
		ino.old[n] = o
	}
	for s := lo; s < hi; s++ {
		o.dirty |= 1 << s
		o.lost &^= 1 << s
	}
}

// sync puts what is dirty on the medium, except for what a failed sync lost.
func (ino *inode) sync() {
	for n, o := range ino.old {
		if o.lost == 0 {
			delete(ino.old, n)
			continue
		}
		medium := new([pageBytes]byte)
		if p := ino.page(n); p != nil {
			*medium = *p
		}
		for s := range pageBytes / sectorBytes {
			if o.lost&(1<<s) == 0 {
				continue
			}
			at := medium[s*sectorBytes : (s+1)*sectorBytes]
			clear(at)
			if o.data != nil {
				copy(at, o.data[s*sectorBytes:])
			}
		}
		o.data, o.dirty = medium, o.lost
	}
	ino.syncedSize = ino.size
}

// Refresh shows what the medium has, also where a failed sync lost it.
func (f *memFile) Refresh() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("refresh"); err != nil {
		return err
	}
	f.ino.sync()
	for n, o := range f.ino.old {
		if n < int64(len(f.ino.pages)) {
			f.ino.pages[n] = o.data
		}
	}
	f.ino.old = nil
	return nil
}

// loseDirty is what a failed fsync does on Linux: the pages are marked clean, so
// that no later one writes them, and reads go on to show them.
func (f *memFile) loseDirty() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for _, o := range f.ino.old {
		o.lost = o.dirty
	}
}

// write puts p at off, which must lie below what may grow; it returns how many
// new pages it needed.
func (ino *inode) write(p []byte, off int64) int64 {
	var grown int64
	for len(p) > 0 {
		n, at := off/pageBytes, int(off%pageBytes)
		take := min(len(p), pageBytes-at)
		ino.keepOld(n, at/sectorBytes, (at+take+sectorBytes-1)/sectorBytes)
		for int64(len(ino.pages)) <= n {
			ino.pages = append(ino.pages, nil)
		}
		if ino.pages[n] == nil {
			ino.pages[n] = new([pageBytes]byte)
			grown++
		}
		copy(ino.pages[n][at:], p[:take])
		p, off = p[take:], off+int64(take)
	}
	ino.size = max(ino.size, off)
	return grown
}

func (ino *inode) truncate(size int64) int64 {
	var freed int64
	if size < ino.size {
		keep := (size + pageBytes - 1) / pageBytes
		for n := keep; n < int64(len(ino.pages)); n++ {
			if ino.pages[n] != nil {
				ino.keepOld(n, 0, pageBytes/sectorBytes)
				freed++
			}
		}
		if int64(len(ino.pages)) > keep {
			ino.pages = ino.pages[:keep]
		}
		if at := int(size % pageBytes); at != 0 && ino.page(size/pageBytes) != nil {
			ino.keepOld(size/pageBytes, at/sectorBytes, pageBytes/sectorBytes)
			clear(ino.pages[size/pageBytes][at:])
		}
	}
	ino.size = size
	return freed
}

// memFile is one handle of a file on a memory disk.
type memFile struct {
	m      *Mem
	ino    *inode
	name   string
	life   int
	closed bool
}

// check is called with the disk locked.
func (f *memFile) check(op string) error {
	if f.closed || f.life != f.m.life {
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	if off >= f.ino.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(len(p)), f.ino.size-off)]
	got := len(p)
	for len(p) > 0 {
		n, at := off/pageBytes, int(off%pageBytes)
		take := min(len(p), pageBytes-at)
		if page := f.ino.page(n); page != nil {
			copy(p[:take], page[at:])
		} else {
			clear(p[:take])
		}
		p, off = p[take:], off+int64(take)
	}
	if got < want {
		return got, io.EOF
	}
	return got, nil
}

func (f *memFile) WriteAt(parts [][]byte, off int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write"); err != nil {
		return err
	}
	if off < 0 {
		return pathError("write", f.name, syscall.EINVAL)
	}
	for _, p := range parts {
		if limit := f.m.o.CapacityBytes; limit > 0 && f.needs(p, off)+f.m.pages > limit/pageBytes {
			return pathError("write", f.name, syscall.ENOSPC)
		}
		f.m.pages += f.ino.write(p, off)
		off += int64(len(p))
	}
	return nil
}

// needs counts the pages that a write must add.
func (f *memFile) needs(p []byte, off int64) int64 {
	var n int64
	if len(p) == 0 {
		return 0
	}
	for i := off / pageBytes; i <= (off+int64(len(p))-1)/pageBytes; i++ {
		if f.ino.page(i) == nil {
			n++
		}
	}
	return n
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync"); err != nil {
		return err
	}
	f.ino.sync()
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.ino.size, f.check("stat")
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	f.m.pages -= f.ino.truncate(size)
	return nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close"); err != nil {
		return err
	}
	f.closed = true
	return nil
}
