package stream

import (
	"time"
)

// Lag is how far a peer is behind at one ack level. Known is false when no fresh
// answer of the present session proves it: then the other fields are what the peer has
// never confirmed, this side's saved cursors included.
type Lag struct {
	Known   bool
	Time    time.Duration // since the oldest entry that is not there became durable at its source
	Bytes   int64         // -1 = unknown
	Entries int64
}

// WaitingOn is what keeps a peer from being caught up. A closed list.
type WaitingOn string

const (
	WaitNothing WaitingOn = "nothing"
	WaitDisk    WaitingOn = "disk"
	WaitWindow  WaitingOn = "window"
	WaitPeer    WaitingOn = "peer"
	WaitApply   WaitingOn = "apply"
	WaitLink    WaitingOn = "link"
	WaitStopped WaitingOn = "stopped log"
)
