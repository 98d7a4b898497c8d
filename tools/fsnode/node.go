package fsnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// ErrInUse: another process has the data directory open.
var ErrInUse = errors.New("data directory in use")

// Options of a Node. Cluster, Site and DataDir are required; what is not said
// here is as in engine.Options.
type Options struct {
	Cluster string
	Site    string
	DataDir string // created if absent; one Node at a time

	Shards   int // default 256; fixed when DataDir is created
	Listen   string
	Admin    string // where Handler is served; as in engine.Options
	Insecure bool
	Peers    []engine.Peer
	Primary  string

	SegmentBytes     int64
	WindowBytesMax   int64
	PendingBytesMax  int64
	RecentBytesMax   int64
	VerifyWait       time.Duration
	HeartbeatTimeout time.Duration
	Logger           *slog.Logger // nil = silent
	Events           func(engine.Event)
	Transport        link.Transport
	FS               vfs.FS // of the journals; nil = the operating system's
	IO               string // how links and journals are carried, as in engine.Options
	Streams          int    // connections of each dialed link, as there
	MendRate         int64  // of mendings, as there

	CacheBytes    int64            // of the namespace; default as there
	MemTableBytes int              // likewise
	Now           func() time.Time // of the namespace; nil = time.Now

	// Opening is called with the progress of Open. nil = no progress. It must not block.
	Opening func(text string)
}

const shardsDefault = 256

// Node is an open storage node. Its methods may be called by any goroutine.
type Node struct {
	engine  *engine.Engine
	store   *namespace.Store
	lock    io.Closer
	ready   readiness
	streams chan struct{} // tokens of streams of operations
	reads   chan struct{} // tokens of other requests
}

// Open opens the data directory and the engine.
func Open(ctx context.Context, o Options) (_ *Node, err error) {
	if o.DataDir == "" {
		return nil, fmt.Errorf("no data directory: %w", engine.ErrOptions)
	}
	if o.Shards == 0 {
		o.Shards = shardsDefault
	}
	if o.Shards < 0 || o.Shards > wire.ShardCountMax {
		return nil, fmt.Errorf("%d shards, allowed 1 to %d: %w", o.Shards, wire.ShardCountMax, engine.ErrOptions)
	}
	n := &Node{streams: make(chan struct{}, streamCountMax), reads: make(chan struct{}, readCountMax)}
	if n.lock, err = lockDir(o.DataDir); err != nil {
		return nil, err
	}
	if o.Opening == nil {
		o.Opening = func(string) {}
	}
	o.Opening("opening the store")
	n.store, err = namespace.Open(namespace.Options{
		Dir: filepath.Join(o.DataDir, "store"), Shards: o.Shards, CacheBytes: o.CacheBytes,
		MemTableBytes: o.MemTableBytes, Logger: o.Logger, Now: o.Now,
	})
	if err != nil {
		return nil, errors.Join(err, n.lock.Close())
	}
	n.ready.store = n.store
	n.engine, err = engine.Open(ctx, engine.Options{
		Cluster: o.Cluster, Site: o.Site, Dir: filepath.Join(o.DataDir, "repl"), Store: n.store, Shards: o.Shards,
		Listen: o.Listen, Admin: o.Admin, Insecure: o.Insecure, Peers: o.Peers, Primary: o.Primary,
		SegmentBytes: o.SegmentBytes, WindowBytesMax: o.WindowBytesMax, VerifyWait: o.VerifyWait,
		HeartbeatTimeout: o.HeartbeatTimeout, Logger: o.Logger, Events: o.Events, Transport: o.Transport, FS: o.FS,
		IO: o.IO, Streams: o.Streams, PendingBytesMax: o.PendingBytesMax, RecentBytesMax: o.RecentBytesMax,
		MendRate: o.MendRate,
		Opening: func(p engine.OpenProgress) {
			o.Opening(fmt.Sprintf("reading the %s journal: %d of %d MiB", p.Journal, p.ReadBytes>>20, p.TotalBytes>>20))
		},
	})
	if err != nil {
		return nil, errors.Join(err, n.store.Close(), n.lock.Close())
	}
	return n, nil
}

// lockDir makes dir, closes it to other users, and holds DIR/lock, which tells who
// has it.
func lockDir(dir string) (io.Closer, error) {
	if err := (vfs.OS{}).MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	name := filepath.Join(dir, "lock")
	lock, err := vfs.OS{}.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%s is open in another process (%s): %w", dir, lockHolder(name), ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := (vfs.OS{}).Tighten(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory: %w", err), lock.Close())
	}
	if err := os.WriteFile(name, fmt.Appendf(nil, "pid %d\n", os.Getpid()), vfs.PrivateFileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// lockHolder is what the holder of a lock wrote into it; the file may be gone.
func lockHolder(name string) string {
	b, _ := os.ReadFile(name) // for the text only
	if text := strings.TrimSpace(string(b)); text != "" {
		return text
	}
	return "pid unknown"
}

// Engine is the node's engine, for status; it closes with the node.
func (n *Node) Engine() *engine.Engine { return n.engine }

// Store is the node's namespace; it closes with the node.
func (n *Node) Store() *namespace.Store { return n.store }

// Close stops the engine, which flushes what was appended, then the namespace,
// and frees the directory. The listener that has the Handler should be shut
// first: requests still under way fail.
func (n *Node) Close(ctx context.Context) error {
	return errors.Join(n.engine.Close(ctx), n.store.Close(), n.lock.Close())
}

// engineLog is the engine as the namespace's Log.
type engineLog struct{ e *engine.Engine }

func (l engineLog) Append(ctx context.Context, shard wire.Shard, e *wire.Entry) (wire.Ref, error) {
	return l.e.Append(ctx, shard, e, engine.Async)
}

func (l engineLog) Wait(ctx context.Context, ref wire.Ref) error {
	return l.e.Wait(ctx, ref, engine.AppliedHere)
}
