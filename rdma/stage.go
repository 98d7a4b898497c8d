package rdma

// stage is registered memory that bytes are copied to before they are sent, used
// round and round in the order of sends. Positions grow without end.
type stage struct {
	bytes    []byte
	lo, hi   uint64 // [lo, hi) is under way; behind hi the sending goroutine fills
	signalAt uint64 // hi when a completion was last asked for
}

// room is the next free piece in a row, behind what is filled up to hi.
func (s *stage) room(hi uint64) []byte {
	size := uint64(len(s.bytes))
	at := hi % size
	free := size - (hi - s.lo)
	return s.bytes[at : at+min(free, size-at)]
}

// flight is what a send in the queue keeps from reuse: the stage up to a position,
// and lent parts. A frame's last send carries its message number.
type flight struct {
	send     uint64 // number of the send
	message  uint64 // 0 = none
	stageEnd uint64
	release  func() // nil = nothing lent
}

// flights is the sends whose memory is in use, oldest first, never more than the
// send queue has entries.
type flights struct {
	list   []flight
	lo, hi uint64
}

func (f *flights) push(fl flight) {
	f.list[f.hi%uint64(len(f.list))] = fl
	f.hi++
}

func (f *flights) empty() bool { return f.lo == f.hi }

func (f *flights) oldest() *flight { return &f.list[f.lo%uint64(len(f.list))] }

// pop returns the oldest and forgets what it holds.
func (f *flights) pop() flight {
	at := f.oldest()
	fl := *at
	*at = flight{}
	f.lo++
	return fl
}
