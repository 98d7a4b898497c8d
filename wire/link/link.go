package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

var (
	// ErrClosed is what every call returns after Close at this end. Send also
	// returns it once the other end is known to be closed; Recv says io.EOF then.
	// It wraps net.ErrClosed.
	ErrClosed = fmt.Errorf("link closed: %w", net.ErrClosed)
	// ErrLost: the link broke without an orderly close: a reset, or silence for
	// longer than the transport bears. Dialing again may help.
	ErrLost = errors.New("link lost")
	// ErrUnreachable: Dial found nobody, or not in time. It wraps the system's
	// reason and the context's.
	ErrUnreachable = errors.New("not reachable")
)

// Transport opens links. Its methods may be called by any goroutine.
type Transport interface {
	// Name is "tcp", "io_uring", "rdma" or "memory".
	Name() string
	// Dial connects to addr and returns when the link can carry frames. It gives
	// up with ErrUnreachable, at the latest when ctx ends.
	Dial(ctx context.Context, addr string) (Conn, error)
	// Listen accepts links at addr; port 0 picks a free one.
	Listen(addr string) (Listener, error)
}

// Listener accepts links.
type Listener interface {
	// Accept waits for the next link. After Close it returns ErrClosed; after
	// any other error (no descriptors left, say) it may be called again.
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
	// that says nothing about the peer. Send does not look into the bytes, it
	// only refuses what is empty or over wire.FrameBytesMax, with wire.ErrLimit.
	// After an error nothing more is sent: each later Send fails too.
	Send(parts [][]byte) error
	// Recv waits for the next whole frame. The envelope is decoded and checked
	// before memory is taken for the rest, the frame's CRC afterwards; batches
	// are not looked at. The frame is the caller's until Frame.Release. A frame
	// that does not hold ends the link: wire.ErrCorrupt, ErrVersion, ErrProtocol.
	// A peer's orderly close is io.EOF, one in mid-frame io.ErrUnexpectedEOF, a
	// broken link ErrLost. After an error each later Recv fails with it too, while
	// Send still works, so that the session can tell the peer why it ends.
	Recv() (*Frame, error)
	// Close ends the link at once; what was sent may or may not arrive.
	Close() error
	// LocalAddr and RemoteAddr are for people and logs.
	LocalAddr() string
	RemoteAddr() string
}

// LendingConn is a Conn that can send from the caller's memory where it lies, after
// the call has returned.
type LendingConn interface {
	Conn
	// SendLent is Send, but that the bytes of parts stay the link's until it calls
	// release: exactly once, on any goroutine, perhaps before SendLent returns, after
	// an error too, and at the latest from Close. The slice of parts itself is the
	// caller's again at once. Bytes must not change meanwhile. What the link cannot
	// send from where it lies, it copies.
	SendLent(parts [][]byte, release func()) error
}

// Bounder is a Conn whose frames can be bounded, while nobody knows yet who sends
// them: of a larger one no memory is taken, and Recv says wire.ErrProtocol. While it is
// bounded, Recv reads nothing beyond the frame that it returns, and takes no memory
// before its envelope was checked. With wire.FrameBytesMax the bound is gone, as it is
// at first. For the receiving goroutine.
type Bounder interface{ BoundFrames(bytes int) }

// Admitter is an accepted Conn that costs next to nothing until its hello was welcome:
// behind its first frame Recv waits for Admit, so that nothing more is read of somebody
// who is refused. Admit is for the sending goroutine, before the first frame that the
// peer may answer.
type Admitter interface{ Admit() }

// Favorer is a Listener that keeps a share of its places for addresses, those of
// configured peers: host:port, or an IP address alone. Any goroutine may call it.
type Favorer interface{ Favor(addr string) }

// Incoming counts connections that others dialed, before their hello is judged.
type Incoming struct {
	Silent   int    // now: without a whole first frame
	Accepted uint64 // that got a place, since the listener was opened; links of peers too
	Evicted  uint64 // silent ones that were closed for a newer one
	Refused  uint64 // that found no place
}

// IncomingCounter is a Listener that bounds strangers and counts them. Any goroutine may
// call it.
type IncomingCounter interface{ Incoming() Incoming }

// Info is what a link knows about itself, for status and logs.
type Info struct {
	Transport     string        // Transport.Name
	Congestion    string        // congestion control in effect; empty where there is none
	RTT           time.Duration // smoothed round trip as the transport measured it; 0 = unknown
	Retransmitted uint32        // segments sent again since the link opened
	Streams       int           // connections that it has; 0 = one
	// ReceivedBytes came since the link opened, parts of frames included: where it
	// grows, a frame comes, however slow the path is. 0 = unknown.
	ReceivedBytes uint64
}

// Informer is a Conn that can tell Info; links between processes can. Info may
// be called by any goroutine, after Close too: then it knows only Transport.
type Informer interface{ Info() Info }

// InfoOf returns what a link knows about itself; nothing if it can tell nothing.
func InfoOf(c Conn) Info {
	if i, ok := c.(Informer); ok {
		return i.Info()
	}
	return Info{}
}
