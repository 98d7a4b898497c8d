package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// wrong is a piece that must be refused, and how.
type wrong struct {
	name  string
	piece store.MendPiece
	err   error
}

// refuse gives the target wrong pieces: each is refused, and changes nothing.
func (a *pair) refuse(all []wrong) {
	a.t.Helper()
	for _, w := range all {
		before := rowsDigest(a.t, a.target, 0)
		if err := a.target.Mend(context.Background(), &w.piece); !errors.Is(err, w.err) {
			a.t.Fatalf("%s: %v, want %v", w.name, err, w.err)
		}
		if rowsDigest(a.t, a.target, 0) != before {
			a.t.Fatalf("%s was refused, and changed rows", w.name)
		}
	}
}

func checkMendOrder(t testing.TB, h Harness) {
	a := parted(t, h)
	pieces := a.pieces()
	first, second, third, last := *pieces[0], *pieces[1], *pieces[2], *pieces[len(pieces)-1]
	with := func(p store.MendPiece, change func(p *store.MendPiece)) store.MendPiece {
		change(&p)
		return p
	}
	stranger := func(p *store.MendPiece) { p.Mend = store.MendID{0xbb} }
	elsewhere := func(p *store.MendPiece) { p.Shard = 1 }

	a.refuse([]wrong{
		{"piece 1 of a whole shard", second, store.ErrMendOrder},
		{"the last piece of a whole shard", last, store.ErrMendOrder},
	})
	mend(t, a.target, &first)
	a.refuse([]wrong{
		{"piece 2 after piece 0", third, store.ErrMendOrder},
		{"the last piece after piece 0", last, store.ErrMendOrder},
		{"a piece of another mending", with(second, stranger), store.ErrMendOrder},
		{"a piece of another shard", with(second, elsewhere), store.ErrMendOrder},
	})
	mend(t, a.target, &second)
	mend(t, a.target, &second) // again, as after an answer that was lost
	mend(t, a.target, &first)
	a.refuse([]wrong{{"piece 2 after piece 0 again", third, store.ErrMendOrder}})
	for _, p := range pieces[1 : len(pieces)-1] {
		mend(t, a.target, p)
	}
	a.refuse([]wrong{
		{"the last piece of another mending", with(last, stranger), store.ErrMendOrder},
		{"the last piece under another number", with(last, func(p *store.MendPiece) { p.Index-- }), store.ErrMendOrder},
	})
	mend(t, a.target, &last)
	a.equal("the last piece")
	a.refuse([]wrong{{"the last piece again", last, store.ErrMendOrder}})
	a.equal("pieces that were refused")
}

func checkMendPiece(t testing.TB, h Harness) {
	a := parted(t, h)
	pieces := a.pieces()
	good := *pieces[0]
	if len(good.Rows) == 0 {
		t.Fatalf("the first piece has no rows")
	}
	row := good.Rows[0]
	with := func(change func(p *store.MendPiece)) store.MendPiece {
		p := good
		change(&p)
		return p
	}
	rows := func(all ...store.MendRow) store.MendPiece {
		return with(func(p *store.MendPiece) { p.Lo, p.Hi, p.Rows = nil, nil, all })
	}
	end := append(append([]byte{}, row.Key...), 0)
	elsewhere := []store.Cursor{{Log: wire.LogID{Site: siteA, Shard: 1}}}
	wrongs := []wrong{
		{"no name", with(func(p *store.MendPiece) { p.Mend = store.MendID{} }), store.ErrMendPiece},
		{"rows outside", with(func(p *store.MendPiece) { p.Lo, p.Hi = end, nil }), store.ErrMendPiece},
		{"rows behind", with(func(p *store.MendPiece) { p.Lo, p.Hi = nil, row.Key }), store.ErrMendPiece},
		{"a range that ends before it begins",
			with(func(p *store.MendPiece) { p.Lo, p.Hi, p.Rows = end, row.Key, nil }), store.ErrMendPiece},
		{"a row twice", rows(row, row), store.ErrMendPiece},
		{"a row without a key", rows(store.MendRow{Value: row.Value}), store.ErrMendPiece},
		{"a long key", rows(store.MendRow{Key: make([]byte, store.MendKeyBytesMax+1)}), store.ErrMendPiece},
		{"a long row", rows(store.MendRow{Key: row.Key, Value: make([]byte, store.MendRowBytesMax)}),
			store.ErrMendPiece},
		{"a long piece", rows(store.MendRow{Key: row.Key, Value: make([]byte, store.MendPieceBytesMax)},
			store.MendRow{Key: end}), store.ErrMendPiece},
		{"a row of another kind of store", rows(store.MendRow{Key: []byte{0xff, 0xff}, Value: row.Value}),
			store.ErrMendPiece},
		{"a cut row", rows(store.MendRow{Key: row.Key[:1]}), store.ErrMendPiece},
		{"cursors before the end", with(func(p *store.MendPiece) { p.Cursors = elsewhere }), store.ErrMendPiece},
		{"the first piece as the last", with(func(p *store.MendPiece) { p.Last = true }), store.ErrMendPiece},
	}
	before := look(t, a.target, 0)
	a.refuse(wrongs)
	if !look(t, a.target, 0).equal(before) {
		t.Fatalf("a piece that was refused changed what the shard shows")
	}
	for _, p := range pieces[:len(pieces)-1] {
		mend(t, a.target, p)
	}
	last := *pieces[len(pieces)-1]
	full := last
	full.Rows, last.Cursors = good.Rows, elsewhere
	a.refuse([]wrong{
		{"a last piece with rows", full, store.ErrMendPiece},
		{"cursors of another shard", last, store.ErrMendPiece},
	})
	mend(t, a.target, pieces[len(pieces)-1])
	a.equal("the last piece")
}

// checkMendAgain begins a mending from one source, and ends one from another: what
// there is of the first does not matter.
func checkMendAgain(t testing.TB, h Harness) {
	a := parted(t, h)
	pieces := a.pieces()
	for _, p := range pieces[:len(pieces)/2+1] {
		mend(t, a.target, p)
	}
	other := h.Fresh().(both)
	for _, c := range a.common[:len(a.common)/2] {
		apply(t, other, c)
	}
	a.source = other
	a.finish(a.pieces())
	for _, c := range a.common[len(a.common)/2:] {
		for _, s := range a.stores() {
			apply(t, s, c)
		}
		a.equal("a change behind a mending to an earlier moment")
	}
}

func checkMendView(t testing.TB, h Harness) {
	a := parted(t, h)
	held := view(t, a.target, 0)
	defer held.Close()
	digest, keys, cursors := digestOf(t, held, nil, nil), keysIn(t, held, nil, nil), held.Cursors()
	if now := cursorsOf(t, a.target, 0); !slices.Equal(cursors, now) {
		t.Fatalf("a view of rows has cursors %v, the store %v", cursors, now)
	}
	if len(keys) < 2*partRowsLast {
		t.Fatalf("%d rows of a shard with %d changes", len(keys), len(a.common)+len(a.orphans))
	}
	for i, key := range keys {
		to := []byte(nil)
		if i+1 < len(keys) {
			to = keys[i+1]
		}
		if got := keysIn(t, held, key, to); len(got) != 1 || string(got[0]) != string(key) {
			t.Fatalf("the range of one row %x has rows %x", key, got)
		}
		if digestOf(t, held, key, key) == digestOf(t, held, key, to) {
			t.Fatalf("row %x has the digest of no row", key)
		}
	}
	a.finish(a.pieces())
	a.joined()
	a.grow(1)
	if digestOf(t, held, nil, nil) != digest || !slices.Equal(held.Cursors(), cursors) || held.Torn() {
		t.Fatalf("a held view changed under a mending")
	}
}
