package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
)

// tornErrors are what the calls answer that a torn shard refuses.
func tornErrors(s store.Store, c *store.Change) map[string]error {
	ctx := context.Background()
	all := make(map[string]error)
	_, all["Cursors"] = s.Cursors(0)
	_, all["Durable"] = s.Durable(0)
	_, all["Versions"] = s.Versions(0, [][]byte{versionKey}, nil)
	all["Apply"] = s.Apply(ctx, c)
	_, all["Export"] = s.Export(ctx, 0, [][]byte{versionKey}, func(_, _ []byte) error { return nil })
	_, _, all["Digest"] = s.Digest(ctx, 0, nil, nil)
	if v, ok := s.(store.Viewer); ok {
		var held store.View
		if held, all["View"] = v.View(ctx, 0); all["View"] == nil {
			all["View"] = held.Close()
		}
	}
	return all
}

// mustBeTorn fails unless shard 0 says to everybody that it is torn.
func (a *pair) mustBeTorn(when string) {
	a.t.Helper()
	for call, err := range tornErrors(a.target, a.orphans[0]) {
		if !errors.Is(err, store.ErrTorn) {
			a.t.Fatalf("%s: %s of a torn shard answers %v, want store.ErrTorn", when, call, err)
		}
	}
	v := view(a.t, a.target, 0)
	defer v.Close()
	if !v.Torn() || len(v.Cursors()) > 0 {
		a.t.Fatalf("%s: a view of a torn shard says torn %v, cursors %v", when, v.Torn(), v.Cursors())
	}
}

func checkMendTorn(t testing.TB, h Harness) {
	a := parted(t, h)
	beside := newScript(h, 1)
	seen := moments(t, a.target, beside, 3)
	pieces := a.pieces()
	mend(t, a.target, pieces[0])
	mend(t, a.target, pieces[1])
	a.mustBeTorn("after two pieces")
	s := store.Store(a.target)
	if !look(t, s, 1).equal(seen[3]) {
		t.Fatalf("mending shard 0 changed shard 1")
	}
	seen = append(seen, moments(t, s, beside, 1)[1])
	if err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync beside a torn shard: %v", err)
	}
	if h.Close != nil {
		if err := h.Close(s); err != nil {
			t.Fatalf("close: %v", err)
		}
		s = h.Open()
		a.target = s.(both)
		a.mustBeTorn("after closing and opening")
	}
	if h.Crash != nil {
		s = h.Crash(s)
		a.target = s.(both)
		a.mustBeTorn("after a crash")
	}
	if !look(t, s, 1).equal(seen[4]) {
		t.Fatalf("shard 1, beside a torn shard, is not as it was synced")
	}
	a.finish(pieces)
	if !look(t, s, 1).equal(seen[4]) {
		t.Fatalf("mending shard 0 changed shard 1")
	}
}

func checkMendDurable(t testing.TB, h Harness) {
	if h.Crash == nil {
		t.Skip("the harness cannot crash (Crash)")
	}
	a := parted(t, h)
	crash := func() { a.target = h.Crash(a.target).(both) }
	for range 4 { // a crash may leave more than what is durable
		pieces := a.pieces()
		mend(t, a.target, pieces[0])
		crash()
		a.mustBeTorn("after piece 0 and a crash")
		a.finish(pieces)
		crash()
		a.equal("the last piece and a crash")
		told, now := durableOf(t, a.target, 0), cursorsOf(t, a.target, 0)
		if !slices.Equal(told, now) {
			t.Fatalf("after a mending, Durable is %v, Cursors %v", told, now)
		}
		a.joined()
		a.grow(2)
		if err := a.target.Sync(context.Background()); err != nil {
			t.Fatalf("sync: %v", err)
		}
		a.part()
	}
}

// checkMendKilled kills at each inner step of each piece, and applies all again.
func checkMendKilled(t testing.TB, h Harness) {
	if h.Tear == nil || h.Torn == nil || h.Crash == nil {
		t.Skip("the harness cannot tear a commit (Tear, Torn, Crash)")
	}
	a := parted(t, h)
	for at := 0; ; at++ {
		for step := range tearStepsMax {
			pieces := a.pieces()
			if at >= len(pieces) {
				return
			}
			again := a.killed(pieces, at, step)
			a.joined()
			if err := a.target.Sync(context.Background()); err != nil {
				t.Fatalf("sync: %v", err)
			}
			a.grow(1)
			a.part()
			if !again {
				break
			}
		}
	}
}

func isTorn(t testing.TB, s store.Mender) bool {
	t.Helper()
	v := view(t, s, 0)
	defer v.Close()
	return v.Torn()
}

// killed mends with a kill at one step of one piece, and then to the end. It says whether
// the piece has that step.
func (a *pair) killed(pieces []*store.MendPiece, at, step int) bool {
	t, h := a.t, a.h
	before := look(t, a.target, 0)
	if err := a.target.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	last := at == len(pieces)-1
	for _, p := range pieces[:at] {
		mend(t, a.target, p)
	}
	h.Tear(a.target, step)
	err := a.target.Mend(context.Background(), pieces[at])
	torn := h.Torn(a.target)
	if !torn && err != nil {
		t.Fatalf("piece %d, which was not torn: %v", at, err)
	}
	s := h.Crash(a.target)
	a.target = s.(both)
	switch {
	case isTorn(t, a.target):
		a.mustBeTorn("after a kill")
	case at == 0 && look(t, s, 0).equal(before):
	case last:
		a.equal("a kill at the last piece")
	default:
		t.Fatalf("killed at step %d of piece %d of %d, the shard is not torn", step, at, len(pieces))
	}
	a.finish(pieces)
	return torn
}
