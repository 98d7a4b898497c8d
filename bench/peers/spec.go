package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// What all contenders of all rows share.
const (
	windowBytes   = 16 << 20
	congestion    = "cubic"
	coalesceBytes = 64 << 10
	shardCount    = 256
)

// mode is what a pair of processes does.
type mode string

const (
	modeStream mode = "stream" // as many records as possible
	modeTrip   mode = "trip"   // one record at a time, the next after its answer
	modeOpen   mode = "open"   // records at a fixed rate, due when they are due
)

// spec tells a child what to do. It travels as JSON in the child's arguments.
type spec struct {
	Row         string
	Contender   string
	Mode        mode
	RecordBytes int
	FrameBytes  int    // records are gathered into frames of this size; RecordBytes: one each
	Log         bool   // a log at both ends, answers after it; engines and streams keep theirs by themselves
	Durable     bool   // on the disk, each flush waited for; else in memory
	Portable    bool   // engines without io_uring
	Dir         string // the child's own; journals, logs
	Addr        string // the receiver's, for the sender
	Duration    time.Duration
	Warm        time.Duration
	Rate        int    // records a second, of modeOpen
	Profiles    string // directory for a CPU profile of each process; "" = none
}

// window is how many records may be sent and not answered for.
func (s *spec) window() uint64 { return uint64(max(2, windowBytes/s.RecordBytes)) }

// measure is what one child, or one pair of them, did while the clock ran.
type measure struct {
	Records  uint64        `json:"records"`
	Bytes    uint64        `json:"bytes"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	CPU      time.Duration `json:"cpu_ns"`
	Mallocs  uint64        `json:"mallocs"`
	Switches int64         `json:"switches"` // of threads, voluntary and not
	P50      time.Duration `json:"p50_ns,omitempty"`
	P99      time.Duration `json:"p99_ns,omitempty"`
	P999     time.Duration `json:"p999_ns,omitempty"`
	Max      time.Duration `json:"max_ns,omitempty"`
	Sockets  int           `json:"sockets"` // that were found on the congestion control asked for
	Note     string        `json:"note,omitempty"`

	// Of a ring, at this end and at the receiver's; 0 without one.
	Ring    ringCount `json:"ring"`
	FarRing ringCount `json:"far_ring"`
}

// ringCount is what a ring has done.
type ringCount struct {
	Enters uint64 `json:"enters"` // system calls
	Wakes  uint64 `json:"wakes"`  // system calls of others that ended its sleep
}

func (c ringCount) since(before ringCount) ringCount {
	return ringCount{c.Enters - before.Enters, c.Wakes - before.Wakes}
}

// ringed is a sender or receiver that has a ring.
type ringed interface{ ring() ringCount }

func ringOf(x any) ringCount {
	if r, ok := x.(ringed); ok {
		return r.ring()
	}
	return ringCount{}
}

// usage is what the process has used so far.
type usage struct {
	at       time.Time
	cpu      time.Duration
	mallocs  uint64
	switches int64
}

func (m *measure) between(a, b usage) {
	m.Elapsed = b.at.Sub(a.at)
	m.CPU = b.cpu - a.cpu
	m.Mallocs = b.mallocs - a.mallocs
	m.Switches = b.switches - a.switches
}

func cpuOf(r *unix.Rusage) time.Duration {
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// MBps is payload in 10^6 bytes a second.
func (m *measure) MBps() float64 { return float64(m.Bytes) / 1e6 / m.Elapsed.Seconds() }

// PerSecond is records a second.
func (m *measure) PerSecond() float64 { return float64(m.Records) / m.Elapsed.Seconds() }

// CPUPerGB is processor seconds for 10^9 bytes of payload.
func (m *measure) CPUPerGB() float64 { return m.CPU.Seconds() / (float64(m.Bytes) / 1e9) }

// CPUPerRecord is processor microseconds for a record.
func (m *measure) CPUPerRecord() float64 {
	return float64(m.CPU.Nanoseconds()) / 1e3 / float64(m.Records)
}
