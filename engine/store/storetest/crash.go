package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// tearStepsMax bounds the search for the last inner step of a commit.
const tearStepsMax = 1000

func checkTorn(t testing.TB, h Harness) {
	if h.Tear == nil || h.Torn == nil || h.Crash == nil {
		t.Skip("the harness cannot tear a commit (Tear, Torn, Crash)")
	}
	s := h.Open()
	sc := newScript(h, 0, 4)
	for n := range tearStepsMax {
		moments(t, s, sc, 1)
		if err := s.Sync(context.Background()); err != nil {
			t.Fatalf("sync: %v", err)
		}
		before := look(t, s, 0)
		h.Tear(s, n)
		c := sc.change()
		err := s.Apply(context.Background(), c)
		if !h.Torn(s) {
			if err != nil {
				t.Fatalf("apply that was not torn: %v", err)
			}
			return
		}
		s = h.Crash(s)
		after := look(t, s, 0)
		moved := positionOf(after.cursors, c.Batch.Log()).Seq == c.Batch.LastSeq()
		switch {
		case moved && after.digest == before.digest:
			t.Fatalf("torn at step %d: the cursor moved and the effects are not there (I2)", n)
		case !moved && !after.equal(before):
			t.Fatalf("torn at step %d: effects are there and the cursor did not move (I2)", n)
		case !moved:
			apply(t, s, c) // The journal gives it again.
		}
		whole := look(t, s, 0)
		if moved && !whole.equal(after) {
			t.Fatalf("torn at step %d: the state changed at rest", n)
		}
		if want := reference(t, h, 0, sc.made); want.digest != whole.digest {
			t.Fatalf("torn at step %d: the state is not that of the whole change (I2)", n)
		}
	}
	t.Fatalf("one Apply had more than %d steps", tearStepsMax)
}

// reference is what a store of the host's that applied the same changes in peace
// looks like.
func reference(t testing.TB, h Harness, shard wire.Shard, made int) moment {
	t.Helper()
	s := h.Fresh()
	sc := newScript(h, shard, 4)
	for range made {
		apply(t, s, sc.change())
	}
	return look(t, s, shard)
}

func checkLateFlush(t testing.TB, h Harness) {
	if h.Crash == nil {
		t.Skip("the harness cannot crash (Crash)")
	}
	s := h.Open()
	sc := newScript(h, 0)
	seen := moments(t, s, sc, 4)
	if err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	seen = append(seen, moments(t, s, sc, 5)[1:]...)
	s = h.Crash(s)
	at := find(seen, look(t, s, 0))
	if at < 0 {
		t.Fatalf("after a crash, state and cursors are not those of one earlier moment (I2, I3)")
	}
	if at < 4 {
		t.Fatalf("after a crash, the state is of moment %d, synced was 4 (I3)", at)
	}
}

func checkDurable(t testing.TB, h Harness) {
	if h.Crash == nil {
		t.Skip("the harness cannot crash (Crash)")
	}
	s := h.Open()
	sc := newScript(h, 0)
	for round := range 6 {
		moments(t, s, sc, 3)
		if round%2 == 1 {
			if err := s.Sync(context.Background()); err != nil {
				t.Fatalf("sync: %v", err)
			}
			moments(t, s, sc, 1)
		}
		told, visible := durableOf(t, s, 0), cursorsOf(t, s, 0)
		for _, c := range told {
			if at := positionOf(visible, c.Log); !at.Covers(c.Position) {
				t.Fatalf("log %s: durable to seq %d, the state is at %d", c.Log, c.Position.Seq, at.Seq)
			}
		}
		s = h.Crash(s)
		survived := cursorsOf(t, s, 0)
		for _, c := range told {
			if at := positionOf(survived, c.Log); !at.Covers(c.Position) {
				t.Fatalf("log %s: Durable said seq %d, the crash left %d (I3)",
					c.Log, c.Position.Seq, at.Seq)
			}
		}
		sc.restart(survived)
	}
}

// restart goes on behind what survived, as an engine does from its journal:
// with entries that the store has not seen.
func (s *script) restart(survived []store.Cursor) {
	clear(s.ends)
	for _, c := range survived {
		s.ends[c.Log.Site] = c.Position
	}
}

func checkSync(t testing.TB, h Harness) {
	s := h.Open()
	sc := newScript(h, 0)
	seen := moments(t, s, sc, 4)
	if err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	if told, now := durableOf(t, s, 0), cursorsOf(t, s, 0); !slices.Equal(told, now) {
		t.Fatalf("after Sync, Durable is %v, Cursors %v", told, now)
	}
	if h.Crash == nil {
		return
	}
	s = h.Crash(s)
	if !look(t, s, 0).equal(seen[4]) {
		t.Fatalf("what Sync made durable did not survive a crash")
	}
}

func checkReopen(t testing.TB, h Harness) {
	if h.Close == nil {
		t.Skip("the harness cannot close (Close)")
	}
	s := h.Open()
	sc := newScript(h, 0)
	seen := moments(t, s, sc, 4)
	if err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	if err := h.Close(s); err != nil {
		t.Fatalf("close: %v", err)
	}
	s = h.Open()
	if !look(t, s, 0).equal(seen[4]) {
		t.Fatalf("the state after closing and opening is not what was synced")
	}
}

func checkRepeat(t testing.TB, h Harness) {
	if h.Crash == nil {
		t.Skip("the harness cannot crash (Crash)")
	}
	s := h.Open()
	sc := newScript(h, 0)
	var changes []*store.Change
	seen := []moment{look(t, s, 0)}
	for n := range 8 {
		if n == 3 {
			if err := s.Sync(context.Background()); err != nil {
				t.Fatalf("sync: %v", err)
			}
		}
		c := sc.change()
		changes = append(changes, c)
		apply(t, s, c)
		seen = append(seen, look(t, s, 0))
	}
	s = h.Crash(s)
	// The journal gives everything again; what the cursors cover is skipped.
	cursors := cursorsOf(t, s, 0)
	for _, c := range changes {
		if !positionOf(cursors, c.Batch.Log()).Covers(c.Batch.End()) {
			apply(t, s, c)
		}
	}
	if !look(t, s, 0).equal(seen[len(changes)]) {
		t.Fatalf("what a crash undid was redone, and the state differs (I2)")
	}
}
