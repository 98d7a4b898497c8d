package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pwritten is the gather list of one write, off no stack.
type pwritten struct{ list [1]unix.Iovec }

// alone makes a write by the goroutine's own system calls.
func (q *diskQueue) alone(o *diskWrite) {
	q.d.counts.plain.Add(1)
	if q.goesPast(o) && q.alonePast(o) {
		return
	}
	err := o.f.WriteAt(o.all, o.off)
	if err == nil {
		err = o.f.Sync()
	}
	q.end(o, err)
}

// alonePast makes it past the cache, by one call; false: it is to be made otherwise.
func (q *diskQueue) alonePast(o *diskWrite) bool {
	fd, err := o.f.openPast()
	if err != nil {
		q.refused(err)
		return false
	}
	b := q.copied(o)
	v := &q.once.list[0]
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
	// Unsafe rule 4 (Pointer to uintptr in the call itself). A 64-bit kernel ignores the
	// second half of the offset.
	n, _, errno := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(v)), 1,
		uintptr(o.off), uintptr(uint64(o.off)>>32), unix.RWF_DSYNC)
	switch {
	case errno == 0 && int(n) == len(b):
		q.end(o, nil)
		return true
	case errno == unix.EINVAL || errno == unix.EOPNOTSUPP:
		q.refused(errno)
		return false
	case errno == 0 || errno == unix.EINTR || errno == unix.EAGAIN:
		return false // short, or not at all: once more, through the cache
	}
	q.end(o, o.f.wrap("pwritev2", errno))
	return true
}
