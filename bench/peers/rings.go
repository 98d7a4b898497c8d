package main

import (
	"github.com/claudefs/repl/uring"
)

// ringKinds are the links on io_uring, where the machine has one: as it is, and
// with receivers that never poll.
func ringKinds() []linkKind {
	if uring.Supported() != nil {
		return nil
	}
	return []linkKind{
		{"link-io_uring", true, func() (opened, error) { return openRing(false) }},
		{"link-io_uring-sleeping", false, func() (opened, error) { return openRing(true) }},
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

func openRing(noSpin bool) (opened, error) {
	t, err := uring.NewTransport(uring.TransportOptions{Congestion: congestion, NoSpin: noSpin})
	if err != nil {
		return opened{}, err
	}
	return opened{t, func() ringCount { return ringCount{Enters: t.Stats().Enters} }, t.Close}, nil
}
