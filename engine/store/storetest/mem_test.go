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

	before *store.Mem // markLate: the state before piece 0
	old    []store.Cursor
}

// plan is how a store goes about its duties; the zero plan is honest.
type plan struct {
	name         string
	apply        func(m *memStore, c *store.Change) error
	durable      func(m *memStore, shard wire.Shard) ([]store.Cursor, error)
	cursorsLater bool // Digest and Export read the cursors after the state
	keepEffects  bool // a crash brings back cursors of the last sync with the newest state
	blindDigest  bool

	mend func(m *memStore, p *store.MendPiece) error
	view func(m *memStore, shard wire.Shard) (store.MendView, error)
	// markLate: a crash after the first piece finds the state before it.
	markLate bool
	// tornCursors: Cursors of a torn shard are answered.
	tornCursors bool
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

func (m *memStore) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	cursors, err := m.Mem.Cursors(shard)
	if m.plan.tornCursors && errors.Is(err, store.ErrTorn) {
		err = nil
	}
	return cursors, err
}

func (m *memStore) Mend(ctx context.Context, p *store.MendPiece) error {
	m.step = 0
	if m.dies() {
		return errTorn
	}
	if p.Index == 0 {
		m.before = m.Mem.Crash(nil)
		m.old, _ = m.Mem.Cursors(p.Shard) // none of a shard that is torn already
	} else {
		m.before = nil
	}
	mend := func(m *memStore, p *store.MendPiece) error { return m.Mem.Mend(ctx, p) }
	if m.plan.mend != nil {
		mend = m.plan.mend
	}
	err := mend(m, p)
	if m.dies() {
		return errTorn
	}
	return err
}

func (m *memStore) MendView(ctx context.Context, shard wire.Shard) (store.MendView, error) {
	if m.plan.view != nil {
		return m.plan.view(m, shard)
	}
	return m.Mem.MendView(ctx, shard)
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
			if p.markLate && m.before != nil {
				return wrap(m.before)
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
				Keys:    [][]byte{fmt.Appendf(nil, "key %d", n%7), fmt.Appendf(nil, "own %d", n/2)},
				Payload: fmt.Appendf(nil, "shard %d payload %d", shard, n),
				Request: wire.RequestID{1, byte(shard), byte(n >> 8), byte(n)},
			}
		},
		Known: func(s store.Store, shard wire.Shard, id wire.RequestID) (wire.Ref, bool) {
			dot, known := s.(*memStore).Request(shard, id)
			log := wire.LogID{Site: dot.Site, Shard: shard}
			return wire.Ref{Log: log, Incarnation: dot.Incarnation, Seq: dot.Seq}, known
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

// A crash leaves the first pieces of a mending, as it leaves the first changes, and never less than
// piece 0.
func TestMemoryStoreLosesUnsyncedPieces(t *testing.T) {
	a := parted(t, harness(plan{}))
	pieces := a.pieces()
	m := a.target.(*memStore).Mem
	mend(t, m, pieces[0])
	after := [][32]byte{rowsDigest(t, m, 0)}
	for _, p := range pieces[1:4] {
		mend(t, m, p)
		after = append(after, rowsDigest(t, m, 0))
	}
	for kept, want := range after {
		crashed := m.Crash(func(_ wire.Shard, unsynced int) int {
			require.Equal(t, 3, unsynced)
			return kept
		})
		require.Equal(t, want, rowsDigest(t, crashed, 0), "%d pieces kept", kept)
	}
	require.NotEqual(t, after[0], after[1])
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

	{plan{name: "rows that are not named stay", mend: func(m *memStore, p *store.MendPiece) error {
		return m.keep(p, "")
	}}, []string{"rows that the source has not", "mending makes two"}},
	{plan{name: "request ids are not mended", view: without("r"), mend: func(m *memStore, p *store.MendPiece) error {
		return m.keep(p, "r")
	}}, []string{"request ids"}},
	{plan{name: "versions are not mended", view: without("v"), mend: func(m *memStore, p *store.MendPiece) error {
		return m.keep(p, "v")
	}}, []string{"rows that the source has not", "mending makes two"}},
	{plan{name: "cursors that are not named stay", mend: func(m *memStore, p *store.MendPiece) error {
		if p.Last {
			whole := *p
			whole.Cursors = slices.Clone(p.Cursors)
			for _, c := range m.old {
				if positionOf(p.Cursors, c.Log) == (wire.Position{}) {
					whole.Cursors = append(whole.Cursors, c)
				}
			}
			sortCursors(whole.Cursors)
			p = &whole
		}
		return m.Mem.Mend(context.Background(), p)
	}}, []string{"rows that the source has not", "mending makes two"}},
	{plan{name: "the torn mark is not durable", markLate: true}, []string{"the torn mark and the last"}},
	{plan{name: "a torn shard has cursors", tornCursors: true},
		[]string{"a torn shard says so", "the torn mark", "mending killed"}},
	{plan{name: "the order of pieces does not matter", mend: func(m *memStore, p *store.MendPiece) error {
		err := m.Mem.Mend(context.Background(), p)
		if errors.Is(err, store.ErrMendOrder) {
			err = nil
		}
		return err
	}}, []string{"pieces out of order"}},
	{plan{name: "a piece is not checked", mend: func(m *memStore, p *store.MendPiece) error {
		err := m.Mem.Mend(context.Background(), p)
		if errors.Is(err, store.ErrMendPiece) {
			err = nil
		}
		return err
	}}, []string{"pieces that are wrong"}},
	{plan{name: "the last piece is lost in a crash", mend: func(m *memStore, p *store.MendPiece) error {
		before := m.Mem.Crash(func(_ wire.Shard, unsynced int) int { return unsynced })
		err := m.Mem.Mend(context.Background(), p)
		if p.Last {
			m.before = before
		}
		return err
	}, markLate: true}, []string{"the torn mark and the last"}},
	{plan{name: "a view goes on with the shard", view: func(m *memStore, shard wire.Shard) (store.MendView, error) {
		v, err := m.Mem.MendView(context.Background(), shard)
		return &liveView{v, m, shard}, err
	}}, []string{"a held view of rows"}},
}

// keep is Mend that keeps the rows which begin with prefix and are not named.
func (m *memStore) keep(p *store.MendPiece, prefix string) error {
	v, err := m.Mem.MendView(context.Background(), p.Shard)
	if err != nil || p.Last {
		return errors.Join(err, m.Mem.Mend(context.Background(), p))
	}
	more := *p
	more.Rows = slices.Clone(p.Rows)
	err = v.Rows(context.Background(), p.Lo, p.Hi, func(key, value []byte) error {
		named := slices.ContainsFunc(p.Rows, func(r store.MendRow) bool { return string(r.Key) == string(key) })
		if !named && strings.HasPrefix(string(key), prefix) {
			more.Rows = append(more.Rows, store.MendRow{Key: key, Value: value})
		}
		return nil
	})
	slices.SortFunc(more.Rows, func(x, y store.MendRow) int { return strings.Compare(string(x.Key), string(y.Key)) })
	return errors.Join(err, m.Mem.Mend(context.Background(), &more))
}

// without are views that leave out the rows which begin with prefix.
func without(prefix string) func(m *memStore, shard wire.Shard) (store.MendView, error) {
	return func(m *memStore, shard wire.Shard) (store.MendView, error) {
		all, err := m.Mem.MendView(context.Background(), shard)
		if err != nil {
			return nil, err
		}
		some := store.NewMem()
		id := store.MendID{1}
		p := &store.MendPiece{Shard: shard, Mend: id}
		err = all.Rows(context.Background(), nil, nil, func(key, value []byte) error {
			if !strings.HasPrefix(string(key), prefix) {
				p.Rows = append(p.Rows, store.MendRow{Key: key, Value: value})
			}
			return nil
		})
		err = errors.Join(err, some.Mend(context.Background(), p))
		if !all.Torn() {
			last := &store.MendPiece{Shard: shard, Mend: id, Index: 1, Last: true, Cursors: all.Cursors()}
			err = errors.Join(err, some.Mend(context.Background(), last))
		}
		v, viewErr := some.MendView(context.Background(), shard)
		return v, errors.Join(err, viewErr)
	}
}

// liveView is a view whose digest is that of now.
type liveView struct {
	store.MendView
	m     *memStore
	shard wire.Shard
}

func (l *liveView) Digest(ctx context.Context, lo, hi []byte) ([32]byte, error) {
	v, err := l.m.Mem.MendView(ctx, l.shard)
	if err != nil {
		return [32]byte{}, err
	}
	return v.Digest(ctx, lo, hi)
}

func TestPlantedBugsFailTheSuite(t *testing.T) {
	all := slices.Concat(checks, mendChecks)
	for _, bug := range planted {
		t.Run(bug.plan.name, func(t *testing.T) {
			for _, name := range bug.found {
				at := slices.IndexFunc(all, func(c check) bool { return strings.HasPrefix(c.name, name) })
				require.GreaterOrEqual(t, at, 0, "no check is named %q…", name)
				require.NotEmpty(t, faults(t, all[at], bug.plan), "check %q does not find it", all[at].name)
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
