package vfs

import (
	"io"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovMax is the kernel's limit of buffers per gathered write.
const iovMax = 1024

// vector is the list of parts that a gathered write is called with. A file keeps
// one: unix.Pwritev makes one for each write of more than eight parts, which is
// each flush of a journal that many shards write to.
type vector struct{ parts [iovMax]unix.Iovec }

// gather takes as many of parts as go into one write; empty ones cost nothing.
// It returns what follows them, and the list.
func (v *vector) gather(parts [][]byte) (rest [][]byte, list []unix.Iovec) {
	n := 0
	for len(parts) > 0 && n < iovMax {
		if p := parts[0]; len(p) > 0 {
			v.parts[n].Base = unsafe.SliceData(p)
			v.parts[n].SetLen(len(p))
			n++
		}
		parts = parts[1:]
	}
	return parts, v.parts[:n]
}

// advance drops the first n bytes of a list.
func advance(list []unix.Iovec, n int) []unix.Iovec {
	for len(list) > 0 && n >= int(list[0].Len) {
		n -= int(list[0].Len)
		list = list[1:]
	}
	if n > 0 { // the kernel stopped inside a part
		list[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(list[0].Base), n))
		list[0].SetLen(int(list[0].Len) - n)
	}
	return list
}

// writeAll writes parts at off.
func (f *osFile) writeAll(parts [][]byte, off int64) error {
	v := f.spare.Swap(nil)
	if v == nil { // the first write, or one beside another
		v = new(vector)
	}
	defer f.spare.Store(v)
	for len(parts) > 0 {
		rest, list := v.gather(parts)
		written, err := f.writeList(list, off)
		clear(list) // what it points to is the caller's
		if err != nil {
			return err
		}
		off += written
		parts = rest
	}
	return nil
}

// writeList writes a whole list, unless there is an error.
func (f *osFile) writeList(list []unix.Iovec, off int64) (written int64, err error) {
	for len(list) > 0 {
		n, err := f.pwritev(list, off+written)
		if err != nil {
			return written, err
		}
		written += int64(n)
		list = advance(list, n)
	}
	return written, nil
}

// pwritev writes some of a list, at least one byte. It asks for the descriptor
// each time, so that a closed file is an error and never somebody else's file.
func (f *osFile) pwritev(list []unix.Iovec, off int64) (int, error) {
	defer runtime.KeepAlive(f.f)
	for {
		// The kernel takes the offset in two halves, of which a 64-bit one ignores the
		// second. Unsafe rule 4 (the conversion is in the call).
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, f.f.Fd(), uintptr(unsafe.Pointer(&list[0])),
			uintptr(len(list)), uintptr(off), uintptr(uint64(off)>>32), 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.ErrShortWrite
		default:
			return int(n), nil
		}
	}
}
