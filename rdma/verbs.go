package rdma

import (
	"errors"
	"fmt"
	"time"
)

// What the link asks of RDMA verbs. device_rdma.go implements it over libibverbs
// (tag rdma; see System), fakeverbs in memory; verbstest holds both to the same suite.
//
//	Verbs.Open ─▶ Device ─ OpenDomain ──────▶ Domain ─ Register ──────▶ Region
//	                │                            └──── OpenQueuePair ─▶ QueuePair
//	                └──── OpenCompletionQueue ▶ CompletionQueue ◀── completions
//
// Rules for all of it:
//
//   - Ownership. Who opened a thing closes it, once, in the opposite order: queue
//     pairs, then regions and completion queues, then the domain, then the device.
//     Closing what still has children fails with ErrInUse and changes nothing;
//     a second Close returns nil and does nothing. A Close gives the object back
//     even where it reports an error other than ErrInUse.
//   - Concurrency. Methods of Verbs and Device may be called by any goroutine, and
//     so may Register and OpenQueuePair. PostSends, PostReceives and Fail of one
//     queue pair may be called by different goroutines at the same time: the
//     implementation locks, or the driver does. Poll, Arm and Wait of one
//     completion queue are for one goroutine at a time; Wake and a queue pair's
//     Fail are for any. Nobody calls a method of what somebody closes meanwhile.
//   - Memory. Every slice given to Register or named in an SGE lies off the Go heap
//     (mmap), inline or not, and stays mapped until the region is closed: no Go
//     pointer ever reaches the device. The slices of SGEs, Sends and Receives
//     themselves are the caller's again when the call returns.
//   - Errors wrap the system's errno where there is one (ENOMEM for a register that
//     exceeds RLIMIT_MEMLOCK), and one of the sentinels below where that fits.
var (
	// ErrUnsupported: this build or this machine has no verbs. The text says what is
	// missing: the tag, the package, the kernel module, a device.
	ErrUnsupported = errors.New("rdma not supported")
	// ErrInUse: Close of an object that others were opened from.
	ErrInUse = errors.New("in use")
	// ErrDeviceGone: the device was removed or failed; nothing of it works any more,
	// except to close it.
	ErrDeviceGone = errors.New("rdma device gone")
	// ErrState: the queue pair's state does not allow the call.
	ErrState = errors.New("not allowed in the queue pair's state")
	// ErrFull: the queue has no room for the rest of the list.
	ErrFull = errors.New("queue full")
	// ErrNoImmediate: the device refuses OpWriteImm (iWARP does). Capabilities
	// tells before; where a driver finds out only when asked, PostSends says so.
	ErrNoImmediate = errors.New("write with immediate refused")
	// ErrOverrun: more completions came than the completion queue holds. It is dead,
	// and so are the queue pairs that complete to it.
	ErrOverrun = errors.New("completion queue overrun")
)

// Verbs finds devices.
type Verbs interface {
	// Devices lists the names of what is there, sorted; none is not an error.
	Devices() ([]string, error)
	// Open opens a device for one port and one GID. Zero fields of which choose: the
	// first device with an active port, its first active port, its first RoCE v2 GID
	// over IPv4, or else GID 0. The error wraps ErrUnsupported where nothing fits.
	Open(which DeviceName) (Device, error)
}

// DeviceName says which device, port and GID to use.
type DeviceName struct {
	Device   string // "rxe0"; empty = the first that is active
	Port     uint8  // from 1; 0 = the first that is active
	GIDIndex int    // meaningful with HasGID
	HasGID   bool   // false = choose
	// GID, where not zero, asks for the index that has this address instead.
	GID GID
}

// GID is a port's global address: for RoCE v2 an IP address, mapped where it is v4.
type GID [16]byte

// Device is one opened device, with one port of it.
type Device interface {
	// Capabilities never change while the device is open.
	Capabilities() Capabilities
	OpenDomain() (Domain, error)
	// OpenCompletionQueue makes one that holds at least capacity completions, with a
	// channel of its own to wait on.
	OpenCompletionQueue(capacity int) (CompletionQueue, error)
	// NextEvent waits for the next asynchronous event, for one goroutine at a time.
	// It acknowledges it at once, so that no Close waits for the caller. After
	// StopEvents it returns an error that wraps net.ErrClosed.
	NextEvent() (Event, error)
	// StopEvents unblocks NextEvent, for good. Any goroutine, any number of times.
	StopEvents()
	// RNRCount is how many receiver-not-ready answers the port has sent or got since
	// it was made, where the driver counts them (sysfs hw_counters).
	RNRCount() (count uint64, known bool)
	Close() error
}

// Capabilities are a device's and its port's limits.
type Capabilities struct {
	Device      string
	Port        uint8
	GID         GID
	GIDIndex    int
	LID         uint16 // 0 on Ethernet
	MTUBytes    int    // the port's active one: 256 … 4096
	Immediate   bool   // OpWriteImm works
	InlineMax   int    // bytes of an inline send; what OpenQueuePair was asked for may be less
	SendsMax    int    // send queue entries per queue pair
	ReceivesMax int    // receive queue entries per queue pair
	PartsMax    int    // SGEs of one send, ≥ 1
	CompleteMax int    // completion queue entries
}

// Domain is a protection domain: keys of one are worth nothing to the queue pairs
// of another. A link has one of its own.
type Domain interface {
	// Register pins memory, all of it or none, and lends the device these rights. The
	// error wraps syscall.ENOMEM where RLIMIT_MEMLOCK or memory is short.
	Register(memory []byte, access Access) (Region, error)
	OpenQueuePair(o QueuePairOptions) (QueuePair, error)
	Close() error
}

// Access is what a device may do with a region, beyond reading it locally.
type Access uint8

const (
	// LocalWrite: receives may land in it.
	LocalWrite Access = 1 << iota
	// RemoteWrite: who has the key and is connected to a queue pair of the domain may
	// write it. It needs LocalWrite. Nobody may ever read a region remotely.
	RemoteWrite
)

// Region is registered memory. When Close returns, no write by its key lands any
// more: a later one is refused, and breaks the queue pair that tried.
type Region interface {
	LocalKey() uint32
	RemoteKey() uint32
	// Address is what the peer adds its offset to.
	Address() uint64
	Close() error
}

// QueuePairOptions: all reliable connected.
type QueuePairOptions struct {
	// Completions gets the completions of sends and receives alike. It outlives the
	// queue pair, and has room for SendsMax + ReceivesMax of each pair that uses it.
	Completions CompletionQueue
	SendsMax    int    // entries of the send queue
	ReceivesMax int    // entries of the receive queue
	PartsMax    int    // SGEs of one send; a receive has one at most
	InlineBytes int    // of one inline send; ≤ Capabilities.InlineMax
	PSN         uint32 // own first packet sequence number; 24 bits
	// AckTimeout is how long a packet may stay unacknowledged before it is sent again;
	// rounded up to what the device can count. Retries (0…7) is how often.
	AckTimeout time.Duration
	Retries    uint8
	// RNRTimer is what this end asks of a peer that found no receive posted; RNRRetries
	// (0…6, 7 = no limit) is how often this end tries again.
	RNRTimer   time.Duration
	RNRRetries uint8
}

// Identity is what the peer must know to connect its queue pair to this one.
type Identity struct {
	QPN      uint32 // 24 bits
	PSN      uint32 // 24 bits
	GID      GID
	LID      uint16
	MTUBytes int
}

// QueuePair moves data, in order. OpenQueuePair returns it in state INIT.
//
//	INIT ─ ReadyToReceive ─▶ RTR ─ ReadyToSend ─▶ RTS ─ Fail, or any error ─▶ ERR
//
// Receives may be posted from INIT on, sends from RTS on. In ERR whatever is
// queued, and whatever is posted, completes with StatusFlushed.
type QueuePair interface {
	// Identity of this end.
	Identity() Identity
	// Inline is how many bytes an inline send may have: what was asked for, or more.
	Inline() int
	// ReadyToReceive connects to the peer; the path's MTU is the lesser one's.
	// RemoteWrite to this end's regions works from here on. ErrState but in INIT.
	ReadyToReceive(peer Identity) error
	// ReadyToSend lets sends go. ErrState but in RTR.
	ReadyToSend() error
	// PostSends queues a list, in order, with one crossing. It returns how many were
	// queued: with a nil error all of them, else those before the one at fault.
	PostSends(list []Send) (int, error)
	// PostReceives does the same for receives.
	PostReceives(list []Receive) (int, error)
	// Fail moves to ERR, from any state, any number of times. When it returns the peer
	// can write nothing more through this pair.
	Fail() error
	// Close destroys the pair. Completions of its that nobody polled yet are gone.
	Close() error
}

// Op is what a send does. All of them are in order, on one queue pair.
type Op uint8

const (
	// OpWrite writes into the peer's region; the peer gets no notification.
	OpWrite Op = iota + 1
	// OpWriteImm writes into the peer's region, takes one receive of the peer's, and
	// completes it with Imm and the length that was written.
	OpWriteImm
	// OpSend lands in the memory of the peer's next receive.
	OpSend
)

// SGE is a piece of memory and the region's key that covers it.
type SGE struct {
	Bytes []byte
	Key   uint32 // Region.LocalKey; ignored with Inline
}

// Send is one entry of a send queue.
type Send struct {
	ID        uint64 // comes back in the completion
	Op        Op
	Signalled bool   // completes on success too; errors always complete
	Inline    bool   // the bytes are copied while they are posted, and free afterwards
	Parts     []SGE  // gathered; none = no bytes
	Remote    uint64 // Region.Address plus offset at the peer; not for OpSend
	RemoteKey uint32 // not for OpSend
	Imm       uint32 // OpWriteImm: in the host's byte order at both ends
}

// Receive is one entry of a receive queue.
type Receive struct {
	ID   uint64
	Part SGE // where an OpSend lands; may be empty, an OpWriteImm leaves it alone
}

// Completion tells how an entry ended. Only ID, QPN and Status are meaningful
// when Status is not StatusSuccess.
type Completion struct {
	ID     uint64
	QPN    uint32
	Status Status
	Kind   CompletionKind
	Bytes  uint32 // received: the length of what was sent or written
	Imm    uint32 // CompletedReceiveImm
	Vendor uint32 // the vendor's code of a failure, for the text
}

// CompletionKind tells entries apart.
type CompletionKind uint8

const (
	CompletedSend       CompletionKind = iota + 1 // of any Op
	CompletedReceive                              // by the peer's OpSend
	CompletedReceiveImm                           // by the peer's OpWriteImm
)

// CompletionQueue collects completions; those of one queue pair stay in order.
type CompletionQueue interface {
	// Number is what events name this queue by.
	Number() uint32
	// Poll moves up to len(into) completions and returns how many. It never waits.
	// An error means that the queue is dead (ErrOverrun, ErrDeviceGone).
	Poll(into []Completion) (int, error)
	// Arm asks for one notification: at the next completion that arrives from now on.
	// An earlier one gives no notification, so poll once more between Arm and Wait.
	Arm() error
	// Wait blocks until the notification that Arm asked for, or Wake. It may also
	// return for nothing. After Wake it never blocks again. It holds no thread.
	Wait() error
	// Wake unblocks Wait, now and for good. Any goroutine, any number of times.
	Wake()
	Close() error
}

// Event is asynchronous: about a device, a port, a queue pair or a completion queue.
type Event struct {
	Kind   EventKind
	Number uint32 // QPN, or CompletionQueue.Number
	Text   string // the verb's own name of it
}

// EventKind tells what an Event is about.
type EventKind uint8

const (
	EventOther       EventKind = iota // of no consequence: GID change, communication established, …
	EventDeviceFatal                  // the device is gone
	EventPortDown
	EventPortUp
	EventQueuePair   // a queue pair failed: Number is its QPN
	EventCompletions // a completion queue failed: Number is its number
)

// Status is how an entry ended. The values are those of ibv_wc_status.
type Status uint8

const (
	StatusSuccess       Status = 0
	StatusLocalLength   Status = 1
	StatusLocalQP       Status = 2
	StatusLocalProtect  Status = 4
	StatusFlushed       Status = 5
	StatusBadResponse   Status = 7
	StatusLocalAccess   Status = 8
	StatusRemoteInvalid Status = 9
	StatusRemoteAccess  Status = 10
	StatusRemoteOp      Status = 11
	StatusRetryExceeded Status = 12
	StatusRNRExceeded   Status = 13
	StatusRemoteAborted Status = 16
	StatusFatal         Status = 19
	StatusTimeout       Status = 20
	StatusGeneral       Status = 21
)

var statusNames = map[Status]string{
	StatusSuccess: "success", StatusLocalLength: "local length error", StatusLocalQP: "local queue pair error",
	StatusLocalProtect: "local protection error", StatusFlushed: "flushed", StatusBadResponse: "bad response",
	StatusLocalAccess: "local access error", StatusRemoteInvalid: "remote invalid request",
	StatusRemoteAccess: "remote access error", StatusRemoteOp: "remote operation error",
	StatusRetryExceeded: "transport retry exceeded", StatusRNRExceeded: "receiver-not-ready retry exceeded",
	StatusRemoteAborted: "remote aborted", StatusFatal: "fatal error", StatusTimeout: "response timeout",
	StatusGeneral: "general error",
}

// String is the status in words, with the verbs' number.
func (s Status) String() string {
	if name := statusNames[s]; name != "" {
		return name
	}
	return fmt.Sprintf("completion status %d", uint8(s))
}
