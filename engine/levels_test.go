package engine_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// valve holds up what comes to it while it is shut.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil = open
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

func (v *valve) pass() {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// gatedDisk flushes the own journal when the valve is open.
type gatedDisk struct {
	vfs.FS
	valve *valve
}

type gatedFile struct {
	vfs.File
	valve *valve
}

func (d gatedDisk) gate(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.Contains(path.Dir(name), "own") {
		return f, err
	}
	return gatedFile{f, d.valve}, nil
}

func (d gatedDisk) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	return d.gate(name, f, err)
}

func (d gatedDisk) Open(name string) (vfs.File, error) {
	f, err := d.FS.Open(name)
	return d.gate(name, f, err)
}

func (f gatedFile) Sync() error {
	f.valve.pass()
	return f.File.Sync()
}

// gatedStore applies to one shard when the valve is open.
type gatedStore struct {
	*store.Mem
	shard engine.Shard
	valve *valve
}

func (s gatedStore) Apply(ctx context.Context, c *store.Change) error {
	if c.Shard == s.shard {
		s.valve.pass()
	}
	return s.Mem.Apply(ctx, c)
}

// barriers is how many frames a peer may have been told to have handled.
const barriers = 12

// oracle knows what happened to one entry, and which levels it has by that and nothing
// else (I1).
type oracle struct {
	t                *testing.T
	a                *site
	peers            [2]*scripted
	disk, store      *valve
	ref              engine.Ref
	number           [2]uint64 // the entry's frame at each peer
	end              [2]wire.Position
	waiting          map[string]chan error
	flushed, here    bool
	durable, applied int               // at how many peers
	passed           int               // of the barriers
	barrier          [2][]engine.Ref   // one shard for each peer
	tail             [2]wire.PageEntry // of it
}

const oracleShard = engine.Shard(1)

var allLevels = map[string]engine.Level{
	"async": engine.Async, "local": engine.Local, "here": engine.AppliedHere,
	"durable 1": engine.Durable(1), "durable 2": engine.Durable(2),
	"applied 1": engine.Applied(1), "applied 2": engine.Applied(2),
}

func (o *oracle) should(level string) bool {
	switch level {
	case "async":
		return true
	case "local":
		return o.flushed
	case "here":
		return o.here
	case "durable 1", "durable 2":
		return o.flushed && o.durable >= int(level[8]-'0')
	}
	return o.flushed && o.applied >= int(level[8]-'0')
}

// newOracle opens site-a with two scripted peers, and fills a shard for each of them, so
// that it can tell when all frames that a peer sent were handled.
func newOracle(t *testing.T) *oracle {
	net := linktest.NewMemory()
	o := &oracle{t: t, disk: &valve{}, store: &valve{}, waiting: map[string]chan error{}}
	for i, name := range []string{"site-b", "site-c"} {
		o.peers[i] = newScripted(t, net, name)
	}
	o.a = newSite(t, net, "site-a", "site-b", "site-c")
	o.a.options.FS = gatedDisk{o.a.disk, o.disk}
	o.a.options.Store = gatedStore{o.a.store, oracleShard, o.store}
	o.a.options.HeartbeatTimeout = patience
	o.a.start()
	t.Cleanup(func() { o.disk.open(); o.store.open() }) // before the engine closes
	for i := range o.peers {
		for n := range barriers {
			o.barrier[i] = append(o.barrier[i], o.a.put(engine.Shard(2+i), fmt.Sprint(n), "v", engine.Local))
		}
	}
	for i, p := range o.peers {
		shard := wire.Shard(2 + i)
		last := o.barrier[i][barriers-1]
		for k := range o.peers { // both shards, at both peers
			ref := o.barrier[k][barriers-1]
			number, end := p.await(ref.Log.Shard, ref.Seq)
			p.say(&wire.Ack{Level: wire.LevelReceived, Number: number})
			p.say(&wire.Ack{Level: wire.LevelDurable, Number: number})
			if wire.Shard(2+k) == shard {
				o.tail[i] = wire.PageEntry{Log: last.Log, Durable: end}
			}
		}
	}
	for i := range o.peers {
		require.NoError(t, o.a.Wait(soon(t), o.barrier[i][barriers-1], engine.Durable(2)))
	}
	return o
}

// handled returns when all that the peers sent was handled: of a link, frames are so in
// order.
func (o *oracle) handled() {
	o.t.Helper()
	o.passed++
	for i, p := range o.peers {
		row := o.tail[i]
		row.Applied = o.barrier[i][o.passed].Seq
		p.say(&wire.CursorPage{Entries: []wire.PageEntry{row}})
		require.NoError(o.t, o.a.Wait(soon(o.t), o.barrier[i][o.passed], engine.Applied(1)))
	}
}

// append appends the entry, flushes held up, and has somebody wait for every level.
func (o *oracle) append() {
	o.disk.close()
	o.store.close()
	o.ref = o.a.put(oracleShard, "k", "v", engine.Async)
	for name, level := range allLevels {
		answer := make(chan error, 1)
		o.waiting[name] = answer
		go func() { answer <- o.a.Wait(soon(o.t), o.ref, level) }() // ends with the level, or with the test
	}
}

// check compares every level with the oracle: for who has waited since the entry was
// appended, and for who asks now.
func (o *oracle) check(after string) {
	o.t.Helper()
	o.handled()
	for name := range o.waiting {
		if o.should(name) {
			require.NoError(o.t, <-o.waiting[name], "level %s after %s", name, after)
			delete(o.waiting, name)
		}
	}
	now, cancel := context.WithCancel(o.t.Context())
	cancel() // whoever asks is answered at once
	for name, level := range allLevels {
		err := o.a.Wait(now, o.ref, level)
		require.Equal(o.t, o.should(name), err == nil, "level %s after %s: %v", name, after, err)
	}
	for name, answer := range o.waiting {
		select {
		case err := <-answer:
			require.Fail(o.t, "woken too early", "level %s after %s: %v", name, after, err)
		default:
		}
	}
}

// do has one thing happen to the entry.
func (o *oracle) do(step string) {
	o.t.Helper()
	what, peer := step, -1
	if name, rest, of := strings.Cut(step, " "); of {
		what, peer = rest, int(name[0]-'b')
	}
	var p *scripted
	if peer >= 0 {
		p = o.peers[peer]
		o.number[peer], o.end[peer] = p.await(oracleShard, o.ref.Seq)
	}
	switch what {
	case "flushed":
		for _, p := range o.peers {
			require.False(o.t, p.holds(oracleShard, 0), "shipped before it was flushed")
		}
		o.disk.open()
		o.flushed = true
	case "here":
		o.store.open()
		o.here = true
	case "received":
		p.say(&wire.Ack{Level: wire.LevelReceived, Number: o.number[peer]})
	case "durable":
		p.say(&wire.Ack{Level: wire.LevelDurable, Number: o.number[peer]})
		o.durable++
	case "applied":
		row := wire.PageEntry{Log: o.ref.Log, Durable: o.end[peer], Applied: o.ref.Seq}
		p.say(&wire.CursorPage{Entries: []wire.PageEntry{row}})
		o.applied++
	}
}

// TestEachLevelComesWithItsCauseOnly has what makes an entry durable and applied happen
// in several orders, one thing at a time. After each, exactly the levels are there that
// it brings (I1).
func TestEachLevelComesWithItsCauseOnly(t *testing.T) {
	for _, order := range []string{
		"flushed, here, b received, c received, b durable, c durable, b applied, c applied",
		"flushed, c received, c durable, c applied, b received, b durable, b applied, here",
		"flushed, b received, b durable, here, c received, b applied, c durable, c applied",
	} {
		t.Run(order, func(t *testing.T) {
			o := newOracle(t)
			o.append()
			o.check("append")
			for step := range strings.SplitSeq(order, ", ") {
				o.do(step)
				o.check(step)
			}
			require.Empty(t, o.waiting)
		})
	}
}

// TestLostEntriesAreDurableNowhereElse: a peer that confirmed an entry comes back without
// it. No level counts the peer from then on, until it has the entry again (I1).
func TestLostEntriesAreDurableNowhereElse(t *testing.T) {
	o := newOracle(t)
	o.append()
	for _, step := range []string{"flushed", "here", "b received", "b durable", "b applied"} {
		o.do(step)
	}
	o.check("b applied")
	kept := []wire.PageEntry{o.tail[0]}
	o.tail[0].Applied = 0
	before := o.peers[0].sessions()
	kept[0].Applied = o.barrier[0][o.passed].Seq
	o.peers[0].reset(kept)
	o.a.awaitEvent("peer-behind")
	o.durable, o.applied = 0, 0
	require.Greater(t, o.peers[0].sessions(), before)
	o.number[0], o.end[0] = o.peers[0].await(oracleShard, o.ref.Seq)
	o.check("b came back without it")
	o.do("b received")
	o.check("b received it again")
	o.do("b durable")
	o.check("b flushed it again")
}
