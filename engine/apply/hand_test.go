package apply

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// The hand writer lays down the journals of two or three sites without a heart, in orders that
// one would have to fail for a long time to get: promotions with any site reachable, entries of
// fenced writers, STARTs that do not survive, batches in any order of arrival that journals
// take, Stores that crash, batches given back. The production Applier, Feed and Waits read them.
//
//	write ─▶ own journal ──▶ reader ─┐
//	                                 ├─▶ Applier ─▶ Store ─▶ checked: what survives, once, in order
//	take ─▶ mirror journal ▶ reader ─┘
//
// At rest everything that survives has arrived everywhere, and the oracle compares.
type hand struct {
	t     *rapid.T
	logs  []*handLog // by rising epoch
	sites []*handSite

	waited, passed, past, blocked, orphans, dead, again, gave int // for the log
}

// handLog is one incarnation, whole.
type handLog struct {
	c       chainer
	rows    []wire.LogEnd
	batches []wire.BatchRef
}

func (l *handLog) log() wire.LogID { return wire.LogID{Site: l.c.site, Shard: 3} }

func (l *handLog) start() role.Start {
	return role.Start{Log: l.log(), Incarnation: l.c.incarnation, Epoch: l.c.epoch, Rows: l.rows}
}

// endAt is the position behind the first n batches.
func (l *handLog) endAt(n int) wire.Position {
	if n == 0 {
		return wire.Position{}
	}
	return l.batches[n-1].Header.End()
}

// batchesUpTo is how many batches end at or below a position of the incarnation.
func (l *handLog) batchesUpTo(end wire.Position) int {
	n := 0
	for n < len(l.batches) && l.batches[n].Header.LastSeq() <= end.SeqIn(l.c.incarnation) {
		n++
	}
	return n
}

// promote has a site open the next epoch, with some of the others reachable.
func (w *hand) promote(s *handSite, reach []*handSite) {
	s.learn()
	if s.a.Past() != nil {
		return
	}
	heard := s.held
	e := s.known()
	for _, l := range w.logs { // fill, by rising epoch
		for _, o := range reach {
			heard = max(heard, o.held)
			end, bound := e.End(l.c.incarnation, l.c.epoch)
			for s.takes(l) && s.tails[l] < o.tails[l] && !(bound && s.tails[l] >= l.batchesUpTo(end)) {
				s.take(l)
				e = s.known()
				end, bound = e.End(l.c.incarnation, l.c.epoch)
			}
		}
	}
	rows := map[wire.LogID]wire.LogEnd{}
	for _, l := range w.logs {
		end := s.endOf(&e, l)
		if l.batchesUpTo(end) > s.tails[l] {
			return // what survives is out of reach
		}
		if end.Seq > 0 {
			rows[l.log()] = wire.LogEnd{Log: l.log(), End: end}
		}
	}
	epoch, err := role.Next(heard, s.id)
	require.NoError(w.t, err)
	w.open(s, epoch, rows)
}

// open writes START of an epoch at a site.
func (w *hand) open(s *handSite, epoch wire.Epoch, rows map[wire.LogID]wire.LogEnd) {
	l := &handLog{c: chainer{incarnation: wire.Incarnation{byte(len(w.logs) + 1), 7}, site: s.id, epoch: epoch}}
	for _, o := range w.sites {
		if row, ok := rows[wire.LogID{Site: o.id, Shard: 3}]; ok {
			l.rows = append(l.rows, row)
		}
	}
	body, err := wire.AppendStart(nil, l.rows)
	require.NoError(w.t, err)
	l.batches = append(l.batches, l.c.close(wire.BatchStart, 1, body))
	w.logs = append(w.logs, l)
	slices.SortFunc(w.logs, func(a, b *handLog) int { return int(int64(a.c.epoch) - int64(b.c.epoch)) })
	s.take(l)
}

// write appends a batch at a site that believes that it writes.
func (w *hand) write(s *handSite, entries int) {
	for _, l := range w.logs {
		if l.c.site == s.id && l.c.epoch == s.held {
			var batch []wire.Entry
			for range entries {
				batch = append(batch, put(fmt.Sprint("k", len(l.batches)%3), fmt.Sprint(l.c.epoch, len(l.batches))))
			}
			l.batches = append(l.batches, l.c.data(batch...))
			s.take(l)
		}
	}
}

// crash takes the Store back to a moment since its last Sync, and opens the site again.
func (s *handSite) crash(back int) {
	s.mem = s.mem.Crash(func(_ wire.Shard, unsynced int) int { return max(0, unsynced-back) })
	s.open()
}

// giveBack drops batches that nobody needs any more: every site has the highest START, so that
// no end moves, and the Store is durably behind them or they did not survive.
func (j *handJournal) giveBack() {
	s := j.s
	last := s.w.logs[len(s.w.logs)-1]
	for _, o := range s.w.sites {
		if o.tails[last] == 0 {
			return
		}
	}
	e := s.known()
	cursors, err := s.mem.Durable(3)
	require.NoError(s.w.t, err)
	highest := wire.Epoch(0)
	for _, c := range cursors {
		highest = max(highest, c.Epoch)
		if e.Past(c.Position, c.Epoch) {
			return
		}
	}
	for base := j.base + j.unit; base <= len(j.refs); base += j.unit {
		for i := j.base; i < base; i++ {
			h := &j.refs[i].Header
			end, bound := e.End(h.Incarnation, h.Epoch)
			gone := bound && h.FirstSeq > end.Seq || h.Epoch < highest ||
				cursorIn(cursors, h.Log()).Covers(h.End())
			if !gone {
				return
			}
		}
		if j.placed && j.at < base {
			return // a reader stands before it
		}
		j.base = base
		s.w.gave++
	}
}

// arrive brings what survives to every site, as far as its journals take it in their order.
func (w *hand) arrive(e *role.Ends) {
	for _, s := range w.sites {
		for _, l := range w.logs {
			end, bound := e.End(l.c.incarnation, l.c.epoch)
			want := len(l.batches)
			if bound {
				want = l.batchesUpTo(end)
			}
			for s.tails[l] < want && s.takes(l) {
				s.take(l)
			}
		}
	}
}

// rest runs all readers until none moves.
func (w *hand) rest() {
	for range 1000 {
		progress := false
		for _, s := range w.sites {
			for _, j := range s.journals {
				progress = j.round(5, func() {}) || progress
			}
		}
		if !progress {
			return
		}
	}
	w.t.Fatalf("the readers do not come to rest%v", w)
}

// survivors is the oracle: what all STARTs together leave of all logs, in order. It knows
// nothing of role.Ends: survival is decided from the highest START down, by its rows.
func (w *hand) survivors() (entries []string) {
	var alive []*handLog
	ends := map[*handLog]wire.Seq{}
	for _, l := range slices.Backward(w.logs) {
		if len(alive) == 0 {
			alive, ends[l] = append(alive, l), l.endAt(len(l.batches)).Seq
			continue
		}
		for _, row := range alive[len(alive)-1].rows {
			if row.End.Incarnation == l.c.incarnation {
				alive, ends[l] = append(alive, l), row.End.Seq
				break
			}
		}
	}
	for _, l := range slices.Backward(alive) {
		for i := range l.batches {
			h := &l.batches[i].Header
			for seq := h.FirstSeq; h.Kind == wire.BatchData && seq <= h.LastSeq() && seq <= ends[l]; seq++ {
				entries = append(entries, entryName(l.c.incarnation, seq))
			}
		}
	}
	w.dead += len(w.logs) - len(alive)
	return entries
}

// entryName is short: 3:7 is the seventh of the third incarnation.
func entryName(i wire.Incarnation, seq wire.Seq) string { return fmt.Sprintf("%d:%d", i[0], seq) }

// String draws the world, for a failure.
func (w *hand) String() string {
	var b strings.Builder
	for _, l := range w.logs {
		fmt.Fprintf(&b, "\nsite %d opens %d in epoch %d:", l.c.site, l.c.incarnation[0], l.c.epoch)
		for _, r := range l.rows {
			fmt.Fprintf(&b, " %s", entryName(r.End.Incarnation, r.End.Seq))
		}
	}
	for _, s := range w.sites {
		fmt.Fprintf(&b, "\nsite %d holds %d, past %v, waits %v", s.id, s.held, s.a.Past(), s.waits.All())
		for _, j := range s.journals {
			fmt.Fprintf(&b, "\n  journal from %d, reader at %d (%v):", j.base, j.at, j.placed)
			for i := range j.refs {
				fmt.Fprintf(&b, " %s", entryName(j.refs[i].Header.Incarnation, j.refs[i].Header.LastSeq()))
			}
		}
	}
	return b.String()
}

// check compares every Store with the oracle.
func (w *hand) check(e *role.Ends) {
	want := w.survivors()
	for _, s := range w.sites {
		got := []string{}
		for _, row := range s.mem.Rows() {
			got = append(got, entryName(row.Dot.Incarnation, row.Dot.Seq))
		}
		for _, l := range w.logs {
			require.NoError(w.t, s.a.Err(l.log()), "%08x", s.id)
		}
		if past := s.a.Past(); past != nil {
			require.True(w.t, e.Past(past.At.Position, past.At.Epoch), "%08x: %v", s.id, past)
			w.past++
			continue
		}
		whole := true
		for _, l := range w.logs {
			end, bound := e.End(l.c.incarnation, l.c.epoch)
			n := l.batchesUpTo(end)
			if !bound {
				n = len(l.batches)
			}
			whole = whole && s.tails[l] >= n
			w.orphans += max(0, s.tails[l]-n)
		}
		if !whole { // its journals cannot take in order what is missing: it needs a repair
			w.blocked++
			known := s.tails[w.logs[len(w.logs)-1]] > 0 // else other STARTs are the highest for it
			if known && (len(got) > len(want) || !slices.Equal(want[:len(got)], got)) {
				w.t.Fatalf("site %d has %v, want a part of %v%v", s.id, got, want, w)
			}
			continue
		}
		if !slices.Equal(want, got) {
			w.t.Fatalf("site %d has %v, want %v%v", s.id, got, want, w)
		}
	}
}

func newHand(t *rapid.T) *hand {
	w := &hand{t: t}
	for i := range rapid.IntRange(2, 3).Draw(t, "sites") {
		s := &handSite{w: w, id: wire.SiteID(i + 1), tails: map[*handLog]int{}, mem: store.NewMem()}
		for k := range s.journals {
			s.journals[k] = &handJournal{s: s, own: k == 0, unit: rapid.IntRange(1, 4).Draw(t, "unit")}
		}
		w.sites = append(w.sites, s)
		s.open()
	}
	first := role.First
	if rapid.Bool().Draw(t, "genesis") {
		first = 1<<32 | 1
	}
	w.open(w.sites[0], first, nil)
	return w
}

// step does one thing anywhere.
func (w *hand) step() {
	pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(w.t, name) }
	s := w.sites[pick("site", len(w.sites))]
	j := s.journals[pick("journal", 2)]
	switch pick("step", 16) {
	case 0, 1, 2:
		w.write(s, 1+pick("entries", 2))
	case 3:
		if len(w.logs) < 7 {
			var reach []*handSite
			for _, o := range w.sites {
				if o != s && pick("reach", 2) == 1 {
					reach = append(reach, o)
				}
			}
			w.promote(s, reach)
		}
	case 4, 5, 6, 7, 8:
		if l := w.logs[pick("log", len(w.logs))]; s.takes(l) {
			for range 1 + pick("batches", 3) {
				if s.takes(l) {
					s.take(l)
				}
			}
		}
	case 9, 10, 11, 12:
		between := func() { // a START may arrive, and the other reader tell it
			if pick("between", 4) == 0 {
				if l := w.logs[pick("log", len(w.logs))]; s.takes(l) {
					s.take(l)
				}
				s.other(j).round(1+pick("round", 4), func() {})
			}
		}
		j.round(1+pick("round", 6), between)
	case 13:
		s.crash(pick("back", 4))
	case 14:
		require.NoError(w.t, s.mem.Sync(background))
		j.giveBack()
	case 15:
		s.raise(w.logs[pick("log", len(w.logs))].c.epoch)
	}
}

func (s *handSite) other(j *handJournal) *handJournal {
	if j == s.journals[0] {
		return s.journals[1]
	}
	return s.journals[0]
}

// TestStoresHoldWhatSurvivesOfAnyHistory: each once, in order; nothing of an orphan once its
// end is known; a Store that was past it before says so (I2, I3, I6).
func TestStoresHoldWhatSurvivesOfAnyHistory(t *testing.T) {
	var sum hand
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newHand(t)
		for range rapid.IntRange(10, 90).Draw(t, "steps") {
			w.step()
		}
		var all role.Ends
		for _, l := range w.logs {
			require.NoError(t, all.Add(l.start()))
		}
		w.arrive(&all)
		w.rest()
		w.check(&all)
		for _, s := range w.sites { // and so after a restart
			s.crash(2)
		}
		w.rest()
		w.check(&all)
		runs++
		sum.waited, sum.passed, sum.past = sum.waited+w.waited, sum.passed+w.passed, sum.past+w.past
		sum.blocked, sum.orphans, sum.dead = sum.blocked+w.blocked, sum.orphans+w.orphans, sum.dead+w.dead
		sum.again, sum.gave = sum.again+w.again, sum.gave+w.gave
	})
	t.Logf("%d histories: %d batches waited, %d passed over, %d refused past an end, %d readers began again, "+
		"%d sites in need of a repair, %d orphans in journals, %d STARTs that did not survive, %d units given back",
		runs, sum.waited, sum.passed, sum.past, sum.again, sum.blocked, sum.orphans, sum.dead, sum.gave)
}
