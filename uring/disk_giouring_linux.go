//go:build giouring

package uring

// forEveryThread has nothing to take back: that library registers no descriptor.
func (c *core) forEveryThread() {}
