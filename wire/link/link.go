package link

import (
	"context"
	"errors"
	"net"

	"github.com/claudefs/repl/wire"
)

// ErrClosed is what every call returns after Close on either end. It wraps
// net.ErrClosed.
var ErrClosed = errors.Join(errors.New("link closed"), net.ErrClosed)

// Transport opens links. Its methods may be called by any goroutine.
type Transport interface {
	// Name is "tcp", "memory", later "io_uring" and "rdma".
	Name() string
	// Dial connects to addr and returns when the link can carry frames.
	Dial(ctx context.Context, addr string) (Conn, error)
	// Listen accepts links at addr; port 0 picks a free one.
	Listen(addr string) (Listener, error)
}

// Listener accepts links.
type Listener interface {
	// Accept waits for the next link. After Close it returns ErrClosed.
	Accept() (Conn, error)
	// Addr is the address that Dial reaches this listener at.
	Addr() string
	// Close stops accepting; accepted links live on.
	Close() error
}

// Conn carries whole frames, in order, both ways. One goroutine may send while
// another receives. Close may be called by any, any number of times, and
// unblocks both with ErrClosed.
type Conn interface {
	// Send writes one frame whose bytes are the concatenation of parts, without
	// copying them together. It returns when the parts are the caller's again:
	// that says nothing about the peer. After an error the link is dead.
	Send(parts [][]byte) error
	// Recv waits for the next whole frame. The envelope is decoded and checked
	// before memory is taken for the rest, the frame's CRC afterwards; batches
	// are not looked at. The frame is the caller's until Frame.Release. A frame
	// that does not hold ends the link: wire.ErrCorrupt, ErrVersion, ErrProtocol.
	// A peer's orderly close is io.EOF, one in mid-frame io.ErrUnexpectedEOF.
	Recv() (*Frame, error)
	// Close ends the link at once; what was sent may or may not arrive.
	Close() error
	// LocalAddr and RemoteAddr are for people and logs.
	LocalAddr() string
	RemoteAddr() string
}

// Frame is one received frame. It counts references, so that the journal can
// write from it while others still read.
type Frame struct {
	Envelope wire.Envelope
	Bytes    []byte // the whole frame: envelope, extensions, body
	// unexported: reference count, pool
}

// Body returns what follows envelope and extensions.
func (f *Frame) Body() []byte { return wire.Body(&f.Envelope, f.Bytes) }

// Retain adds a reference.
func (f *Frame) Retain() { panic("unwritten") }

// Release drops a reference; with the last one the bytes go back to the pool
// and must not be read any more.
func (f *Frame) Release() { panic("unwritten") }
