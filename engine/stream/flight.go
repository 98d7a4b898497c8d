package stream

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// End is where one log ends behind a frame.
type End struct {
	Shard    wire.Shard
	Position wire.Position
	Stamp    wire.Stamp // of the last entry
}

// Frame is one frame of batches on its way: sent and not yet durable at the
// peer, or received and not yet flushed here.
type Frame struct {
	Number uint64
	Ticket uint64 // receiver: the newest stage that the frame waits for; 0 = none
	Failed bool   // receiver: that stage failed
	Bytes  int64
	At     time.Duration // when it was sent or received

	// What the sender knew when it sent the frame, for the rate: bytes
	// acknowledged so far, when the last of them were, and when those had left.
	delivered   int64
	deliveredAt time.Duration
	departedAt  time.Duration
	probe       bool // it left while the window was small, to measure the delay

	ends uint64 // absolute index behind the frame's last end
}

// Flight is the frames under way, oldest first, each with the ends of the logs
// in it. Frame numbers are consecutive. The zero value is empty and ready.
// Its memory follows the most that was ever under way: the window bounds the
// sender's, the sender's window the receiver's.
type Flight struct {
	frames    []Frame
	head      int // frames[head:] are under way
	ends      []End
	endsHead  int    // ends[endsHead:] belong to them
	endsBase  uint64 // absolute index of ends[0]
	received  uint64 // absolute index of the first end not yet acknowledged as received
	bytes     int64
	frameOpen uint64 // absolute index of the first end of the frame being built
}

// Len is the number of frames under way.
func (f *Flight) Len() int { return len(f.frames) - f.head }

// Bytes is the size of the frames under way.
func (f *Flight) Bytes() int64 { return f.bytes }

// Oldest returns the oldest frame under way; Len must not be 0.
func (f *Flight) Oldest() *Frame { return &f.frames[f.head] }

// Newest returns the newest frame under way; Len must not be 0.
func (f *Flight) Newest() *Frame { return &f.frames[len(f.frames)-1] }

// Open begins the next frame.
func (f *Flight) Open() {
	f.ends, f.endsHead, f.endsBase = compact(f.ends, f.endsHead, f.endsBase)
	f.frameOpen = f.endsBase + uint64(len(f.ends))
}

// Add notes that a log ends at e behind the frame being built. at is what Add
// returned last for this log, or 0: a log has one end per frame.
func (f *Flight) Add(e End, at uint64) uint64 {
	if at > f.frameOpen {
		f.ends[at-1-f.endsBase] = e
		return at
	}
	f.ends = append(f.ends, e)
	return f.endsBase + uint64(len(f.ends))
}

// Close puts the frame being built under way.
func (f *Flight) Close(fr Frame) {
	fr.ends = f.endsBase + uint64(len(f.ends))
	f.frames, f.head, _ = compact(f.frames, f.head, 0)
	f.frames = append(f.frames, fr)
	f.bytes += fr.Bytes
}

// Receive returns the ends of frames up to number that no earlier Receive or
// Take returned. They are borrowed until the next Open.
func (f *Flight) Receive(number uint64) []End {
	if f.Len() == 0 || number < f.Oldest().Number {
		return nil
	}
	hi := f.frames[f.head+int(number-f.Oldest().Number)].ends
	lo := max(f.received, f.endsBase+uint64(f.endsHead))
	if hi <= lo {
		return nil
	}
	f.received = hi
	return f.ends[lo-f.endsBase : hi-f.endsBase]
}

// Take removes the oldest frame and returns it with its ends, which are
// borrowed until the next Open.
func (f *Flight) Take() (Frame, []End) {
	fr := f.frames[f.head]
	f.head++
	lo, hi := f.endsHead, int(fr.ends-f.endsBase)
	f.endsHead = hi
	f.bytes -= fr.Bytes
	return fr, f.ends[lo:hi]
}

// Fail marks the frames that wait for that ticket: their batches are not
// durable. It says whether there are any.
func (f *Flight) Fail(ticket uint64) (any bool) {
	for i := f.head; i < len(f.frames); i++ {
		if f.frames[i].Ticket == ticket {
			f.frames[i].Failed, any = true, true
		}
	}
	return any
}

// Reset drops everything under way and keeps the memory. What Add returned
// before is void.
func (f *Flight) Reset() {
	next := f.endsBase + uint64(len(f.ends))
	*f = Flight{frames: f.frames[:0], ends: f.ends[:0], endsBase: next, received: next, frameOpen: next}
}

// compact moves what is left of a queue to its front once half of it is gone,
// so that appending neither grows it permanently nor copies more than it adds.
func compact[T any](q []T, head int, base uint64) ([]T, int, uint64) {
	if head == 0 || head < len(q)-head {
		return q, head, base
	}
	n := copy(q, q[head:])
	return q[:n], 0, base + uint64(head)
}
