package vfs

import "golang.org/x/sys/unix"

// Room is what is free on the file system of a directory for users other than root, and
// its size; 0, 0 if it is unknown.
func Room(dir string) (free, size int64) {
	var s unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &s) != nil {
		return 0, 0
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize)
}
