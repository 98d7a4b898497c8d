package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/orphan"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/arena"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/engine/verify"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Names that hosts need without importing further rooms.
type (
	Entry = wire.Entry
	Op    = wire.Op
	Ref   = wire.Ref
	Shard = wire.Shard
	Store = store.Store
)

// The operations of a ClaudeFS storage node. A host may define more from
// OpHost on. Part of the format, never reuse.
const (
	OpCreate      Op = 1
	OpUnlink      Op = 2
	OpRename      Op = 3
	OpWrite       Op = 4
	OpTruncate    Op = 5
	OpSetAttr     Op = 6
	OpLink        Op = 7
	OpSymlink     Op = 8
	OpMkDir       Op = 9
	OpSetXattr    Op = 10
	OpRemoveXattr Op = 11
	OpHost        Op = 1024
)

// Errors, in four classes by the reaction they ask for.
var (
	// Retry.
	ErrBusy        = errors.New("busy")        // a bound was reached; try again
	ErrUnavailable = errors.New("unavailable") // not now: see the text for what is awaited
	// Step aside.
	ErrStandby = errors.New("this site does not write") // the text names the site that does
	// Stop the node.
	ErrDurability = errors.New("journal stopped") // a write or flush failed; outcome unknown
	ErrStopped    = errors.New("log stopped")     // damaged, diverged, or its applier stopped
	// ErrOrphaned: the entry did not survive a failover; the text names the epoch. Ask the site
	// that writes, under the same request id.
	ErrOrphaned = errors.New("the entry is an orphan")
	// The caller's fault.
	ErrOptions = errors.New("bad options")
	ErrClosed  = errors.New("engine closed")
)

// Options of an engine. Cluster, Site, Dir and Store are required.
type Options struct {
	Cluster string // name; sites of different clusters refuse one another
	Site    string // name of this site, unique in the cluster
	Dir     string // for journals; created if absent; one engine at a time
	Store   Store
	Shards  int // default 256; fixed when Dir is created, equal at all sites

	Listen   string // address for peers' links; "" = none: no site can reach this one
	Admin    string // where the host serves its HTTP API, HOST:PORT, for Hints; "" = it is not told
	Insecure bool   // links without TLS; required until TLS comes, so that nobody gets them by accident
	Peers    []Peer
	// Primary is the site that writes. Default: the one that Dir has on record; for a new
	// directory the first by name of Site and Peers, and then nothing is acknowledged before
	// every peer has agreed, unless Primary is named. One that contradicts Dir is ErrOptions.
	Primary string

	PendingBytesMax  int64         // appended, not yet durable; then Append waits; default 32 MiB
	WindowBytesMax   int64         // sent to one peer, not yet durable there; default 64 MiB
	RecentBytesMax   int64         // of each journal, kept in memory for readers; default 32 MiB
	SegmentBytes     int64         // journal segment file; default 64 MiB
	VerifyWait       time.Duration // how long appends wait after Open for every peer's word on the tail; default 3s
	HeartbeatTimeout time.Duration // default 3s
	AppendAt         bool          // the host feeds AppendAt from its own log and applies its own entries itself
	MendRate         int64         // bytes of rows a second that Mend fetches; 0 = no limit

	Logger *slog.Logger // nil = silent; of each kind of event about a peer, at most 16 a minute
	Events func(Event)  // nil = none; called by one goroutine, must not block
	// Opening is called with the progress of Open in each journal; nil = no progress. Open calls
	// it, with each mebibyte that it has read.
	Opening   func(OpenProgress)
	Transport link.Transport // nil = as IO says
	FS        vfs.FS         // nil = the operating system's, as IO says
	// IO says what carries links and reads and writes journals where Transport and
	// FS are nil. "auto", the default, takes for links RDMA where this build and
	// machine and the peer have it, else io_uring, else TCP; for journals io_uring, else
	// system calls. "rdma" and "io_uring" insist, so that Open says why not; a peer's
	// link is carried by something lesser all the same while RDMA fails. "portable" is
	// what every system has. Status tells which it is, and why.
	IO string
	// Streams is how many connections each link that this site dials has, but those
	// by RDMA; 1 to 64, default 1. Where the kernels grant a connection less than the
	// path holds (4 MiB by Linux's net.ipv4.tcp_wmem: 40 MB/s at a round trip of
	// 100 ms), several carry several times as much. Peers take any number. With a
	// Transport of the host's it is the host's business.
	Streams int
	// RDMA is for links by RDMA. Verbs nil means this machine's, which need the build
	// tag rdma; Pool and Regions are the engine's.
	RDMA rdma.Options
	// ReturnPauseMin and ReturnPauseMax bound the pauses between two tries of a better
	// transport for a peer's links: twice as long after each that fails, from the
	// first again once a link has held for ReturnPauseMax; default 1s and 1min.
	ReturnPauseMin, ReturnPauseMax time.Duration
}

// Peer is another site.
type Peer struct {
	Site  string
	Addrs []string // tried in turn
	Admin string   // where its HTTP API is, HOST:PORT, for Hints; "" = not known
}

// Event is something worth telling people; not one per entry. Of is the event with its
// facts as fields: a pointer to a type of package event; switch on it rather than on Text.
type Event struct {
	At    time.Time
	Kind  string // a kind of event.Kinds
	Peer  string
	Shard int // -1 = none
	Text  string
	Alarm bool
	Of    event.Event // shared, never changed
}

// OpenProgress is how far Open is.
type OpenProgress struct {
	Journal    string // "own" or "mirror"
	ReadBytes  int64
	TotalBytes int64
}

// Level is what an append, or Wait, waits for.
type Level struct {
	kind  levelKind
	sites int
}

type levelKind uint8

const (
	levelAsync levelKind = iota
	levelLocal
	levelDurable
	levelAppliedHere
	levelApplied
	levelHandover  // applied at the peer with this slot
	levelAdmission // of a shard: what an append waits for before it has its place
)

var (
	// Async returns as soon as the entry has its place in the log: the outcome is
	// unknown until Wait says more.
	Async = Level{levelAsync, 0}
	// Local: this site's journal is flushed.
	Local = Level{levelLocal, 0}
	// AppliedHere: this site's Store shows the effect.
	AppliedHere = Level{levelAppliedHere, 0}
)

// Durable waits until the journals of this site and k others are flushed.
func Durable(k int) Level { return Level{levelDurable, k} }

// Applied waits until the Stores of k other sites show the effect; includes
// Durable(k).
func Applied(k int) Level { return Level{levelApplied, k} }

// Engine is an open replication engine. Its methods may be called by any
// goroutine. It never logs by itself, catches signals, or exits.
type Engine struct {
	o         Options // with defaults
	id        identity
	epoch     atomic.Pointer[epochHeld]
	named     string              // Options.Primary as it was given
	lockTold  atomic.Bool         // its removal was reported
	opened    time.Time           // monotonic; the heart's clock counts from here
	recovered [2]journal.Recovery // own, mirror

	lock      io.Closer
	own       *flusher
	mirror    *flusher
	raising   atomic.Bool                   // an epoch is being taken over
	switching atomic.Bool                   // the writing is being handed over
	writer    atomic.Pointer[writer.Writer] // of the epoch held
	filling   filling                       // of the disk

	heart   heart
	shards  []shardState
	members sync.Mutex               // held while a site is taken in or given up
	table   atomic.Pointer[[]*route] // see routes
	opening []event.Event            // told once events are open
	room    roomWaiters
	waiters sync.Pool // of *waiter

	path      dataPath
	links     links
	memory    *arena.Arena
	frames    *link.Pool // of the engine's own transport; nil = the host named one
	listener  link.Listener
	appliers  *appliers
	events    events
	trail     *audit.Trail
	housework housework
	verifier  *verify.Verifier
	mending   mending
	orphans   *orphan.Keeper
	clock     clock

	// life ends when Close begins to take things down; it is the engine's own
	// context, for dials and the Store, and no caller's.
	life    context.Context
	endLife context.CancelCauseFunc
	closing atomic.Bool
	once    sync.Once
	done    chan struct{} // closed when the engine stopped, by itself or by Close
	stop    sync.Once     // closes done
	ended   chan struct{} // closed when Close has finished
	workers sync.WaitGroup

	errMu    sync.Mutex
	err      error                // why the engine stopped by itself
	storeErr [storeSync + 1]error // what fails now, and is tried again
	closeErr error
}

// peerInfo is a configured peer. No other one has its slot while it is one.
type peerInfo struct {
	site wire.SiteID
	name string
	slot int // in shardState.peers
}

// journals are the two journals of a node, in the order of Status.
func (e *Engine) journals() []*flusher { return []*flusher{e.own, e.mirror} }

// openJournal opens one of the two journals below the engine's directory.
func (e *Engine) openJournal(
	ctx context.Context, kind journal.Kind, name string, existed bool,
) (*journal.Journal, *journal.Recovery, error) {
	of := node.Own
	if kind == journal.Mirror {
		of = node.Mirror
	}
	return journal.Open(journal.Options{
		Existed: existed,
		FS:      e.o.FS, Dir: e.o.Dir + "/" + name, Kind: kind, Cluster: e.id.cluster, Site: e.id.site,
		SegmentBytes: e.o.SegmentBytes, RecentBytesMax: e.o.RecentBytesMax, Memory: e.memory,
		Left:    func() { e.housework.retain(of) },
		Damaged: func(places []journal.Damage) { e.damaged(name, places) },
		Reading: func(read, total int64) error {
			if e.o.Opening != nil {
				e.o.Opening(OpenProgress{Journal: name, ReadBytes: read, TotalBytes: total})
			}
			return ctx.Err()
		},
	})
}

// Addr is the address that peers reach this engine at; "" without Listen.
func (e *Engine) Addr() string {
	if e.listener == nil {
		return ""
	}
	return e.listener.Addr()
}

// Epoch is the epoch that this site holds. Each has one writer: what a host remembers of a shard
// beside its Store, such as what it validates appends against, ends with it.
func (e *Engine) Epoch() wire.Epoch { return e.epoch.Load().at }

// Done is closed when the engine has stopped, by Close or by itself.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err says why the engine stopped by itself; nil while it runs and after Close.
func (e *Engine) Err() error {
	e.errMu.Lock()
	defer e.errMu.Unlock()
	return e.err
}

// fail ends the engine by itself: no append can be acknowledged any more. What
// is safe goes on until Close: serving peers, mirroring, status.
func (e *Engine) fail(err error) {
	e.errMu.Lock()
	if e.err == nil {
		e.err = err
	}
	e.errMu.Unlock()
	e.stop.Do(func() { close(e.done) })
}

// storeWork is something that the Store needs, and that is tried again when it fails.
type storeWork int

const (
	storeOwn    storeWork = iota // reading the own journal for it
	storeMirror                  // reading the mirror for it
	storeSync                    // making it durable
)

// storeFailed notes that work for the Store failed, until storeWorks; the first failure
// is told.
func (e *Engine) storeFailed(work storeWork, err error) {
	e.errMu.Lock()
	first := e.storeErr[work] == nil
	e.storeErr[work] = err
	e.errMu.Unlock()
	if first {
		e.tell(&event.Failed{What: event.KindStoreFailed, Err: err})
	}
}

// storeWorks notes that work for the Store was done.
func (e *Engine) storeWorks(work storeWork) {
	e.errMu.Lock()
	before := e.storeErr[work]
	e.storeErr[work] = nil
	e.errMu.Unlock()
	if before != nil {
		e.tell(&event.Works{What: event.KindStoreRecovered, Was: before})
	}
}

// Close stops taking appends, flushes what was appended, ends the sessions and
// closes the journals. Any number of calls; all wait. When ctx ends first, the
// closing goes on, and Close says so. The Store stays the host's.
func (e *Engine) Close(ctx context.Context) error {
	e.once.Do(func() {
		e.closing.Store(true)
		go e.shutdown() // Ends when everything else has.
	})
	select {
	case <-e.ended:
		e.errMu.Lock()
		defer e.errMu.Unlock()
		return e.closeErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shutdown takes everything down in the reverse order of use: what makes work
// first, the journals that take it last.
func (e *Engine) shutdown() {
	e.own.drain() // What was appended becomes durable, if it still can.
	e.heart.mu.Lock()
	e.heart.recorded.Broadcast()
	e.heart.mu.Unlock()
	e.stop.Do(func() { close(e.done) })
	e.endLife(ErrClosed)
	if e.listener != nil {
		e.listener.Close()
	}
	e.mirror.unblock()
	for _, r := range e.routes() {
		r.end()
	}
	e.links.closeAll()
	e.verifier.Close() // It reads the journals, and the Store that the host may close next.
	e.clock.end()
	e.workers.Wait()
	e.appliers.end()
	e.own.end()
	e.mirror.end()
	e.events.end()
	e.trail.Close()
	err := e.closeFiles()
	e.errMu.Lock()
	e.closeErr = err
	e.errMu.Unlock()
	close(e.ended)
}

// closeFiles closes the journals and gives the directory back.
func (e *Engine) closeFiles() error {
	var faults []error
	for _, f := range e.journals() {
		if f != nil && f.j.Err() == nil {
			faults = append(faults, f.j.Close())
		} else if f != nil {
			f.j.Close() // Its own failure was reported; this releases the files.
		}
	}
	// The kernel must not see memory any more that is given back below.
	faults = append(faults, e.path.close())
	if w := e.writer.Load(); w != nil {
		w.Close()
	}
	if e.frames != nil {
		e.frames.Drain()
	}
	if e.memory != nil {
		faults = append(faults, e.memory.Close())
	}
	faults = append(faults, e.lock.Close())
	return errors.Join(faults...)
}
