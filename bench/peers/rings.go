package main

import (
	"runtime"

	"github.com/claudefs/repl/uring"
)

// ringKinds are the links on io_uring, where the machine has one: as it is, and
// with a loop that never polls.
func ringKinds() []linkKind {
	if uring.Supported() != nil {
		return nil
	}
	return []linkKind{
		{"link-io_uring", true, openRing},
		{"link-io_uring-sleeping", false, func() (opened, error) {
			// A loop that opens on a single P does not poll, which is all that differs.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return openRing()
		}},
	}
}

// journalAtDepth is the journal that P8 judges: on a ring, where the machine has
// one, as the engine has it.
func journalAtDepth() string {
	if uring.Supported() != nil {
		return "journal-16"
	}
	return "journal-16-io_uring"
}

func openRing() (opened, error) {
	loop, err := uring.OpenLoop(uring.LoopOptions{})
	if err != nil {
		return opened{}, err
	}
	t, err := loop.Transport(uring.TransportOptions{Congestion: congestion})
	return opened{t, func() ringCount {
		st := loop.Stats()
		return ringCount{st.Enters, st.Wakes}
	}, loop.Close}, err
}
