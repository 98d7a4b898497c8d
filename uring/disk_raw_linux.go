//go:build !giouring

package uring

import "unsafe"

// forEveryThread takes back what registerSelf did for the thread that opened the
// ring: registered descriptors belong to a thread, and this ring goes from one to
// another.
func (c *core) forEveryThread() {
	if !c.registered {
		return
	}
	*c.self = update{offset: uint32(c.enterFD)}
	_, _ = c.register(unregisterRingFDs, unsafe.Pointer(c.self), 1) // else the thread's end does it
	c.enterFD, c.enterFlags, c.registered = c.fd, 0, false
}
