package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

const (
	siteFrom = "from"
	siteTo   = "to"
	// checkpointBytes is how much is appended between two entries that the
	// contender waits for; a checkpoint's answer speaks for what came before it.
	checkpointBytes = windowBytes / 64
)

// checkStore is the receiving host: it checks the number of each record and keeps
// cursors, which is what the other contenders do with what they receive.
type checkStore struct {
	*store.Mem
	recordBytes int

	mu     sync.Mutex
	shards []checkedShard
	taken  uint64
	err    error
}

type checkedShard struct {
	last   uint64 // number of the shard's last record
	stride uint64 // between two of the shard's records; learned from the first two
	cursor store.Cursor
	set    bool
}

func newCheckStore(recordBytes int) *checkStore {
	return &checkStore{Mem: store.NewMem(), recordBytes: recordBytes, shards: make([]checkedShard, shardCount)}
}

func (s *checkStore) Apply(_ context.Context, c *store.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := &s.shards[c.Shard]
	for i := range c.Effects {
		payload := c.Effects[i].Payload
		if len(payload) != s.recordBytes {
			s.err = fmt.Errorf("a record of %d bytes", len(payload))
			return s.err
		}
		got := number(payload)
		if shard.last != 0 && shard.stride == 0 {
			shard.stride = got - shard.last
		}
		if shard.last != 0 && (got != shard.last+shard.stride || shard.stride == 0) {
			s.err = fmt.Errorf("shard %d: record %d arrived behind %d", c.Shard, got, shard.last)
			return s.err
		}
		shard.last = got
	}
	s.taken += uint64(len(c.Effects))
	shard.cursor, shard.set = c.Cursors[0], true
	return nil
}

func (s *checkStore) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shards[shard].set {
		return nil, nil
	}
	return []store.Cursor{s.shards[shard].cursor}, nil
}

// Durable is Cursors: the store lives as long as its process, and the rows ask
// for durable journals, not for a durable host.
func (s *checkStore) Durable(shard wire.Shard) ([]store.Cursor, error) { return s.Cursors(shard) }

func (s *checkStore) Sync(context.Context) error { return nil }

func engineOptions(s *spec, site, peer string) engine.Options {
	return engine.Options{
		Cluster: "bench", Site: site, Primary: siteFrom, Dir: filepath.Join(s.Dir, "journal"),
		Store: newCheckStore(s.RecordBytes), Shards: shardCount,
		Insecure: true, Peers: []engine.Peer{{Site: peer}}, WindowBytesMax: windowBytes,
		AppendAt: site == siteFrom, IO: ioOf(s),
	}
}

// ioOf is Options.IO: its default, or the portable way.
func ioOf(s *spec) string {
	if s.Portable {
		return "portable"
	}
	return ""
}

type engineReceiver struct {
	*engine.Engine
	store *checkStore
}

func receiveEngine(ctx context.Context, s *spec) (receiver, error) {
	o := engineOptions(s, siteTo, siteFrom)
	o.Listen = "127.0.0.1:0"
	e, err := engine.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &engineReceiver{e, o.Store.(*checkStore)}, nil
}

func (r *engineReceiver) addr() string { return r.Addr() }

func (r *engineReceiver) records() (uint64, error) {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	if r.store.err != nil {
		return 0, r.store.err
	}
	return r.store.taken, r.Err()
}

func (r *engineReceiver) close() error { return r.Close(context.Background()) }

// engineSender appends, one record an entry. Its answers are durable@1.
type engineSender struct {
	*engine.Engine
	ctx     context.Context
	entry   engine.Entry
	shards  uint64
	sent    uint64
	each    uint64 // records between checkpoints
	refs    []engine.Ref
	pending chan checkpoint
	marks   *watermark
}

type checkpoint struct {
	ref  engine.Ref
	sent uint64
}

func sendEngine(shards int) func(context.Context, *spec) (sender, error) {
	return func(ctx context.Context, s *spec) (sender, error) {
		o := engineOptions(s, siteFrom, siteTo)
		o.Peers[0].Addrs = []string{s.Addr}
		e, err := engine.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		n := &engineSender{
			Engine: e, ctx: ctx, shards: uint64(shards), refs: make([]engine.Ref, shards), marks: newWatermark(),
			entry:   engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("the key of it all")[:16]}},
			each:    uint64(max(1, checkpointBytes/s.RecordBytes)),
			pending: make(chan checkpoint, 2*windowBytes/checkpointBytes),
		}
		if s.Mode == modeOpen {
			n.each = 1
			n.pending = make(chan checkpoint, 2*s.window())
		}
		go n.wait() // Ends with close.
		return n, nil
	}
}

// wait turns checkpoints into answers, in order.
func (n *engineSender) wait() {
	for c := range n.pending {
		if err := n.Wait(n.ctx, c.ref, engine.Durable(1)); err != nil {
			n.marks.fail(err)
			for range n.pending {
			}
			return
		}
		n.marks.raise(c.sent)
	}
}

func (n *engineSender) put(record []byte) error {
	shard, index := n.sent%n.shards, n.sent/n.shards+1
	n.entry.Payload = record
	ref, _, err := n.AppendAt(n.ctx, engine.Shard(shard), index, &n.entry, engine.Async)
	if err != nil {
		return err
	}
	n.refs[shard] = ref
	n.sent++
	if n.sent%n.each == 0 {
		n.pending <- checkpoint{ref, n.sent}
	}
	return nil
}

func (n *engineSender) flush() error { return nil }

func (n *engineSender) answered() *watermark { return n.marks }

// drain waits for the last record of every shard: checkpoints name one shard's.
func (n *engineSender) drain(sent uint64) error {
	for _, ref := range n.refs {
		if ref.Seq == 0 {
			continue
		}
		if err := n.Wait(n.ctx, ref, engine.Durable(1)); err != nil {
			return err
		}
	}
	n.marks.raise(sent)
	return nil
}

func (n *engineSender) trip(record []byte) error {
	n.entry.Payload = record
	n.sent++
	_, _, err := n.AppendAt(n.ctx, 0, n.sent, &n.entry, engine.Durable(1))
	return err
}

func (n *engineSender) note() string {
	st := n.Status()
	return "transport " + st.Transport
}

func (n *engineSender) close() error {
	close(n.pending)
	return n.Close(context.Background())
}

// ring counts the engine's system calls for links and files, and the wakes of its
// flushers, which are all that is woken on the way.
func ring(e *engine.Engine) ringCount {
	c := e.Counters()
	return ringCount{Enters: c.Links.Enters + c.Files.Enters, Wakes: c.Own.Wakes + c.Mirror.Wakes}
}

func (n *engineSender) ring() ringCount   { return ring(n.Engine) }
func (r *engineReceiver) ring() ringCount { return ring(r.Engine) }
