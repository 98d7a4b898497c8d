package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

const unknownOp wire.Op = 60000

var errTorn = errors.New("the process died here")

// memStore is a memory Store in parts that a plan may put together wrongly. Its
// apply is called with a step function that says false where the process dies.
type memStore struct {
	*store.Mem
	plan   plan
	tearAt int // -1 = not
	step   int
	torn   bool
}

// plan is how a store goes about its duties; the zero plan is honest.
type plan struct {
	name         string
	apply        func(m *memStore, c *store.Change) error
	durable      func(m *memStore, shard wire.Shard) ([]store.Cursor, error)
	cursorsLater bool // Digest and Export read the cursors after the state
	keepEffects  bool // a crash brings back cursors of the last sync with the newest state
	blindDigest  bool
}

// dies is an inner step of a commit.
func (m *memStore) dies() bool {
	m.step++
	if m.step-1 == m.tearAt {
		m.torn = true
	}
	return m.torn
}

func (m *memStore) Apply(ctx context.Context, c *store.Change) error {
	m.step = 0
	if m.plan.apply != nil {
		return m.plan.apply(m, c)
	}
	if m.dies() {
		return errTorn
	}
	err := m.Mem.Apply(ctx, c)
	if m.dies() {
		return errTorn
	}
	return err
}

func (m *memStore) Durable(shard wire.Shard) ([]store.Cursor, error) {
	if m.plan.durable != nil {
		return m.plan.durable(m, shard)
	}
	return m.Mem.Durable(shard)
}

func (m *memStore) Digest(ctx context.Context, shard wire.Shard, lo, hi []byte) ([32]byte, []store.Cursor, error) {
	if m.plan.blindDigest {
		_, cursors, err := m.Mem.Digest(ctx, shard, lo, hi)
		return [32]byte{}, cursors, err
	}
	digest, cursors, err := m.Mem.Digest(ctx, shard, lo, hi)
	if m.plan.cursorsLater {
		runtime.Gosched()
		cursors, err = m.Cursors(shard)
	}
	return digest, cursors, err
}

func (m *memStore) Export(ctx context.Context, shard wire.Shard, keys [][]byte,
	visit func(key, state []byte) error) ([]store.Cursor, error) {
	cursors, err := m.Mem.Export(ctx, shard, keys, visit)
	if m.plan.cursorsLater {
		runtime.Gosched()
		cursors, err = m.Cursors(shard)
	}
	return cursors, err
}

// harness has what a crash leaves decided by a small pattern: now nothing of the
// unsynced commits survives, now some, now all.
func harness(p plan) Harness {
	crashes := 0
	wrap := func(m *store.Mem) *memStore {
		m.Known = func(op wire.Op) bool { return op != unknownOp }
		return &memStore{Mem: m, plan: p, tearAt: -1}
	}
	kept := store.NewMem()
	return Harness{
		Fresh: func() store.Store { return wrap(store.NewMem()) },
		Open:  func() store.Store { return wrap(kept) },
		Close: func(s store.Store) error {
			kept = s.(*memStore).Mem
			return nil
		},
		Crash: func(s store.Store) store.Store {
			crashes++
			m := s.(*memStore)
			if p.keepEffects {
				return wrap(apart(m.Mem))
			}
			if m.torn {
				return wrap(m.Mem.Crash(func(_ wire.Shard, unsynced int) int { return unsynced }))
			}
			return wrap(m.Mem.Crash(func(_ wire.Shard, unsynced int) int { return unsynced * (crashes % 3) / 2 }))
		},
		Tear: func(s store.Store, n int) { s.(*memStore).tearAt = n },
		Torn: func(s store.Store) bool { return s.(*memStore).torn },
		Entry: func(shard wire.Shard, n int) wire.Entry {
			return wire.Entry{
				Op:      wire.Op(1 + n%5),
				Keys:    [][]byte{fmt.Appendf(nil, "key %d", n%7), fmt.Appendf(nil, "other %d", n%3)},
				Payload: fmt.Appendf(nil, "shard %d payload %d", shard, n),
			}
		},
		UnknownOp: unknownOp,
	}
}

// apart is what a crash leaves of a store whose cursors are flushed later than
// its state.
func apart(m *store.Mem) *store.Mem {
	cursors, err := m.Durable(0)
	if err != nil {
		panic(err)
	}
	survivor := m.Crash(func(_ wire.Shard, unsynced int) int { return unsynced })
	if err := survivor.Apply(context.Background(), &store.Change{Cursors: cursors}); err != nil {
		panic(err)
	}
	return survivor
}

func TestMemoryStoreKeepsTheContract(t *testing.T) {
	Run(t, func(testing.TB) Harness { return harness(plan{}) })
}

// split applies a change in two commits, the process being able to die between.
func split(first, second func(c store.Change) store.Change) func(*memStore, *store.Change) error {
	return func(m *memStore, c *store.Change) error {
		for _, part := range []func(store.Change) store.Change{first, second} {
			if m.dies() {
				return errTorn
			}
			change := part(*c)
			if err := m.Mem.Apply(context.Background(), &change); err != nil {
				return err
			}
		}
		return nil
	}
}

func onlyCursors(c store.Change) store.Change { c.Effects = nil; return c }
func onlyEffects(c store.Change) store.Change { c.Cursors = nil; return c }

// Each store has one planted bug, and the checks that must find it.
var planted = []struct {
	plan  plan
	found []string
}{
	{plan{name: "cursor saved before the effects", apply: split(onlyCursors, onlyEffects)},
		[]string{"a torn commit", "state and cursors go back together"}},
	{plan{name: "effects saved before the cursor", apply: split(onlyEffects, onlyCursors)},
		[]string{"a torn commit"}},
	{plan{name: "half of the effects first", apply: split(
		func(c store.Change) store.Change { c.Effects, c.Cursors = c.Effects[:len(c.Effects)/2], nil; return c },
		func(c store.Change) store.Change { c.Effects = c.Effects[len(c.Effects)/2:]; return c })},
		[]string{"a torn commit", "an unknown"}},
	{plan{name: "durable ahead of what survives",
		durable: func(m *memStore, shard wire.Shard) ([]store.Cursor, error) { return m.Cursors(shard) }},
		[]string{"durable cursors survive"}},
	{plan{name: "cursors not of the snapshot", cursorsLater: true},
		[]string{"digest has the cursors", "export has the cursors"}},
	{plan{name: "digest blind to the state", blindDigest: true},
		[]string{"different states", "effects and cursors are one commit"}},
	{plan{name: "cursor never saved", apply: func(m *memStore, c *store.Change) error {
		change := onlyEffects(*c)
		return m.Mem.Apply(context.Background(), &change)
	}}, []string{"effects and cursors are one commit"}},
	{plan{name: "versions not kept", apply: func(m *memStore, c *store.Change) error {
		change := *c
		change.Versions = nil
		return m.Mem.Apply(context.Background(), &change)
	}}, []string{"versions come and go"}},
	{plan{name: "cursors of the last sync with a newer state", keepEffects: true},
		[]string{"state and cursors go back together"}},
}

func TestPlantedBugsFailTheSuite(t *testing.T) {
	for _, bug := range planted {
		t.Run(bug.plan.name, func(t *testing.T) {
			for _, name := range bug.found {
				at := slices.IndexFunc(checks, func(c check) bool { return strings.HasPrefix(c.name, name) })
				require.GreaterOrEqual(t, at, 0, "no check is named %q…", name)
				require.NotEmpty(t, faults(t, checks[at], bug.plan), "check %q does not find it", checks[at].name)
			}
		})
	}
}

// recorder is a testing.TB that a check may fail without failing the test.
type recorder struct {
	testing.TB
	faults []string
}

func (r *recorder) Helper() {}
func (r *recorder) Skip(args ...any) {
	runtime.Goexit()
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// faults runs one check over a store and returns what it found.
func faults(t *testing.T, c check, p plan) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // Ends with the check, by Goexit if that fails.
		defer close(done)
		c.run(r, harness(p))
	}()
	<-done
	return r.faults
}
