package storetest

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
)

// snapshotChanges is how many changes run beside the readers: enough that a
// store that reads state and cursors at two moments is caught.
const snapshotChanges = 300

// beside runs read again and again while count changes are applied.
func beside(t testing.TB, s store.Store, changes []*store.Change, read func() error) {
	t.Helper()
	applied := make(chan error, 1)
	go func() { // Ends when all changes are applied.
		for _, c := range changes {
			if err := s.Apply(context.Background(), c); err != nil {
				applied <- err
				return
			}
		}
		applied <- nil
	}()
	for {
		readErr := read()
		select {
		case err := <-applied:
			if err != nil {
				t.Fatalf("apply beside a reader: %v", err)
			}
			if readErr != nil {
				t.Fatalf("%v", readErr)
			}
			return
		default:
		}
		if readErr != nil {
			<-applied
			t.Fatalf("%v", readErr)
		}
	}
}

// rehearse applies the script's changes to a fresh store and returns them with
// the moments between them.
func rehearse(t testing.TB, h Harness, count int) ([]*store.Change, []moment) {
	t.Helper()
	s, sc := h.Fresh(), newScript(h, 0)
	seen := []moment{look(t, s, 0)}
	var changes []*store.Change
	for range count {
		c := sc.change()
		apply(t, s, c)
		changes = append(changes, c)
		seen = append(seen, look(t, s, 0))
	}
	return changes, seen
}

func checkDigestSnapshot(t testing.TB, h Harness) {
	changes, seen := rehearse(t, h, snapshotChanges)
	s := h.Open()
	beside(t, s, changes, func() error {
		digest, cursors, err := s.Digest(context.Background(), 0, nil, nil)
		if err != nil {
			return err
		}
		sortCursors(cursors)
		if !slices.ContainsFunc(seen, func(m moment) bool { return m.shows(digest, cursors) }) {
			return errSnapshot("Digest")
		}
		return nil
	})
}

type errSnapshot string

func (e errSnapshot) Error() string {
	return string(e) + " beside Apply: state and cursors are not of one snapshot"
}

func checkExport(t testing.TB, h Harness) {
	changes, _ := rehearse(t, h, snapshotChanges)
	keys := keysOf(changes)
	exports := exportsOf(t, h, changes, keys)
	s := h.Open()
	beside(t, s, changes, func() error {
		now, err := export(s, keys)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(exports, now.equal) {
			return errSnapshot("Export")
		}
		return nil
	})
}

// keysOf returns the keys of the first changes: a few, so that exports are cheap.
func keysOf(changes []*store.Change) [][]byte {
	var keys [][]byte
	for _, c := range changes {
		for _, e := range c.Effects {
			for _, k := range e.Keys {
				if !slices.ContainsFunc(keys, func(o []byte) bool { return bytes.Equal(o, k) }) {
					keys = append(keys, k)
				}
			}
		}
		if len(keys) >= 16 {
			break
		}
	}
	return keys
}

// exported is what one Export said.
type exported struct {
	state   []byte
	cursors []store.Cursor
}

func (e exported) equal(o exported) bool {
	return bytes.Equal(e.state, o.state) && slices.Equal(e.cursors, o.cursors)
}

func export(s store.Store, keys [][]byte) (exported, error) {
	var e exported
	cursors, err := s.Export(context.Background(), 0, keys, func(key, state []byte) error {
		e.state = append(append(append(append(e.state, key...), 0), state...), 0)
		return nil
	})
	sortCursors(cursors)
	e.cursors = cursors
	return e, err
}

// exportsOf is what Export says after each change, in peace.
func exportsOf(t testing.TB, h Harness, changes []*store.Change, keys [][]byte) []exported {
	t.Helper()
	s := h.Fresh()
	var all []exported
	for n := 0; ; n++ {
		e, err := export(s, keys)
		if err != nil {
			t.Fatalf("export: %v", err)
		}
		all = append(all, e)
		if n == len(changes) {
			break
		}
		apply(t, s, changes[n])
	}
	if bytes.Equal(all[0].state, all[len(all)-1].state) {
		t.Fatalf("Export of keys that were written says the same as of an empty store")
	}
	return all
}

// checkDigestEqual compares a store that applied everything in peace with one
// that synced, crashed and applied again.
func checkDigestEqual(t testing.TB, h Harness) {
	changes, seen := rehearse(t, h, 12)
	s := h.Open()
	for n, c := range changes {
		if !positionOf(cursorsOf(t, s, 0), c.Batch.Log()).Covers(c.Batch.End()) {
			apply(t, s, c)
		}
		if n%4 != 3 {
			continue
		}
		if err := s.Sync(context.Background()); err != nil {
			t.Fatalf("sync: %v", err)
		}
		if h.Crash != nil {
			s = h.Crash(s)
		}
	}
	if !look(t, s, 0).equal(seen[len(changes)]) {
		t.Fatalf("equal states have different digests (I7)")
	}
}

func checkDigestDiffers(t testing.TB, h Harness) {
	s := h.Open()
	seen := moments(t, s, newScript(h, 0), 12)
	for i := range seen {
		for j := range i {
			if seen[i].digest == seen[j].digest {
				t.Fatalf("the states after %d and %d changes have one digest", j, i)
			}
		}
	}
	digest, _, err := s.Digest(context.Background(), 0, []byte{0xff, 0xff, 0xff, 0xff}, nil)
	if err != nil {
		t.Fatalf("digest of an empty range: %v", err)
	}
	if digest == seen[len(seen)-1].digest {
		t.Fatalf("the digest of a part of the keys is that of the whole")
	}
}
