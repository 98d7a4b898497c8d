//go:build !linux

package uring

import (
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/claudefs/repl/wire/link"
)

// Supported says that there is no io_uring outside Linux.
func Supported() error {
	return fmt.Errorf("%w: it is Linux, this is %s", ErrUnsupported, runtime.GOOS)
}

// Probe says what Supported says.
func Probe() Features { return Features{Kernel: runtime.GOOS, Err: Supported()} }

// Setup is of Linux.
type Setup uint8

// TransportOptions configures NewTransport.
type TransportOptions struct {
	Congestion string
	DeadAfter  time.Duration
	Pool       *link.Pool
	Setup      Setup
	NoSpin     bool
}

// Transport cannot be made here.
type Transport struct{ link.Transport }

// NewTransport says what Supported says.
func NewTransport(TransportOptions) (*Transport, error) { return nil, Supported() }

// Adopt says what Supported says.
func (*Transport) Adopt(*net.TCPConn) (link.Conn, error) { return nil, Supported() }

// Stats is empty.
func (*Transport) Stats() CallStats { return CallStats{} }

// Close returns ErrClosed.
func (*Transport) Close() error { return ErrClosed }
