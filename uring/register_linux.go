package uring

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scratchBytes holds the limit of a wait and one argument of register.
const (
	scratchBytes = 4096
	scratchArgAt = 64
)

// Registered says what RegisterBuffers did.
type Registered struct {
	Buffers      int    // the first so many pieces have numbers 0 … Buffers-1
	Bytes        int64  // in them
	MissingBytes int64  // in the pieces that did not fit
	LimitBytes   uint64 // RLIMIT_MEMLOCK; math.MaxUint64 = none
}

// String names the shortfall, for status and logs.
func (g Registered) String() string {
	text := fmt.Sprintf("%d bytes registered in %d buffers", g.Bytes, g.Buffers)
	if g.MissingBytes == 0 {
		return text
	}
	return fmt.Sprintf("%s, %d bytes not: RLIMIT_MEMLOCK is %d; raise it (ulimit -l, LimitMEMLOCK) "+
		"or grant CAP_IPC_LOCK", text, g.MissingBytes, g.LimitBytes)
}

// RegisterBuffers pins pieces of off-heap memory for WriteFixed and SendZCFixed:
// as many, from the first on, as the system lets us pin. A piece is at most 1 GiB
// and taken whole or not at all, so a large region is best given in pieces of a
// few MiB; one operation stays within one piece. That not all fits is not an error:
// plain Write and SendZC serve the rest.
func (r *Ring) RegisterBuffers(pieces [][]byte) (Registered, error) {
	r.owned()
	var g Registered
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return g, fmt.Errorf("RLIMIT_MEMLOCK: %w", err)
	}
	g.LimitBytes = limit.Cur
	table, err := Map(max(len(pieces), 1) * int(unsafe.Sizeof(iovec{})))
	if err != nil {
		return g, err
	}
	list := array[iovec](table.Bytes(), 0, len(pieces))
	for i, piece := range pieces {
		list[i] = iovec{address(piece), uint64(len(piece))}
		g.MissingBytes += int64(len(piece))
	}
	count, err := r.registerMost(table, len(pieces))
	for _, piece := range pieces[:count] {
		g.Buffers++
		g.Bytes += int64(len(piece))
		g.MissingBytes -= int64(len(piece))
	}
	return g, errors.Join(err, table.Free())
}

// registerMost finds the longest run of pieces that can be pinned, by halving.
func (r *Ring) registerMost(table *Region, count int) (int, error) {
	try := func(n int) unix.Errno {
		if n == 0 {
			return 0
		}
		// Unsafe rule 1: the table is a list of iovecs, which the kernel reads.
		_, errno := r.register(registerBuffers, unsafe.Pointer(&table.Bytes()[0]), uint32(n))
		r.pinned = errno == 0
		return errno
	}
	errno := try(count)
	if errno == 0 {
		return count, nil
	}
	if errno != unix.ENOMEM {
		return 0, fmt.Errorf("register %d buffers: %w", count, errno)
	}
	fits := sort.Search(count, func(n int) bool {
		if n == 0 || try(n) != 0 {
			return n != 0
		}
		_, _ = r.register(unregisterBuffers, nil, 0)
		return false
	}) - 1
	if fits <= 0 {
		return 0, nil
	}
	if errno = try(fits); errno != 0 {
		return 0, fmt.Errorf("register %d of %d buffers: %w", fits, count, errno)
	}
	return fits, nil
}

// UnregisterBuffers unpins what RegisterBuffers pinned.
func (r *Ring) UnregisterBuffers() error {
	r.owned()
	if _, errno := r.register(unregisterBuffers, nil, 0); errno != 0 {
		return fmt.Errorf("unregister buffers: %w", errno)
	}
	r.pinned = false
	return nil
}

// RegisterFiles makes an empty table of count files for SQE.FixedFile, filled by
// SetFile. At most RLIMIT_NOFILE.
func (r *Ring) RegisterFiles(count int) error {
	r.owned()
	if count < 1 || count > math.MaxInt32/8 {
		return fmt.Errorf("register %d files: not a count", count)
	}
	table, err := Map(count * 4)
	if err != nil {
		return err
	}
	for i, files := 0, array[int32](table.Bytes(), 0, count); i < count; i++ {
		files[i] = -1 // an empty place
	}
	// Unsafe rule 1: the table is a list of 32-bit descriptors, which the kernel reads.
	_, errno := r.register(registerFiles, unsafe.Pointer(&table.Bytes()[0]), uint32(count))
	if errno != 0 {
		err = fmt.Errorf("register %d files: %w", count, errno)
	}
	return errors.Join(err, table.Free())
}

// SetFile puts descriptor fd at index of the table; -1 empties the place. The
// table holds the file open on its own.
func (r *Ring) SetFile(index, fd int) error {
	r.owned()
	file := at[int32](r.scratch.Bytes(), scratchArgAt+64)
	*file = int32(fd)
	arg := at[update](r.scratch.Bytes(), scratchArgAt)
	// Unsafe rule 2 (Pointer to uintptr, not back): scratch is off the heap.
	*arg = update{offset: uint32(index), data: uint64(uintptr(unsafe.Pointer(file)))}
	n, errno := r.register(registerFilesUpdate, unsafe.Pointer(arg), 1)
	if errno != 0 {
		return fmt.Errorf("registered file %d = descriptor %d: %w", index, fd, errno)
	}
	if n != 1 {
		return fmt.Errorf("registered file %d = descriptor %d: not taken", index, fd)
	}
	return nil
}

// UnregisterFiles drops the table.
func (r *Ring) UnregisterFiles() error {
	r.owned()
	if _, errno := r.register(unregisterFiles, nil, 0); errno != 0 {
		return fmt.Errorf("unregister files: %w", errno)
	}
	return nil
}
