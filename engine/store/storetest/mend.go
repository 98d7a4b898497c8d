package storetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

var mendChecks = []check{
	{"mending makes two shards equal", checkMendEqual},
	{"rows that the source has not vanish", checkMendVanish},
	{"request ids are those of what survived", checkMendRequests},
	{"a torn shard says so until it is mended", checkMendTorn},
	{"the torn mark and the last piece are durable", checkMendDurable},
	{"mending killed at any step ends in the same state", checkMendKilled},
	{"pieces out of order are refused", checkMendOrder},
	{"pieces that are wrong are refused", checkMendPiece},
	{"another mending takes over a torn shard", checkMendAgain},
	{"a held view of rows stays as it was", checkMendView},
}

// pair is two stores with a common past: the target went on with orphans, the
// source with entries of the next epoch.
type pair struct {
	t              testing.TB
	h              Harness
	source, target both
	past           *script // of the epoch in which they parted
	next           *script // of the source
	entry          int     // the next that no script has
	mends          uint16

	common, orphans, others []*store.Change
}

// both is what source and target are.
type both interface {
	store.Store
	store.Mender
}

func parted(t testing.TB, h Harness) *pair {
	t.Helper()
	target, ok := h.Open().(both)
	if !ok {
		t.Skip("the store cannot mend (store.Mender)")
	}
	a := &pair{t: t, h: h, source: h.Fresh().(both), target: target, past: newScript(h, 0)}
	a.grow(6)
	a.part()
	return a
}

func (a *pair) stores() []store.Store { return []store.Store{a.source, a.target} }

// grow applies changes at both.
func (a *pair) grow(count int) {
	a.t.Helper()
	for range count {
		a.past.next = a.entry
		c := a.past.change()
		a.entry = a.past.next
		a.common = append(a.common, c)
		for _, s := range a.stores() {
			apply(a.t, s, c)
		}
		a.equal("a common change")
	}
}

// part lets the target write on in its epoch, and in a log that nobody else has, and the source
// in the next epoch. Orphans have later entries than the others in one of two rounds.
func (a *pair) part() {
	a.t.Helper()
	orphan := *a.past
	orphan.ends = maps.Clone(orphan.ends)
	lost := newScript(a.h, 0, 1)
	lost.only, lost.epoch = siteD, a.past.epoch
	a.next = newScript(a.h, 0)
	a.next.only, a.next.epoch = siteC, a.past.epoch+1
	orphans := func() {
		for i, sc := range []*script{&orphan, &orphan, lost, &orphan} {
			sc.next = a.entry
			c := sc.change()
			a.entry = sc.next
			dot := store.Dot{Site: c.Batch.Site, Incarnation: c.Batch.Incarnation, Seq: c.Batch.LastSeq(), Stamp: 1}
			c.Versions = append(c.Versions, store.Version{Key: []byte("orphan"), Dot: dot, Loser: i == 0})
			c.Losers = []store.Loser{{Entry: c.Effects[0], Dot: dot, Winner: dot}}
			a.orphans = append(a.orphans, c)
			apply(a.t, a.target, c)
		}
	}
	others := func() {
		for range 4 {
			a.next.next = a.entry
			c := a.next.change()
			a.entry = a.next.next
			a.others = append(a.others, c)
			apply(a.t, a.source, c)
		}
	}
	if a.past.epoch%2 == 1 {
		others()
		orphans()
	} else {
		orphans()
		others()
	}
}

// joined goes on after a mending as one history: the source's.
func (a *pair) joined() {
	for _, c := range a.others {
		a.past.ends[c.Batch.Site] = c.Batch.End()
	}
	a.past.only, a.past.epoch, a.past.made = siteC, a.next.epoch, a.past.made+a.next.made
	a.past.ends = maps.Clone(a.next.ends)
	a.common, a.orphans, a.others = append(a.common, a.others...), nil, nil
}

// view returns the rows of a shard as they are now.
func view(t testing.TB, s store.Mender, shard wire.Shard) store.MendView {
	t.Helper()
	v, err := s.MendView(context.Background(), shard)
	if err != nil {
		t.Fatalf("rows of shard %d: %v", shard, err)
	}
	return v
}

// rowsDigest is that of all rows of a shard.
func rowsDigest(t testing.TB, s store.Mender, shard wire.Shard) [32]byte {
	t.Helper()
	v := view(t, s, shard)
	defer v.Close()
	return digestOf(t, v, nil, nil)
}

func digestOf(t testing.TB, v store.MendView, lo, hi []byte) [32]byte {
	t.Helper()
	d, err := v.Digest(context.Background(), lo, hi)
	if err != nil {
		t.Fatalf("digest of rows: %v", err)
	}
	return d
}

// keysIn are the keys of the rows in a range.
func keysIn(t testing.TB, v store.MendView, lo, hi []byte) (keys [][]byte) {
	t.Helper()
	var before []byte
	err := v.Keys(context.Background(), lo, hi, func(key []byte) error {
		if before != nil && bytes.Compare(before, key) >= 0 {
			t.Fatalf("row %x comes behind %x", key, before)
		}
		before = bytes.Clone(key)
		keys = append(keys, before)
		return nil
	})
	if err != nil {
		t.Fatalf("keys of rows: %v", err)
	}
	return keys
}

// Parts of so many rows, first and at last: few, so that there are many pieces.
const (
	partRowsFirst = 64
	partRowsLast  = 4
)

// pieces are those that make the target's shard equal to the source's: the parts of the
// source's rows whose digests differ, narrowed down, and the last piece.
func (a *pair) pieces() []*store.MendPiece {
	a.t.Helper()
	there, here := view(a.t, a.source, 0), view(a.t, a.target, 0)
	defer there.Close()
	defer here.Close()
	if there.Torn() {
		a.t.Fatalf("the source, which is whole, is torn")
	}
	a.mends++
	var all []*store.MendPiece
	var narrow func(lo, hi []byte, count int)
	narrow = func(lo, hi []byte, count int) {
		keys := keysIn(a.t, there, lo, hi)
		for i := count; ; i += count {
			to := hi
			if i < len(keys) {
				to = keys[i]
			}
			switch {
			case digestOf(a.t, there, lo, to) == digestOf(a.t, here, lo, to):
			case count > partRowsLast:
				narrow(lo, to, count/4)
			default:
				all = append(all, a.cut(there, lo, to, len(all))...)
			}
			if lo = to; i >= len(keys) {
				return
			}
		}
	}
	narrow(nil, nil, partRowsFirst)
	if len(all) < 3 {
		a.t.Fatalf("%d pieces for stores that differ in many rows", len(all))
	}
	last := &store.MendPiece{Mend: a.id(), Index: uint64(len(all)), Last: true, Cursors: slices.Clone(there.Cursors())}
	return append(all, last)
}

func (a *pair) id() store.MendID { return store.MendID{0xaa, byte(a.mends >> 8), byte(a.mends)} }

// cut takes the rows of [lo, hi) in pieces.
func (a *pair) cut(v store.MendView, lo, hi []byte, index int) (all []*store.MendPiece) {
	a.t.Helper()
	for {
		p := &store.MendPiece{Mend: a.id(), Index: uint64(index + len(all))}
		if err := NextPiece(context.Background(), v, lo, hi, p); err != nil {
			a.t.Fatalf("pieces of a view: %v", err)
		}
		all = append(all, p)
		if bytes.Equal(p.Hi, hi) {
			return all
		}
		lo = p.Hi
	}
}

// errPieceFull ends a walk over rows.
var errPieceFull = errors.New("piece full")

// NextPiece fills p.Rows, Lo and Hi with copies of the first rows of [lo, hi): as many as
// a piece takes. p.Hi is where the next piece begins; it equals hi when there is no more.
func NextPiece(ctx context.Context, v store.MendView, lo, hi []byte, p *store.MendPiece) error {
	p.Lo, p.Hi, p.Rows = lo, hi, p.Rows[:0]
	size := 0
	err := v.Rows(ctx, lo, hi, func(key, value []byte) error {
		if size += len(key) + len(value); len(p.Rows) > 0 && size > store.MendPieceBytesMax {
			p.Hi = bytes.Clone(key)
			return errPieceFull
		}
		p.Rows = append(p.Rows, store.MendRow{Key: bytes.Clone(key), Value: bytes.Clone(value)})
		return nil
	})
	if err != nil && !errors.Is(err, errPieceFull) {
		return err
	}
	return nil
}

func mend(t testing.TB, s store.Mender, p *store.MendPiece) {
	t.Helper()
	if err := s.Mend(context.Background(), p); err != nil {
		t.Fatalf("piece %d: %v", p.Index, err)
	}
}

// finish applies all pieces, and compares as the engine does before the last one.
func (a *pair) finish(pieces []*store.MendPiece) {
	a.t.Helper()
	for _, p := range pieces[:len(pieces)-1] {
		mend(a.t, a.target, p)
	}
	if rowsDigest(a.t, a.source, 0) != rowsDigest(a.t, a.target, 0) {
		a.t.Fatalf("all pieces are applied, and the digests of the rows differ")
	}
	mend(a.t, a.target, pieces[len(pieces)-1])
	a.equal("the last piece")
}

// equal compares everything that shows, and all rows.
func (a *pair) equal(after string) {
	a.t.Helper()
	stores := a.stores()
	if there, here := look(a.t, stores[0], 0), look(a.t, stores[1], 0); !there.equal(here) {
		a.t.Fatalf("after %s the source shows %v, the target %v (I7)", after, there, here)
	}
	if rowsDigest(a.t, a.source, 0) != rowsDigest(a.t, a.target, 0) {
		a.t.Fatalf("after %s the digests of the rows differ (I7)", after)
	}
}

func checkMendEqual(t testing.TB, h Harness) {
	a := parted(t, h)
	for range 3 { // the second time a mended store is the source of orphans
		a.finish(a.pieces())
		a.joined()
		a.grow(5)
		a.part()
	}
}

func checkMendVanish(t testing.TB, h Harness) {
	a := parted(t, h)
	pieces := a.pieces()
	a.finish(pieces)
	orphan := a.orphans[len(a.orphans)-1]
	versions, err := a.target.Versions(0, [][]byte{[]byte("orphan")}, nil)
	if err != nil || len(versions) > 0 {
		t.Fatalf("versions of an orphan: %v, %v", versions, err)
	}
	for _, c := range cursorsOf(t, a.target, 0) {
		if c.Log.Site == siteD {
			t.Fatalf("the cursor of log %s, which the source does not have, is still there", c.Log)
		}
	}
	// Everything goes, in a range without rows.
	a.mends++
	all := &store.MendPiece{Mend: a.id()}
	mend(t, a.target, all)
	left := view(t, a.target, 0)
	defer left.Close()
	if len(keysIn(t, left, nil, nil)) > 0 {
		t.Fatalf("a piece that names no rows left some in its range")
	}
	mend(t, a.target, &store.MendPiece{Mend: a.id(), Index: 1, Last: true})
	s := store.Store(a.target)
	if got, want := look(t, s, 0), look(t, h.Fresh(), 0); !got.equal(want) {
		t.Fatalf("an emptied shard shows %v, an empty one %v", got, want)
	}
	apply(t, s, orphan) // one of another history, on an empty shard
}

func checkMendRequests(t testing.TB, h Harness) {
	if h.Known == nil {
		t.Skip("the harness cannot look up requests (Known)")
	}
	a := parted(t, h)
	orphans, survived := a.orphans, append(slices.Clone(a.common), a.others...)
	known := func(c *store.Change, want bool) {
		t.Helper()
		for _, e := range c.Effects {
			ref, got := h.Known(a.target, 0, e.Request)
			if got != want {
				t.Fatalf("log %s seq %d: request %x is known: %v, want %v", c.Batch.Log(), e.Seq, e.Request, got, want)
			}
			if at := (wire.Ref{Log: c.Batch.Log(), Incarnation: c.Batch.Incarnation, Seq: e.Seq}); got && ref != at {
				t.Fatalf("request %x was done by %v, the store answers %v", e.Request, at, ref)
			}
		}
	}
	for _, c := range orphans {
		known(c, true)
	}
	a.finish(a.pieces())
	for _, c := range survived {
		known(c, true)
	}
	for _, c := range orphans {
		known(c, false)
	}
	// The client asks again, and the request is done once, under its own id.
	a.joined()
	a.past.next = a.entry
	again := a.past.change()
	a.entry = a.past.next
	again.Effects[0].Request = orphans[0].Effects[0].Request
	for _, s := range a.stores() {
		apply(t, s, again)
	}
	known(again, true)
	a.equal("a request that was an orphan")
}
