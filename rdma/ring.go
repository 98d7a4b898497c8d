package rdma

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// messageAlign is what messages in a ring begin at a multiple of: a cache line.
const messageAlign = 64

// place is where a message lies, in positions that grow without end (modulo the
// ring's size they are offsets). It lies in one piece: where it would go round the
// ring's end, the rest of the round stays empty. Both ends compute it alike, from
// nothing but the sizes of the messages before.
func place(end uint64, size, ringBytes int) span {
	start := (end + messageAlign - 1) &^ (messageAlign - 1)
	if left := ringBytes - int(start%uint64(ringBytes)); left < size {
		start += uint64(left)
	}
	return span{start, start + uint64(size)}
}

// span is [start, end) of a ring.
type span struct{ start, end uint64 }

func (s span) size() int { return int(s.end - s.start) }

// spans is the messages that occupy a ring, oldest first. At both ends:
// freed ≤ taken ≤ freed + len(list).
type spans struct {
	ringBytes    int
	list         []span // message n at n % len(list)
	taken, freed uint64 // messages
	end          uint64 // of the newest
}

func newSpans(ringBytes, messagesMax int) spans {
	return spans{ringBytes: ringBytes, list: make([]span, messagesMax)}
}

func (s *spans) at(number uint64) *span { return &s.list[number%uint64(len(s.list))] }

// next is where the next message would lie, and whether there is room for it. An
// empty ring has room for any message, wherever it begins: what is skipped before
// the end holds nothing.
func (s *spans) next(size int) (at span, room bool) {
	at = place(s.end, size, s.ringBytes)
	switch used := s.taken - s.freed; {
	case used == 0:
		return at, true
	case used == uint64(len(s.list)):
		return at, false
	}
	return at, at.end-s.at(s.freed+1).start <= uint64(s.ringBytes)
}

// take occupies a span that next gave out, and returns its message number.
func (s *spans) take(at span) (number uint64) {
	s.taken++
	*s.at(s.taken) = at
	s.end = at.end
	return s.taken
}

// land is take for the end that is written to: it believes nothing.
func (s *spans) land(size int) (number uint64, err error) {
	if size < 1 || size > wire.FrameBytesMax {
		return 0, fmt.Errorf("message %d of %d bytes: %w", s.taken+1, size, wire.ErrProtocol)
	}
	at, room := s.next(size)
	if !room {
		return 0, fmt.Errorf("message %d of %d bytes with %d under way, without credit: %w", s.taken+1, size,
			s.taken-s.freed, wire.ErrProtocol)
	}
	return s.take(at), nil
}
