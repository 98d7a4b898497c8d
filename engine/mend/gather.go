package mend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

const (
	// rowsFirst is how many rows a part has at first, and rowsLeast how many one has at most
	// whose rows are asked for: 64 times less, as a comparison narrows.
	rowsFirst = 4096
	rowsLeast = 64
)

// Own is the rows of the shard here, as they were when it was held.
type Own interface {
	Digest(ctx context.Context, lo, hi []byte) ([32]byte, error)
	Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error
}

// Part is the rows of [Lo, Hi) at the source, by their digest; Hi nil = unbounded.
type Part struct {
	Lo, Hi []byte
	Digest [32]byte
}

// Fragment is what an answer brought of the rows of one part.
type Fragment struct {
	Part
	Skip  int // bytes of the part that came before
	Bytes int // of Data
	More  bool
}

// Record is what an answer adds to the file.
type Record struct {
	// View is not nil if the source's view changed, or is proven: Whole says that
	// everything in the file is of it.
	View  []wire.Cursor
	Whole bool
	// Fragments lie in Data one behind the other.
	Fragments []Fragment
	Data      []byte
}

// Progress is how far a mending has come. Rows are the source's.
type Progress struct {
	Rows    uint64 // of the shard, as far as they were compared
	Differ  uint64 // of them: in parts that differ
	Fetched uint64 // of those: in the file
}

// span is a range that is still to be compared, in parts of so many rows.
type span struct {
	lo, hi []byte
	count  uint32
	first  bool // it is not part of another one: its rows are counted
}

// wanted is a part whose rows are asked for.
type wanted struct {
	Part
	rows uint64 // at the source; of a part of the file, not known
	held bool   // the file has it, of an earlier view: only what changed is sent
	came bool   // rows of it came from this view: Digest is the view's
}

// Gather decides what is asked for until everything that differs is in the file. It is
// pure: answers come in, questions and records go out. Not for concurrent use.
//
//	Open ──▶ parts held of an earlier view: changed? ──▶ gaps: which parts differ ──▶ their rows ──▶ complete
//	 ▲                                                                                        │
//	 └──────────────────────── Lost: the view is gone ────────────────────────────────────────┘
//
// Parts in the file are disjoint. It holds about 150 bytes for each 64 rows that differ.
type Gather struct {
	shard   wire.Shard
	view    uint64
	cursors []wire.Cursor // of the view
	base    []wire.Cursor // everything in the file is of a view with these; nil: it is of several

	fetched []Part // in the file, sorted by Lo
	equal   []Part
	todo    []span   // the last is the next
	want    []wanted // in the order in which they are asked for
	partial Partial  // what came of a part that is not whole
	asked   *wire.Mend
	did     Progress
}

// Partial is a part of which the first bytes of its rows are in the file; none if Bytes is 0.
type Partial struct {
	Part
	Bytes int
}

// NewGather begins with what a file holds: parts, of a view with these cursors, or of several.
func NewGather(shard wire.Shard, held []Part, partial Partial, base []wire.Cursor) *Gather {
	g := &Gather{shard: shard, fetched: slices.Clone(held), partial: partial, base: base}
	slices.SortFunc(g.fetched, byLo)
	return g
}

func byLo(a, b Part) int { return bytes.Compare(a.Lo, b.Lo) }

// Lost forgets the view. What the file holds stays, to be proven by the next one.
func (g *Gather) Lost() {
	g.view, g.asked = 0, nil
	g.equal, g.todo, g.want = nil, nil, nil
	g.did = Progress{}
}

// Cursors are those of the view.
func (g *Gather) Cursors() []wire.Cursor { return g.cursors }

// Progress says how far it is.
func (g *Gather) Progress() Progress { return g.did }

// Compared says that everything was compared: what is missing is rows.
func (g *Gather) Compared() bool { return g.view != 0 && len(g.todo) == 0 && !g.checks() }

// Differs says that something is to be changed here.
func (g *Gather) Differs() bool { return len(g.fetched)+len(g.want) > 0 }

// skip is how many bytes of the first wanted part came: the same digest is the same rows.
func (g *Gather) skip() int {
	w, p := &g.want[0], &g.partial
	if bytes.Equal(w.Lo, p.Lo) && bytes.Equal(w.Hi, p.Hi) && w.Digest == p.Digest {
		return p.Bytes
	}
	return 0
}

func (g *Gather) checks() bool { return len(g.want) > 0 && g.want[0].held }

// Next is the question to ask; nil: the file is complete. The ID is the caller's to set.
func (g *Gather) Next() *wire.Mend {
	q := &wire.Mend{Kind: wire.MendOpen, Shard: g.shard, View: g.view}
	switch {
	case g.view == 0:
	case g.checks() || len(g.todo) == 0 && len(g.want) > 0:
		q.Kind, q.Skip = wire.MendRows, uint32(g.skip())
		for i := 0; i < len(g.want) && i < wire.MendRangeMax && g.want[i].held == g.want[0].held; i++ {
			w := &g.want[i]
			r := wire.MendRange{Lo: w.Lo, Hi: w.Hi}
			if w.held && !w.came {
				r.Digest = w.Digest
			}
			q.Ranges = append(q.Ranges, r)
		}
	case len(g.todo) > 0:
		s := &g.todo[len(g.todo)-1]
		q.Kind, q.Count = wire.MendParts, s.count
		q.Ranges = []wire.MendRange{{Lo: s.lo, Hi: s.hi}}
	default:
		return nil
	}
	g.asked = q
	return q
}

// Take takes the answer to the last question, and says what goes into the file; nil =
// nothing does. wire.ErrProtocol: it does not answer that.
func (g *Gather) Take(ctx context.Context, own Own, a *wire.Rows) (*Record, error) {
	q := g.asked
	if g.asked = nil; q == nil {
		return nil, fmt.Errorf("shard %d: an answer to no question: %w", g.shard, wire.ErrProtocol)
	}
	switch q.Kind {
	case wire.MendOpen:
		return g.opened(ctx, own, a)
	case wire.MendParts:
		return nil, g.parts(ctx, own, a)
	}
	return g.rows(q, a)
}

// opened takes a view. One with the cursors of the file is the file's, because equal cursors
// are equal rows; else what the file holds is proven first.
func (g *Gather) opened(ctx context.Context, own Own, a *wire.Rows) (*Record, error) {
	if a.View == 0 {
		return nil, fmt.Errorf("shard %d: no view in the answer: %w", g.shard, wire.ErrProtocol)
	}
	g.view, g.cursors = a.View, slices.Clone(a.Cursors)
	g.want, g.todo = nil, nil
	same := g.base != nil && slices.Equal(g.base, g.cursors)
	lo := []byte(nil)
	var gaps []span
	for _, p := range g.fetched {
		if !same {
			g.want = append(g.want, wanted{Part: p, held: true})
		}
		if !bytes.Equal(lo, p.Lo) {
			gaps = append(gaps, span{lo: lo, hi: p.Lo, first: true})
		}
		lo = p.Hi
	}
	if len(g.fetched) == 0 || lo != nil {
		gaps = append(gaps, span{lo: lo, first: true})
	}
	for _, s := range slices.Backward(gaps) {
		count, err := firstCount(ctx, own, s.lo, s.hi)
		if err != nil {
			return nil, err
		}
		s.count = count
		g.todo = append(g.todo, s)
	}
	if same {
		return nil, nil
	}
	rec := &Record{View: g.cursors, Whole: len(g.want) == 0}
	if g.base = nil; rec.Whole {
		g.base = g.cursors
	}
	return rec, nil
}

// errEnough ends a walk over keys.
var errEnough = errors.New("enough")

// firstCount is how many rows the first parts of a range have: where nothing is here,
// everything differs, and nothing is narrowed.
func firstCount(ctx context.Context, own Own, lo, hi []byte) (uint32, error) {
	count := uint32(rowsLeast)
	err := own.Keys(ctx, lo, hi, func([]byte) error {
		count = rowsFirst
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return count, err
}

// parts compares the parts of the newest span with what is here.
func (g *Gather) parts(ctx context.Context, own Own, a *wire.Rows) error {
	s := g.todo[len(g.todo)-1]
	if a.View != g.view || len(a.Parts) == 0 {
		return fmt.Errorf("shard %d: %d parts of view %d: %w", g.shard, len(a.Parts), a.View, wire.ErrProtocol)
	}
	lo := s.lo
	var narrow []span
	for i := range a.Parts {
		p := &a.Parts[i]
		hi := slices.Clone(p.Hi)
		if len(hi) == 0 {
			hi = nil
		}
		if s.hi != nil && (hi == nil || bytes.Compare(hi, s.hi) > 0) || hi != nil && bytes.Compare(hi, lo) <= 0 {
			return fmt.Errorf("shard %d: a part from %x to %x of %x to %x: %w", g.shard, lo, hi, s.lo, s.hi,
				wire.ErrProtocol)
		}
		digest, err := own.Digest(ctx, lo, hi)
		if err != nil {
			return err
		}
		part := Part{lo, hi, p.Digest}
		rows := uint64(p.Keys)
		if s.first {
			g.did.Rows += rows
		}
		switch {
		case digest == p.Digest:
			g.equal = append(g.equal, part)
		case s.count <= rowsLeast || p.Keys <= rowsLeast:
			g.want = append(g.want, wanted{Part: part, rows: rows})
			g.did.Differ += rows
		default:
			narrow = append(narrow, span{lo: lo, hi: hi, count: rowsLeast})
		}
		lo = hi
	}
	g.todo = g.todo[:len(g.todo)-1]
	if lo != nil && !bytes.Equal(lo, s.hi) {
		g.todo = append(g.todo, span{lo, s.hi, s.count, s.first})
	}
	for _, n := range slices.Backward(narrow) {
		g.todo = append(g.todo, n)
	}
	return nil
}

// rows takes rows of the first parts that are wanted.
func (g *Gather) rows(q *wire.Mend, a *wire.Rows) (*Record, error) {
	if a.View != g.view || len(a.Pieces) == 0 || len(a.Pieces) > len(q.Ranges) {
		return nil, fmt.Errorf("shard %d: %d pieces of view %d for %d ranges: %w",
			g.shard, len(a.Pieces), a.View, len(q.Ranges), wire.ErrProtocol)
	}
	rec := &Record{Data: a.Data}
	done := 0
	for i := range a.Pieces {
		p, w := &a.Pieces[i], &g.want[i]
		more := a.Rest > 0 && i == len(a.Pieces)-1
		if more && p.Bytes == 0 {
			return nil, fmt.Errorf("shard %d: rows from %x on are there, and none came: %w", g.shard, w.Lo,
				wire.ErrProtocol)
		}
		if w.held && !w.came && p.Digest == w.Digest {
			g.did.Fetched += w.rows
			done++
			continue
		}
		part := Part{w.Lo, w.Hi, p.Digest}
		f := Fragment{Part: part, Bytes: int(p.Bytes), More: more}
		if i == 0 {
			f.Skip = int(q.Skip)
		}
		rec.Fragments = append(rec.Fragments, f)
		if g.partial = (Partial{}); more {
			g.partial = Partial{part, f.Skip + f.Bytes}
			w.Digest, w.came = p.Digest, true
			break
		}
		g.hold(part)
		g.did.Fetched += w.rows
		done++
	}
	g.want = g.want[done:]
	if g.base == nil && !g.checks() {
		g.base = g.cursors
		rec.View, rec.Whole = g.cursors, true
	}
	if len(rec.Fragments) == 0 && rec.View == nil {
		return nil, nil
	}
	return rec, nil
}

// hold notes a part that the file has, in the place of an older one.
func (g *Gather) hold(p Part) {
	i, found := slices.BinarySearchFunc(g.fetched, p, byLo)
	if found {
		g.fetched[i] = p
		return
	}
	g.fetched = slices.Insert(g.fetched, i, p)
}

// Cover is all parts of the shard at the source, without a gap: those that are equal here,
// and those in the file. Only of a complete one.
func (g *Gather) Cover() ([]Part, error) {
	all := slices.Concat(g.equal, g.fetched)
	slices.SortFunc(all, byLo)
	lo, whole := []byte(nil), false
	for i := range all {
		if whole || !bytes.Equal(all[i].Lo, lo) {
			return nil, fmt.Errorf("shard %d: a part begins at %x, the one before ends at %x", g.shard, all[i].Lo, lo)
		}
		lo, whole = all[i].Hi, all[i].Hi == nil
	}
	if !whole {
		return nil, fmt.Errorf("shard %d: the parts end at %x", g.shard, lo)
	}
	return all, nil
}
