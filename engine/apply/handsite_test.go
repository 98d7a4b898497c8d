package apply

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// handSite is one site of a hand: its journals, its Store, and the Applier between them.
type handSite struct {
	w        *hand
	id       wire.SiteID
	held     wire.Epoch
	journals [2]*handJournal // own, mirror
	tails    map[*handLog]int
	mem      *store.Mem
	a        *Applier
	ends     role.Ends // what the applier was told, for the checks
	at       map[wire.LogID]wire.Position
	waits    Waits
}

// handJournal is one journal and its reader, as a shell has them.
type handJournal struct {
	s      *handSite
	own    bool
	refs   []wire.BatchRef
	base   int // what lies before was given back
	starts []role.Start
	told   int // of starts
	unit   int // a reader begins at a multiple of it
	feed   *Feed
	at     int
	placed bool
	again  bool
}

func (j *handJournal) NextLost(wire.LogID, wire.Position) bool { return false }
func (j *handJournal) Repairs() uint64                         { return 0 }
func (j *handJournal) End(log wire.LogID) wire.Position        { return j.tailAt(len(j.refs), log) }

// tailAt is where a log ends in the first n batches.
func (j *handJournal) tailAt(n int, log wire.LogID) wire.Position {
	for i := n - 1; i >= 0; i-- {
		if h := &j.refs[i].Header; h.Log() == log {
			return h.End()
		}
	}
	return wire.Position{}
}

// covers is what the journal decides in its method of that name.
func (j *handJournal) covers(have wire.Position, n int, log wire.LogID) bool {
	row := j.tailAt(n, log)
	switch order := have.Order(row); {
	case row.Seq == 0:
		return true
	case order != wire.OrderUnknown:
		return order != wire.OrderBefore
	}
	for i := have.Incarnation; i != (wire.Incarnation{}); {
		at := slices.IndexFunc(j.starts, func(s role.Start) bool { return s.Incarnation == i })
		if at < 0 {
			break
		}
		if i = j.starts[at].Before.Incarnation; i == row.Incarnation {
			return true
		}
	}
	for i := n + j.unit - n%j.unit; i < len(j.refs)+j.unit; i += j.unit {
		if j.tailAt(min(i, len(j.refs)), log).Incarnation == have.Incarnation {
			return true
		}
	}
	return false
}

// place puts the reader at the newest place that serves every log.
func (j *handJournal) place() {
	j.feed.Begin()
	j.s.waits.Begin(func(log wire.LogID) bool { return (log.Site == j.s.id) == j.own })
	j.placed, j.again = true, false
	have := map[wire.LogID]wire.Position{}
	for i := range j.refs {
		log := j.refs[i].Header.Log()
		have[log] = j.feed.End(log)
	}
	var short wire.LogID
	for n := len(j.refs) - len(j.refs)%j.unit; ; n -= j.unit {
		n, served := max(n, j.base), true
		for log, p := range have {
			if !j.covers(p, n, log) {
				served, short = false, log
			}
		}
		if served {
			j.at = n
			return
		}
		if n == j.base {
			j.s.w.t.Fatalf("%08x: log %s behind %s was given back", j.s.id, short, have[short])
		}
	}
}

func (s *handSite) open() {
	a, err := New(3, s.mem)
	require.NoError(s.w.t, err)
	s.a, s.ends, s.at, s.waits = a, role.Ends{}, map[wire.LogID]wire.Position{}, Waits{}
	for _, j := range s.journals {
		j.feed = NewFeed(j, 4, a.From)
		j.placed, j.again, j.told = false, false, 0
		for _, c := range a.Cursors(nil) {
			if (c.Log.Site == s.id) == j.own {
				j.feed.Set(c)
				s.at[c.Log] = c.Position
			}
		}
	}
	s.raise(s.held)
}

func (s *handSite) begin(on []wire.LogID) {
	for _, log := range on {
		j := s.journalOf(log)
		j.again = true
		s.w.again++
	}
}

func (s *handSite) journalOf(log wire.LogID) *handJournal {
	if log.Site == s.id {
		return s.journals[0]
	}
	return s.journals[1]
}

func (s *handSite) raise(e wire.Epoch) {
	s.held = max(s.held, e)
	s.begin(s.a.Raise(s.id, s.held))
}

// learn tells the applier which STARTs the journals have taken.
func (s *handSite) learn() {
	for _, j := range s.journals {
		for ; j.told < len(j.starts); j.told++ {
			start := j.starts[j.told]
			s.begin(s.a.Learn(start))
			require.NoError(s.w.t, s.ends.Add(start))
		}
	}
}

// round reads and applies up to n batches; progress: something happened. between is called
// between two batches: other readers of the site go on then.
func (j *handJournal) round(n int, between func()) (progress bool) {
	s := j.s
	s.learn()
	if j.again || !j.placed {
		j.place()
		progress = true
	}
	refs := j.refs[j.at:min(j.at+n, len(j.refs))]
	var takes []bool
	for i := range refs {
		takes = append(takes, j.feed.Takes(&refs[i].Header))
	}
	var waiting []*WaitError
	for i := range refs {
		if !takes[i] {
			continue
		}
		if i > 0 {
			between()
		}
		b := &refs[i]
		s.permitted(b)
		done, err := s.a.Apply(background, b)
		wait := Waiting(err)
		switch {
		case wait != nil:
			j.feed.Wait(&b.Header)
			waiting = append(waiting, wait)
			s.w.waited++
		case err != nil:
			require.ErrorIs(s.w.t, err, ErrPast, "%08x", s.id)
			require.NotNil(s.w.t, s.a.Past(), "%08x: it is refused for good: %v", s.id, err)
			j.feed.Wait(&b.Header)
			s.w.past++
		case done:
			j.feed.Moved(&b.Header)
			s.applied(b)
		}
	}
	j.at += len(refs)
	cursors := j.feed.TakeMoved()
	for _, c := range cursors {
		s.at[c.Log] = c.Position
	}
	s.begin(s.waits.Moved(cursors, waiting, func(log wire.LogID) wire.Position { return s.at[log] }))
	return progress || len(refs) > 0
}

// permitted notes what must not be applied now; applied refuses it.
func (s *handSite) permitted(b *wire.BatchRef) {
	if end, bound := s.ends.End(b.Header.Incarnation, b.Header.Epoch); bound && b.Header.LastSeq() > end.Seq {
		s.w.passed++
	}
}

func (s *handSite) applied(b *wire.BatchRef) {
	h := &b.Header
	end, bound := s.ends.End(h.Incarnation, h.Epoch)
	if bound {
		require.LessOrEqual(s.w.t, h.LastSeq(), end.Seq, "site %d applied what it knows to be an orphan", s.id)
	}
	held := h.Site == s.id && h.Epoch < s.held && role.WriterOf(s.held) != s.id
	require.False(s.w.t, held && !bound, "%08x applied an own entry after the raise", s.id)
}

// newest is a log's last incarnation in a site's journal.
func (s *handSite) newest(log wire.LogID) wire.Incarnation {
	return s.journalOf(log).End(log).Incarnation
}

// takes says whether a site's journals take the next batch of an incarnation, and from where.
func (s *handSite) takes(l *handLog) bool {
	n := s.tails[l]
	switch {
	case l.c.site == s.id, n == len(l.batches):
		return false
	case n > 0:
		return s.newest(l.log()) == l.c.incarnation
	}
	start := l.start()
	return start.Uncovered(s.tail) == nil
}

func (s *handSite) tail(_ wire.LogID, i wire.Incarnation) wire.Position {
	for l, n := range s.tails {
		if l.c.incarnation == i {
			return l.endAt(n)
		}
	}
	return wire.Position{}
}

// take stages the next batch of an incarnation.
func (s *handSite) take(l *handLog) {
	b := l.batches[s.tails[l]]
	j := s.journalOf(l.log())
	if s.tails[l]++; s.tails[l] == 1 {
		if start := l.start(); start.Epoch > role.First {
			start.Before = j.End(l.log())
			j.starts = append(j.starts, start)
		}
		s.raise(max(s.held, l.c.epoch))
	}
	j.refs = append(j.refs, b)
}

// known are the ends by all STARTs in the site's journals, told or not.
func (s *handSite) known() (e role.Ends) {
	for _, j := range s.journals {
		for _, start := range j.starts {
			require.NoError(s.w.t, e.Add(start))
		}
	}
	return e
}

// endOf is where a log ends for a site: its tail where nothing binds it.
func (s *handSite) endOf(e *role.Ends, l *handLog) wire.Position {
	if end, bound := e.End(l.c.incarnation, l.c.epoch); bound {
		return end
	}
	return l.endAt(s.tails[l])
}
