//go:build !linux

package uring

import (
	"fmt"
	"runtime"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
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

// LoopOptions of OpenLoop.
type LoopOptions struct{ Setup Setup }

// LoopStats counts nothing here.
type LoopStats struct {
	Enters, Submitted, Completed, Wakes, Spins, NoBuffers, Overflows uint64
	Links                                                            int
}

// Loop cannot be opened here.
type Loop struct{}

// OpenLoop says what Supported says.
func OpenLoop(LoopOptions) (*Loop, error) { return nil, Supported() }

// Stats is empty.
func (*Loop) Stats() LoopStats { return LoopStats{} }

// Close returns ErrClosed.
func (*Loop) Close() error { return ErrClosed }

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

// TransportStats counts nothing here.
type TransportStats struct{ Enters, Calls, Spins, Hits uint64 }

// NewTransport says what Supported says.
func NewTransport(TransportOptions) (*Transport, error) { return nil, Supported() }

// Stats is empty.
func (*Transport) Stats() TransportStats { return TransportStats{} }

// Close returns ErrClosed.
func (*Transport) Close() error { return ErrClosed }

// FS has no files here.
func (*Loop) FS() vfs.FS { return nil }
