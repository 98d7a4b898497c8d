package arena

import "golang.org/x/sys/unix"

// mapPages reserves no memory beyond what is touched: the region is as large as
// the most that may be in use.
func mapPages(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

func unmapPages(region []byte) error { return unix.Munmap(region) }
