package link

import (
	"errors"
	"fmt"
	"io"

	"github.com/claudefs/repl/wire"
)

// Reader cuts checked frames out of a byte stream. A link over a stream embeds
// one; it is for one goroutine.
//
// Small frames, readAheadBytes at most, share a system call and are lent where
// they were read to; only one that a read cut in two may move. A frame behind one
// that is larger is expected to be large too: its envelope is read alone, and the
// rest into memory of its own. So a stream of large frames is copied nowhere, for
// the same two system calls per frame; only the first large one behind small ones
// is copied in part.
type Reader struct {
	stream io.Reader
	full   func([]byte) (int, error) // fills the whole slice from stream
	pool   *Pool
	ahead  *ahead // what frames are read to; nil = none yet
	lo, hi int    // ahead.bytes[lo:hi] was read from the stream, not yet taken
	large  bool   // the last frame was a large one
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
	r := &Reader{stream: stream, pool: pool}
	if f, ok := stream.(FullReader); ok {
		r.full = f.ReadFull
	} else {
		r.full = func(p []byte) (int, error) { return io.ReadFull(stream, p) }
	}
	return r
}

// ReadFrame reads one frame of at most bytesMax bytes and nothing beyond it, with the
// checks and errors of Conn.Recv, for connections that nobody has vouched for: its
// memory belongs to no pool, and is taken when the envelope was checked.
func ReadFrame(stream io.Reader, bytesMax int) (*Frame, error) {
	begin := make([]byte, wire.EnvelopeBytes)
	if n, err := io.ReadFull(stream, begin); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, cutShort(n, wire.EnvelopeBytes, err)
	}
	var e wire.Envelope
	if err := wire.DecodeEnvelope(begin, &e); err != nil {
		return nil, fmt.Errorf("frame envelope: %w", err)
	}
	size := e.FrameBytes()
	if size > bytesMax {
		return nil, fmt.Errorf("%s frame of %d bytes, at most %d here: %w", e.Kind, size, bytesMax, wire.ErrProtocol)
	}
	bytes := make([]byte, size)
	copy(bytes, begin)
	if n, err := io.ReadFull(stream, bytes[len(begin):]); err != nil {
		return nil, cutShort(len(begin)+n, size, err)
	}
	if err := wire.CheckFrame(&e, bytes); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", size, err)
	}
	f := NewFrame(func() {}) // its memory is the garbage collector's
	f.Lend(bytes)
	f.Envelope = e
	return f, nil
}

// Next returns the next whole frame, with the checks and errors of Conn.Recv;
// an error of the stream is wrapped. After an error it always returns the same
// one, because the begin of the next frame is unknown.
func (r *Reader) Next() (*Frame, error) {
	if r.err != nil {
		return nil, r.err
	}
	f, err := r.next()
	if err != nil {
		r.err = err
		r.pool.drop(r.ahead)
		r.ahead, r.lo, r.hi = nil, 0, 0
	}
	return f, err
}

func (r *Reader) next() (*Frame, error) {
	most := readAheadBytes
	if r.large {
		most = wire.EnvelopeBytes
	}
	if err := r.fill(wire.EnvelopeBytes, most); err != nil {
		if r.hi == r.lo && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, cutShort(r.hi-r.lo, wire.EnvelopeBytes, err)
	}
	// The sizes are the sender's claim until here: no memory before the check.
	var e wire.Envelope
	if err := wire.DecodeEnvelope(r.ahead.bytes[r.lo:r.lo+wire.EnvelopeBytes], &e); err != nil {
		return nil, fmt.Errorf("frame envelope: %w", err)
	}
	size := e.FrameBytes()
	r.large = size > readAheadBytes
	var f *Frame
	var err error
	if r.large {
		f, err = r.readLarge(&e, size)
	} else {
		f, err = r.cut(&e, size)
	}
	if err != nil {
		return nil, err
	}
	if err := wire.CheckFrame(&f.Envelope, f.Bytes); err != nil {
		f.Release()
		return nil, fmt.Errorf("frame of %d bytes: %w", size, err)
	}
	return f, nil
}

// cut lends a small frame where it lies, once it is there.
func (r *Reader) cut(e *wire.Envelope, size int) (*Frame, error) {
	if err := r.fill(size, readAheadBytes); err != nil {
		return nil, cutShort(r.hi-r.lo, size, err)
	}
	f := r.pool.cut(r.ahead, e, r.lo, r.lo+size)
	r.lo += size
	return f, nil
}

// readLarge reads a frame into its own memory; what was read ahead of it is
// copied.
func (r *Reader) readLarge(e *wire.Envelope, size int) (*Frame, error) {
	f := r.pool.Take(size)
	f.Envelope = *e
	n := copy(f.Bytes, r.ahead.bytes[r.lo:r.hi])
	r.lo += n
	r.pool.copied.Add(uint64(n))
	if n == size {
		return f, nil
	}
	if got, err := r.full(f.Bytes[n:]); err != nil {
		f.Release()
		return nil, cutShort(n+got, size, err)
	}
	return f, nil
}

// fill reads until at least need bytes of the read-ahead are not yet taken, at
// most most; need ≤ most ≤ readAheadBytes.
func (r *Reader) fill(need, most int) error {
	have := r.hi - r.lo
	if have >= need {
		return nil
	}
	r.makeRoom()
	n, err := io.ReadAtLeast(r.stream, r.ahead.bytes[r.hi:r.lo+most], need-have)
	r.hi += n
	return err
}

// makeRoom has readAheadBytes lie behind lo. What frames lie in is not written
// to: a frame that is there in part moves on.
func (r *Reader) makeRoom() {
	old := r.ahead
	free := old != nil && old.refs.Load() == 1 // only this goroutine lends it
	switch {
	case free && r.lo == r.hi:
		old.taken = false
		r.lo, r.hi = 0, 0
		return
	case old != nil && len(old.bytes)-r.lo >= readAheadBytes:
		return
	}
	var part []byte
	if old != nil {
		part = old.bytes[r.lo:r.hi]
	}
	if !free {
		r.ahead = r.pool.takeAhead()
	}
	r.lo, r.hi = 0, copy(r.ahead.bytes, part)
	r.pool.copied.Add(uint64(r.hi))
	switch {
	case free:
		old.taken = false
	case old != nil:
		r.pool.drop(old)
	}
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
