package socket

import (
	"errors"
	"fmt"
	"time"
)

// DeadAfterDefault bears a lost route and a receiver's slow flush; sessions
// notice silence earlier by their heartbeats.
const DeadAfterDefault = 20 * time.Second

// deadAfterMin: the kernel probes by the second, and three make a verdict.
const deadAfterMin = 3 * time.Second

// Options of every socket of a transport.
type Options struct {
	// Congestion names the congestion control, "cubic" say. Empty leaves the
	// system's choice. Linux only.
	Congestion string
	// DeadAfter bounds how long a peer may leave data unacknowledged, unread or
	// keepalive probes unanswered. 0 means DeadAfterDefault; the least is 3 s.
	DeadAfter time.Duration
}

// Validate reports all faults at once.
func (o *Options) Validate() error {
	var faults []error
	if o.DeadAfter != 0 && o.DeadAfter < deadAfterMin {
		faults = append(faults, fmt.Errorf("dead-after %v is under %v", o.DeadAfter, deadAfterMin))
	}
	if o.Congestion != "" && !congestionSupported {
		faults = append(faults, fmt.Errorf("congestion control %q: not on this system", o.Congestion))
	}
	return errors.Join(faults...)
}

// ProbesMax is how many keepalive probes may stay unanswered.
const ProbesMax = 2

// ProbeEvery is the idle time before a keepalive probe and between two, so that
// DeadAfter has passed when the last probe stayed unanswered.
func (o *Options) ProbeEvery() time.Duration {
	return max(time.Second, (o.DeadAfter / 3).Truncate(time.Second))
}
