package rdma

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// peekByte waits for a connection's first byte, which stays to be read.
func peekByte(c *net.TCPConn) (byte, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var first [1]byte
	n, fault := 0, error(nil)
	err = raw.Read(func(fd uintptr) bool {
		n, _, fault = unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK)
		return fault != unix.EAGAIN && fault != unix.EINTR
	})
	switch {
	case err != nil:
		return 0, err
	case fault != nil:
		return 0, fault
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return first[0], nil
}
