package link

import (
	"errors"
	"fmt"
	"io"

	"github.com/claudefs/repl/wire"
)

// readAheadBytes is what a Reader may read beyond the frame it needs. Small
// frames then share a system call, about a hundred at 160 bytes, and are copied
// once on their way into their own memory. A frame behind one that is larger than
// this is expected to be large too: its envelope is read alone, and the rest
// where it belongs. So a stream of large frames is copied nowhere, for the same
// two system calls per frame; only the first large one behind small ones is
// copied in part.
const readAheadBytes = 16 << 10

// Reader cuts checked frames out of a byte stream. A link over a stream embeds
// one; it is for one goroutine. It owns readAheadBytes, and while a frame is
// under way that frame's memory.
type Reader struct {
	stream io.Reader
	full   func([]byte) (int, error) // fills the whole slice from stream
	pool   *Pool
	buffer []byte
	lo, hi int  // buffer[lo:hi] was read from the stream, not yet taken
	large  bool // the last frame was larger than buffer
	err    error
}

// FullReader is a stream that can fill memory at once, however often the bytes
// arrive: io.ReadFull in one call.
type FullReader interface {
	io.Reader
	ReadFull(p []byte) (int, error)
}

// NewReader returns a Reader of the frames of stream, which may be a FullReader,
// with memory from pool.
func NewReader(stream io.Reader, pool *Pool) *Reader {
	r := &Reader{stream: stream, pool: pool, buffer: make([]byte, readAheadBytes)}
	if f, ok := stream.(FullReader); ok {
		r.full = f.ReadFull
	} else {
		r.full = func(p []byte) (int, error) { return io.ReadFull(stream, p) }
	}
	return r
}

// Next returns the next whole frame, with the checks and errors of Conn.Recv;
// an error of the stream is wrapped. After an error it returns the same one for
// ever, since nobody knows any more where a frame begins.
func (r *Reader) Next() (*Frame, error) {
	if r.err != nil {
		return nil, r.err
	}
	f, err := r.next()
	if err != nil {
		r.err = err
		r.lo, r.hi = 0, 0
	}
	return f, err
}

func (r *Reader) next() (*Frame, error) {
	ahead := len(r.buffer)
	if r.large {
		ahead = wire.EnvelopeBytes
	}
	if err := r.fill(wire.EnvelopeBytes, ahead); err != nil {
		if r.hi == r.lo && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, cutShort(r.hi-r.lo, wire.EnvelopeBytes, err)
	}
	// The sizes are the sender's claim until here: no memory before the check.
	var e wire.Envelope
	if err := wire.DecodeEnvelope(r.buffer[r.lo:r.lo+wire.EnvelopeBytes], &e); err != nil {
		return nil, fmt.Errorf("frame envelope: %w", err)
	}
	f := r.pool.Take(e.FrameBytes())
	f.Envelope = e
	r.large = e.FrameBytes() > len(r.buffer)
	if err := r.readInto(f.Bytes); err != nil {
		f.Release()
		return nil, err
	}
	if err := wire.CheckFrame(&f.Envelope, f.Bytes); err != nil {
		f.Release()
		return nil, fmt.Errorf("frame of %d bytes: %w", e.FrameBytes(), err)
	}
	return f, nil
}

// readInto fills dst, which begins with what the buffer holds. What is missing of
// a large frame is read straight into dst.
func (r *Reader) readInto(dst []byte) error {
	n := copy(dst, r.buffer[r.lo:r.hi])
	r.lo += n
	rest := len(dst) - n
	r.pool.copied.Add(uint64(n))
	if r.large && rest > 0 {
		got, err := r.full(dst[n:])
		if err != nil {
			return cutShort(n+got, len(dst), err)
		}
		return nil
	}
	if err := r.fill(rest, len(r.buffer)); err != nil {
		return cutShort(n+r.hi-r.lo, len(dst), err)
	}
	r.lo += copy(dst[n:], r.buffer[r.lo:r.hi])
	r.pool.copied.Add(uint64(rest))
	return nil
}

// fill reads until at least need bytes are buffered, at most ahead;
// need ≤ ahead ≤ len(buffer).
func (r *Reader) fill(need, ahead int) error {
	have := r.hi - r.lo
	if have >= need {
		return nil
	}
	copy(r.buffer, r.buffer[r.lo:r.hi]) // Part of an envelope, or nothing.
	r.lo, r.hi = 0, have
	n, err := io.ReadAtLeast(r.stream, r.buffer[have:ahead], need-have)
	r.hi += n
	return err
}

// cutShort names how far a frame came. The end of the stream is unexpected
// there, even before the first byte of the rest.
func cutShort(gotBytes, wantBytes int, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if gotBytes == 0 {
		return fmt.Errorf("between frames: %w", err)
	}
	return fmt.Errorf("frame cut after %d of at least %d bytes: %w", gotBytes, wantBytes, err)
}

// CheckParts refuses what Conn.Send must not carry: nothing at all, or more
// than a frame. The error wraps wire.ErrLimit.
func CheckParts(parts [][]byte) error {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size < 1 || size > wire.FrameBytesMax {
		return fmt.Errorf("send of %d bytes, a frame has 1 to %d: %w", size, wire.FrameBytesMax, wire.ErrLimit)
	}
	return nil
}
