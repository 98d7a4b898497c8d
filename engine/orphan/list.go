package orphan

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// Listed is what is listed of one incarnation of a log: entries that did not survive, and were neither
// settled nor brought back by an end that rose.
type Listed struct {
	Range         // from the first listed entry to the last
	Entries int64 // of the host
}

// List returns what is listed, sorted by log and epoch.
func (k *Keeper) List() (all []Listed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	by := make(map[wire.Incarnation]*Listed)
	for _, f := range k.shelf.files {
		for i := range f.pieces {
			p := &f.pieces[i]
			live := k.live(p)
			n := p.entries(live)
			if n == 0 {
				continue
			}
			r := p.Range
			r.After, r.To = live[0].After, live[len(live)-1].To
			if l := by[p.Incarnation]; l != nil {
				l.After, l.To, l.Entries = min(l.After, r.After), max(l.To, r.To), l.Entries+n
				continue
			}
			by[p.Incarnation] = &Listed{r, n}
		}
	}
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(x, y Listed) int { return compareRanges(x.Range, y.Range) })
	return all
}

// live are the stretches of a piece that are listed: beyond the end as it is now, and not settled.
func (k *Keeper) live(p *piece) []Range {
	r := p.Range
	if end, bound := k.ends[p.Incarnation]; bound {
		r.After = max(r.After, min(end, r.To))
	}
	if r.After == r.To {
		return nil
	}
	return r.without(k.shelf.settled)
}

// entries counts those of the host in stretches of a piece.
func (p *piece) entries(live []Range) (n int64) {
	for _, b := range p.batches {
		for _, r := range live {
			if lo, hi := max(b.first-1, r.After), min(b.last, r.To); b.data && lo < hi {
				n += int64(hi - lo)
			}
		}
	}
	return n
}

// RangesOf are those of single entries, of the incarnations that are listed.
func RangesOf(listed []Listed, refs []wire.Ref) (ranges []Range) {
	for _, l := range listed {
		for _, ref := range refs {
			if ref.Incarnation == l.Incarnation {
				one := l.Range
				one.After, one.To = ref.Seq-1, ref.Seq
				ranges = append(ranges, one)
			}
		}
	}
	return ranges
}

// Entries calls visit with each listed entry of an incarnation, file by file, until it returns an
// error. The entry is borrowed for the call.
func (k *Keeper) Entries(of wire.Incarnation, visit func(r *Range, e *wire.Entry) error) error {
	k.one.Lock() // files stay
	defer k.one.Unlock()
	for _, f := range slices.Clone(k.shelf.files) {
		var b []byte
		for i := range f.pieces {
			p := &f.pieces[i]
			k.mu.Lock()
			live := k.live(p)
			k.mu.Unlock()
			if p.Incarnation != of || p.entries(live) == 0 {
				continue
			}
			if b == nil {
				var err error
				if b, err = k.shelf.whole(f); err != nil {
					return err
				}
			}
			if err := p.walk(b, live, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole reads a file that was read before.
func (s *shelf) whole(f *file) ([]byte, error) {
	b, err := s.read(f.name)
	if err == nil {
		_, err = decode(b, kindOrphans)
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", s.dir, f.name, err)
	}
	return b, nil
}

// walk calls visit with the entries of stretches of a piece.
func (p *piece) walk(file []byte, live []Range, visit func(r *Range, e *wire.Entry) error) error {
	var (
		h       wire.BatchHeader
		e       wire.Entry
		entries wire.EntryReader
	)
	for _, b := range p.batches {
		if !b.data {
			continue
		}
		bytes := file[b.at : b.at+b.bytes]
		if err := wire.DecodeBatchHeader(bytes, &h); err != nil {
			return err
		}
		entries.Reset(&h, bytes[wire.BatchHeaderBytes:])
		for entries.Next(&e) {
			for i := range live {
				if !live[i].has(e.Seq) {
					continue
				}
				if err := visit(&p.Range, &e); err != nil {
					return err
				}
			}
		}
		if err := entries.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Settle takes entries off the list permanently, durably when it returns.
func (k *Keeper) Settle(ranges []Range) error {
	k.one.Lock()
	defer k.one.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.shelf.settle(ranges)
}
