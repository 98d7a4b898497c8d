package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
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
// OpHost on.
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
	Insecure bool   // links without TLS; required until TLS comes, so that nobody gets them by accident
	Peers    []Peer
	Primary  string // the site that writes; default: the first by name of Site and Peers; equal at all sites

	PendingBytesMax  int64         // appended, not yet durable; then Append waits; default 32 MiB
	WindowBytesMax   int64         // sent to one peer, not yet durable there; default 64 MiB
	SegmentBytes     int64         // journal segment file; default 64 MiB
	VerifyWait       time.Duration // how long appends wait after Open for a peer to confirm the tail; default 3s
	HeartbeatTimeout time.Duration // default 3s
	AppendAt         bool          // the host feeds AppendAt from its own log and applies its own entries itself

	Logger    *slog.Logger   // nil = silent
	Events    func(Event)    // nil = none; called by one goroutine, must not block
	Transport link.Transport // nil = the best this machine offers: today tcp
	FS        vfs.FS         // nil = the operating system's
}

// Peer is another site.
type Peer struct {
	Site  string
	Addrs []string // tried in turn
}

// Event is something worth telling people; not one per entry.
type Event struct {
	At    time.Time
	Kind  string
	Peer  string
	Shard int // -1 = none
	Text  string
	Alarm bool
}

// Level is what an append, or Wait, waits for.
type Level struct {
	kind  uint8
	sites int
}

var (
	// Async returns as soon as the entry has its place in the log: the outcome is
	// unknown until Wait says more.
	Async = Level{0, 0}
	// Local: this site's journal is flushed.
	Local = Level{1, 0}
	// AppliedHere: this site's Store shows the effect.
	AppliedHere = Level{3, 0}
)

// Durable waits until the journals of this site and k others are flushed.
func Durable(k int) Level { return Level{2, k} }

// Applied waits until the Stores of k other sites show the effect; includes
// Durable(k).
func Applied(k int) Level { return Level{4, k} }

// Engine is an open replication engine. Its methods may be called by any
// goroutine. It never logs by itself, catches signals, or exits.
type Engine struct{ unwritten int }

// Open validates o, opens the journals, redoes what the Store lacks, starts
// replication, and returns when appends may begin or are being verified.
func Open(ctx context.Context, o Options) (*Engine, error) { panic("unwritten") }

// Validate reports all faults of o at once.
func (o *Options) Validate() error { panic("unwritten") }

// Append puts e into this site's log of shard and waits for level. e's slices
// are the caller's again when it returns. An error, or a crash before it
// returns, leaves the outcome unknown, except ErrStandby, ErrOptions, ErrBusy,
// ErrUnavailable and wire.ErrLimit, which mean that nothing was done.
func (e *Engine) Append(ctx context.Context, shard Shard, entry *Entry, level Level) (Ref, error) {
	panic("unwritten")
}

// AppendAt is Append for a host with its own log (Raft): index is the host's
// index of the entry and rises. An index at or below LastIndex is not appended
// again: held is true.
func (e *Engine) AppendAt(ctx context.Context, shard Shard, index uint64, entry *Entry, level Level) (ref Ref, held bool, err error) {
	panic("unwritten")
}

// LastIndex is the last durable host index of the shard; the host keeps its own
// log from there on.
func (e *Engine) LastIndex(shard Shard) uint64 { panic("unwritten") }

// Wait waits until ref is at level.
func (e *Engine) Wait(ctx context.Context, ref Ref, level Level) error { panic("unwritten") }

// Status is one snapshot: command line, HTTP API, metrics and health print it.
func (e *Engine) Status() Status { panic("unwritten") }

// Addr is the address that peers reach this engine at; "" without Listen.
func (e *Engine) Addr() string { panic("unwritten") }

// Done is closed when the engine has stopped, by Close or by itself.
func (e *Engine) Done() <-chan struct{} { panic("unwritten") }

// Err says why the engine stopped by itself; nil while it runs and after Close.
func (e *Engine) Err() error { panic("unwritten") }

// Close stops taking appends, flushes what was appended, ends the sessions and
// closes the journals. Any number of calls; all wait. The Store stays the
// host's.
func (e *Engine) Close(ctx context.Context) error { panic("unwritten") }
