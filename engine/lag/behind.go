package lag

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// Behind is how far this site is behind the writer, by the stamps that the writer's
// heartbeats report and those of what is durable here.
type Behind struct {
	Known bool
	// Time: for how long the oldest missing entry has been durable at the writer, as far as
	// heartbeats report: by one of them, or by a goal, too high; 0 if the newest reported nothing
	// that is missing. While not Known it is at least that long.
	Time time.Duration
}

// report is what a heartbeat said, and when it came.
type report struct {
	stamp wire.Stamp // of the writer's newest durable entry
	at    time.Duration
}

// Follower follows one session of the writer. What a heartbeat reported is a goal; once it is
// reached, what is missing became durable after that heartbeat, and the newest is the goal.
type Follower struct {
	newest, goal report        // at 0 = none in this session
	since        time.Duration // no missing entry is older
	bounded      bool          // since means something
	missing      bool
}

// Heartbeat notes what the writer reported at now, with its clock; here is the newest durable
// stamp of it here.
func (f *Follower) Heartbeat(now time.Duration, stamp wire.Stamp, clock time.Time, here wire.Stamp) {
	f.advance(here)
	before := f.newest
	f.newest = report{stamp, max(now, 1)}
	if f.missing || stamp <= here {
		return
	}
	f.goal, f.missing = f.newest, true
	switch {
	case before.at != 0: // all that it reported was here
		f.since, f.bounded = before.at, true
	case here != 0: // a session begins behind: by the writer's clock
		f.since, f.bounded = now-max(0, clock.Sub(here.Time())), true
	}
}

// advance notes that everything up to here is durable.
func (f *Follower) advance(here wire.Stamp) {
	for f.missing && here >= f.goal.stamp {
		f.since, f.bounded = f.goal.at, true
		f.missing, f.goal = f.newest.stamp > f.goal.stamp, f.newest
	}
}

// Behind is how far this site is behind at now, everything up to here being durable: not
// known where no heartbeat came for silence.
func (f Follower) Behind(now time.Duration, here wire.Stamp, silence time.Duration) Behind {
	f.advance(here)
	switch {
	case f.newest.at == 0 || now-f.newest.at > silence:
		return Behind{}
	case !f.missing:
		return Behind{Known: true}
	case !f.bounded:
		return Behind{Time: max(now-f.goal.at, time.Microsecond)}
	}
	return Behind{Known: true, Time: max(now-f.since, time.Microsecond)}
}
