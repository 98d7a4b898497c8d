package rdma

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const (
	ringBytesDefault    = 8 << 20
	stageBytesDefault   = 2 << 20
	stageBytesMin       = 64 << 10
	queueDefault        = 256
	landBytesDefault    = 16 << 10
	ackTimeoutDefault   = 500 * time.Millisecond
	retriesDefault      = 7
	rnrTimerDefault     = 10 * time.Millisecond
	rnrRetriesDefault   = 6
	handshakeMaxDefault = 10 * time.Second
	drainMaxDefault     = time.Second
	inlineBytesWanted   = 256
	partsWanted         = 16
	regionsMax          = 16
	completionsPerPoll  = 32
	signalEvery         = 16 // sends
	sendsKeptForNotices = 8
	lendBytesMin        = 1 << 10 // smaller parts are cheaper to copy than to gather
)

// Options configures a Transport. Only Verbs has no default.
type Options struct {
	// Verbs finds the device. Device says which one; the zero value chooses.
	Verbs  Verbs
	Device DeviceName
	// RingBytes is what each link registers for the peer's frames to land in; 4 MiB to
	// 1 GiB, a multiple of 4 KiB; 0 means 8 MiB. Where that much cannot be registered, a
	// link takes half as often as it must, down to 4 MiB; Stats says what was missing.
	RingBytes int
	// StageBytes is what each link registers for what it must copy before it is sent; at
	// least 64 KiB; 0 means 2 MiB. Halved like RingBytes.
	StageBytes int
	// Queue is how many messages each end may have under way: receives posted and sends
	// queued; 32 to 16384; 0 means 256. The device may have less.
	Queue int
	// LandBytesMin is the smallest frame that is handed out where it landed; a shorter
	// one is copied to Pool's memory, so that an ack which somebody keeps does not hold
	// up the ring. 0 means 16 KiB. With more than wire.FrameBytesMax everything is copied.
	LandBytesMin int
	// Regions is memory off the Go heap that callers of SendLent send from: at most 16,
	// mapped for as long as any link lives. Each link that was dialed registers them in
	// its domain, so they count against RLIMIT_MEMLOCK once per link; one that cannot be
	// registered is copied from, and Stats says so. Accepted links copy: who sends much,
	// dials.
	Regions [][]byte
	// AckTimeout and Retries say when an unanswered packet is sent again, and how often;
	// 0 means 500 ms and 7, together 4 s.
	AckTimeout time.Duration
	Retries    uint8
	// RNRTimer and RNRRetries: the same where the peer has no receive posted, which
	// credits make impossible; 0 means 10 ms and 6.
	RNRTimer   time.Duration
	RNRRetries uint8
	// HandshakeMax bounds a peer's setup; 0 means 10 s.
	HandshakeMax time.Duration
	// DrainMax bounds how long Close waits for the peer's device to take what was sent,
	// and a receiver for what a closed peer has sent; 0 means 1 s.
	DrainMax time.Duration
	// DeadAfter and Congestion are those of package tcp, for the control connection.
	DeadAfter  time.Duration
	Congestion string
	// Pool lends the memory of frames that are copied. Nil: the transport has its own.
	Pool *link.Pool
	// NoSpin: completions are waited for at once, where they are else looked for up to
	// 20 µs, as long as that pays.
	NoSpin bool
}

// Validate reports all faults at once.
func (o *Options) Validate() error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(o.Verbs == nil, "no Verbs")
	ring := cmp.Or(o.RingBytes, ringBytesDefault)
	refuse(ring < ringBytesMin || ring > ringBytesMax || ring%ringAlign != 0,
		"RingBytes %d is not a multiple of %d from %d to %d", ring, ringAlign, ringBytesMin, ringBytesMax)
	stage := cmp.Or(o.StageBytes, stageBytesDefault)
	refuse(stage < stageBytesMin || stage > ringBytesMax || stage%ringAlign != 0,
		"StageBytes %d is not a multiple of %d from %d to %d", stage, ringAlign, stageBytesMin, ringBytesMax)
	queue := cmp.Or(o.Queue, queueDefault)
	refuse(queue < receivesMin || queue > receivesMax, "Queue %d is not from %d to %d", queue, receivesMin, receivesMax)
	refuse(o.LandBytesMin < 0, "LandBytesMin %d", o.LandBytesMin)
	refuse(len(o.Regions) > regionsMax, "%d Regions, at most %d", len(o.Regions), regionsMax)
	refuse(o.Retries > 7, "Retries %d, at most 7", o.Retries)
	refuse(o.RNRRetries > 7, "RNRRetries %d, at most 7", o.RNRRetries)
	for _, d := range []time.Duration{o.AckTimeout, o.RNRTimer, o.HandshakeMax, o.DrainMax} {
		refuse(d < 0, "a duration of %v", d)
	}
	s := o.socket()
	faults = append(faults, s.Validate())
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("rdma: %w", err)
	}
	return nil
}

func (o *Options) socket() socket.Options {
	return socket.Options{Congestion: o.Congestion, DeadAfter: o.DeadAfter}
}

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	o.RingBytes = cmp.Or(o.RingBytes, ringBytesDefault)
	o.StageBytes = cmp.Or(o.StageBytes, stageBytesDefault)
	o.Queue = cmp.Or(o.Queue, queueDefault)
	o.LandBytesMin = min(cmp.Or(o.LandBytesMin, landBytesDefault), wire.FrameBytesMax+1)
	o.AckTimeout = cmp.Or(o.AckTimeout, ackTimeoutDefault)
	o.Retries = cmp.Or(o.Retries, retriesDefault)
	o.RNRTimer = cmp.Or(o.RNRTimer, rnrTimerDefault)
	o.RNRRetries = cmp.Or(o.RNRRetries, rnrRetriesDefault)
	o.HandshakeMax = cmp.Or(o.HandshakeMax, handshakeMaxDefault)
	o.DrainMax = cmp.Or(o.DrainMax, drainMaxDefault)
	o.DeadAfter = cmp.Or(o.DeadAfter, socket.DeadAfterDefault)
	if o.Pool == nil {
		o.Pool = new(link.Pool)
	}
	return o
}
