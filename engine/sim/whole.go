package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
	"github.com/zeebo/xxh3"
)

// A damaged copy is not a source, and does not stay damaged (I9): what the checker looks
// at where batches leave a site, and in every journal at rest.

// leaving: what a site ships, or gives back, is byte for byte what was appended,
// whichever copy it was read from (I9).
func (c *checker) leaving(site int, refs []wire.BatchRef) {
	for i := range refs {
		h := &refs[i].Header
		switch sum, found := c.written[h.Chain]; {
		case !found:
			c.w.fail("I1", "%s sends log %s seq %d, which its source never flushed",
				siteNames[site], h.Log(), h.LastSeq())
		case sum != xxh3.Hash(refs[i].Bytes):
			c.w.fail("I9", "%s sends log %s seq %d with changed bytes", siteNames[site], h.Log(), h.LastSeq())
		}
	}
}

// lacks says what the journals know to be missing in them; "" if nothing is.
func (p *process) lacks() string {
	for _, f := range [2]*flusher{p.own, p.mirror} {
		for _, h := range f.j.Holes() {
			if p.nowhere(f, &h) {
				continue
			}
			return fmt.Sprintf("%s: %s lacks log %s behind seq %d, up to %d, 0 = unknown",
				siteNames[p.site.index], f.dir(), h.Log, h.From.Seq, h.To.Seq)
		}
	}
	return ""
}

// torn says which journal does not read from its oldest batch to its end; "" if all
// do. To read is what finds damage that nobody has met, so the next answer may be
// another one.
func (c *checker) torn() string {
	for _, s := range c.w.core() {
		for _, f := range [2]*flusher{s.p.own, s.p.mirror} {
			if why := c.walk(s, f); why != "" {
				return siteNames[s.index] + ": " + f.dir() + " " + why
			}
		}
	}
	return ""
}

// walk reads a whole journal from its files.
func (c *checker) walk(s *site, f *flusher) string {
	r := f.j.NewReader(0)
	defer r.Close()
	r.FromFiles()
	at, book := map[wire.LogID]wire.Position{}, c.ledgers[s.index][f.which]
	for {
		refs, err := r.Next(1 << 20)
		if errors.Is(err, journal.ErrDamaged) {
			c.w.mark("damage found at rest")
			continue // the reader goes on behind it; what it took is a hole now
		}
		if err != nil {
			return err.Error()
		}
		if len(refs) == 0 {
			break
		}
		c.leaving(s.index, refs)
		for i := range refs {
			h := &refs[i].Header
			last, begun := at[h.Log()]
			end := c.w.lineage.at(h.End())
			if chain, there := book[h.Log()].find(end.Incarnation, end.Seq); there && chain != h.Chain {
				return fmt.Sprintf("reads log %s seq %d with another chain than its medium", h.Log(), h.LastSeq())
			}
			if h.Incarnation == last.Incarnation && h.LastSeq() <= last.Seq {
				continue // where repairs overlap, a reader may meet a batch again
			}
			begins := h.FirstSeq == 1 && h.Incarnation != last.Incarnation
			goesOn := h.FirstSeq == last.Seq+1 && h.Prev == last.Chain || book[h.Log()].begins(h.FirstSeq-1) ||
				slices.ContainsFunc(f.j.Holes(), func(x journal.Hole) bool {
					return x.Log == h.Log() && x.To.Seq == h.FirstSeq-1 && s.p.nowhere(f, &x)
				})
			if (begun || !c.w.plan.Retain) && !begins && !goesOn {
				return fmt.Sprintf("reads log %s seq %d behind seq %d", h.Log(), h.FirstSeq, last.Seq)
			}
			at[h.Log()] = h.End()
		}
	}
	for _, log := range f.j.Logs() {
		t, _ := f.j.Tail(log)
		last, begun := at[log]
		if last != t.Position && (begun || !c.w.plan.Retain) && !book[log].begins(t.Position.Seq) {
			return fmt.Sprintf("reads log %s up to seq %d of %d", log, last.Seq, t.Position.Seq)
		}
		if end := book[log].tail(); end.seq != c.w.lineage.at(t.Position).Seq || end.chain != t.Position.Chain {
			return fmt.Sprintf("ends log %s at seq %d, its medium at %d", log, t.Position.Seq, end.seq)
		}
	}
	return ""
}
