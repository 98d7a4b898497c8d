package powerloss

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

const (
	cluster      = "powerloss"
	source       = "site-a"
	mirror       = "site-b"
	shards       = 4
	writers      = 16      // of each shard's four
	segmentBytes = 4 << 20 // the least: segments end, and are recycled, in a short run
	payloadHead  = 12      // writer and number
	payloadMax   = 6000
	largeEvery   = 64 // appends of a writer between two large payloads
	largeBytes   = 60_000
)

// loadOptions of a load.
type loadOptions struct {
	Dir    string                `json:"dir"`    // on the device under test; the sites live below it
	Ledger string                `json:"ledger"` // elsewhere
	IO     string                `json:"io"`     // engine.Options.IO
	FS     vfs.FS                `json:"-"`      // nil = as IO says
	Watch  func(lines int) error `json:"-"`      // called with the number of lines that count from now on
	Mark   string                `json:"mark"`   // a device of dm-log-writes that is informed as well; "" = none
}

// load runs two sites of one cluster and appends at the first until ctx ends or
// something fails. What it promised is in the ledger: a line of an entry only
// after the engine answered.
func load(ctx context.Context, o loadOptions) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, err := openLedger(o.Ledger, o.Watch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	b, err := openSite(ctx, o, mirror, "127.0.0.1:0", "", newFloored(mirror, l))
	if err != nil {
		return err
	}
	defer b.Close(context.Background())
	a, err := openSite(ctx, o, source, "", b.Addr(), newFloored(source, l))
	if err != nil {
		return err
	}
	defer a.Close(context.Background())
	var group sync.WaitGroup
	for w := range uint32(writers) {
		group.Go(func() { cancel(write(ctx, a, l, w)) })
	}
	group.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func openSite(ctx context.Context, o loadOptions, site, listen, peer string, st store.Store) (*engine.Engine, error) {
	options := engine.Options{
		Cluster: cluster, Site: site, Dir: filepath.Join(o.Dir, site), Shards: shards, Listen: listen, Insecure: true,
		Primary: source, SegmentBytes: segmentBytes, PendingBytesMax: 4 << 20, RecentBytesMax: 4 << 20,
		WindowBytesMax: 2 << 20, IO: o.IO, FS: o.FS, Store: st,
		HeartbeatTimeout: time.Minute, // an emulated machine stands still now and then
		Peers:            []engine.Peer{{Site: mirror, Addrs: []string{peer}}},
	}
	if site == mirror {
		options.Peers = []engine.Peer{{Site: source}}
	}
	return engine.Open(ctx, options)
}

// write appends to one shard, each entry after the promise of the one before.
func write(ctx context.Context, e *engine.Engine, l *ledger, writer uint32) error {
	r := rand.New(rand.NewPCG(uint64(writer), 1))
	shard := wire.Shard(writer % shards)
	payload := make([]byte, largeBytes)
	for number := uint64(1); ctx.Err() == nil; number++ {
		size := payloadHead + r.IntN(payloadMax-payloadHead)
		if number%largeEvery == 0 {
			size = largeBytes
		}
		owner{writer, number}.put(payload)
		entry := engine.Entry{
			Op: engine.OpHost, Keys: [][]byte{fmt.Appendf(nil, "writer %d key %d", writer, number%100)},
			Payload: payload[:size],
		}
		p := promise{level: local, shard: shard, writer: writer, number: number}
		want := engine.Local
		if number%3 == 0 {
			p.level, want = durable, engine.Durable(1)
		}
		ref, err := e.Append(ctx, shard, &entry, want)
		if err != nil {
			return err
		}
		p.inc, p.seq = ref.Incarnation, ref.Seq
		if err := l.write(note{promise: &p}); err != nil {
			return err
		}
	}
	return nil
}

// floored is a Store that flushes late, and notes what it tells the engine to be
// durable before the engine can give segments back for it. Its own state is in
// memory: it is the journals that are tried.
type floored struct {
	*store.Mem
	site string
	l    *ledger

	mu   sync.Mutex
	late map[wire.Shard][][]store.Cursor // what Durable will answer, oldest first
}

func newFloored(site string, l *ledger) *floored {
	return &floored{Mem: store.NewMem(), site: site, l: l, late: map[wire.Shard][][]store.Cursor{}}
}

// lateBy is by how many flushes a Store's word is late: journals keep more.
const lateBy = 3

// Durable implements store.Store.
func (s *floored) Durable(shard wire.Shard) ([]store.Cursor, error) {
	now, err := s.Mem.Durable(shard)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	late := append(s.late[shard], now)
	if len(late) <= lateBy {
		s.late[shard] = late
		return nil, nil
	}
	cursors := late[0]
	s.late[shard] = late[1:]
	notes := make([]note, 0, len(cursors))
	for _, c := range cursors {
		notes = append(notes, note{floor: &floor{s.site, c.Log, c.Position.Incarnation, c.Position.Seq}})
	}
	return cursors, s.l.write(notes...)
}
