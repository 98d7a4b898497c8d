package rdma

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MapMemory takes zeroed pages off the Go heap: they never move, so a device may
// hold their address. It is how Options.Regions may be made, too.
func MapMemory(bytes int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", bytes, err)
	}
	return b, nil
}

// UnmapMemory gives back what MapMemory took; nil is nothing.
func UnmapMemory(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // it fails only for what was not mapped like this
	}
}
