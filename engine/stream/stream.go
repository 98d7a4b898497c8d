package stream

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// Cursor is one log's position, at a peer or here.
type Cursor struct {
	Log      wire.LogID
	Position wire.Position
}

// Lag is how far a peer is behind at one ack level. Known is false when no
// fresh answer proves it: then the other fields are the last that were proven,
// and Time counts on from the oldest entry not known to be there.
type Lag struct {
	Known   bool
	Time    time.Duration // source clock: age of the oldest source-durable entry that is not there
	Bytes   int64
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
