package lag

import "time"

// Lag is how far a peer is behind at one ack level. Known is false when no fresh
// answer of the present session proves it: then the other fields are what the peer has
// never confirmed, this side's saved cursors included.
type Lag struct {
	Known   bool
	Time    time.Duration // since the oldest entry that is not there became durable at its source
	Bytes   int64         // -1 = unknown
	Entries int64
}
