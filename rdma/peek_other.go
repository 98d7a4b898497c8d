//go:build !linux

package rdma

import (
	"fmt"
	"net"
)

// peekByte is of Linux, as verbs are.
func peekByte(*net.TCPConn) (byte, error) {
	return 0, fmt.Errorf("two transports at one address: %w", ErrUnsupported)
}
