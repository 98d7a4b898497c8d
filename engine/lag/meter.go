package lag

import (
	"time"

	"github.com/claudefs/repl/wire"
)

// mark is an entry, its stamp, and when it became durable here by the steady clock: at
// at if sure, else no earlier. stamp 0 = not known yet, at 0 = nothing is known.
type mark struct {
	seq   wire.Seq
	stamp wire.Stamp
	at    time.Duration
	sure  bool
}

type meterLog struct {
	tail, reached wire.Seq
	from          wire.Seq   // the reader does not meet what lies before
	oldest, next  mark       // next.seq 0 = none
	last          wire.Stamp // of the tail that Set was given: no outstanding entry without a stamp is younger
	at            int        // index in outstanding, +1
}

// Meter knows what is outstanding at a peer at one ack level: how many entries,
// and how old the oldest is. Per log it keeps the stamps and times of two outstanding
// entries: the oldest, and a later one that takes its place when the first is
// reached. So its age is exact while a log is briefly behind and else too
// high by at most what one window holds; it is never too low.
// Memory: 104 bytes per shard.
type Meter struct {
	logs        []meterLog
	outstanding []wire.Shard // logs with reached < tail, in no order that matters
	entries     int64
}

// NewMeter returns a meter for logs of shards [0, count) that have nothing.
func NewMeter(count uint32) *Meter { return &Meter{logs: make([]meterLog, count)} }

// Entries is the number of outstanding entries.
func (m *Meter) Entries() int64 { return m.entries }

// Set says where a log ends here, with the stamp of its last entry, how far the peer is,
// and what the reader begins behind. Stamps of what it passes become known then.
func (m *Meter) Set(s wire.Shard, tail, reached, from wire.Seq, last wire.Stamp) {
	l := &m.logs[s]
	l.last, l.from = last, from
	reached = min(reached, tail)
	m.entries += int64(tail-reached) - int64(l.tail-l.reached)
	switch {
	case tail < l.tail || l.reached == l.tail || reached < l.reached:
		l.oldest, l.next = mark{seq: reached + 1}, mark{}
	case reached > l.reached && l.next.seq != 0 && l.next.seq <= reached+1:
		l.oldest, l.next = l.next, mark{}
	case reached > l.reached:
		l.oldest = mark{seq: reached + 1, at: l.oldest.at}
	}
	l.tail, l.reached = tail, reached
	m.list(s, l)
}

// Grew says that at a moment of the steady clock, not 0, the log came to hold entries
// first to last as well, the oldest of them stamped stamp.
func (m *Meter) Grew(s wire.Shard, first, last wire.Seq, stamp wire.Stamp, at time.Duration) {
	l := &m.logs[s]
	if last <= l.tail {
		return
	}
	if l.reached == l.tail {
		l.oldest, l.next = mark{first, stamp, at, true}, mark{}
	} else if l.next.seq == 0 {
		l.next = mark{first, stamp, at, true}
	}
	m.entries += int64(last - l.tail)
	l.tail = last
	m.list(s, l)
}

// Passed says that the reader met the batch of entries first to last.
func (m *Meter) Passed(s wire.Shard, first, last wire.Seq, stamp wire.Stamp) {
	l := &m.logs[s]
	l.from = max(l.from, last) // it is not met again
	switch {
	case l.reached >= l.tail || last <= l.reached:
	case l.oldest.stamp == 0 && first <= l.oldest.seq && l.oldest.seq <= last:
		l.oldest.stamp = stamp
	case first > l.oldest.seq && (l.next.seq == 0 || last < l.next.seq):
		l.next = mark{first, stamp, l.oldest.at, false} // nearer than what grew meanwhile
	}
}

// Reached says that the peer has the log up to seq. It returns when the oldest entry that
// is new to it became durable here; 0 = none is, or this life did not see it.
func (m *Meter) Reached(s wire.Shard, seq wire.Seq) (since time.Duration) {
	l := &m.logs[s]
	seq = min(seq, l.tail)
	if seq <= l.reached {
		return 0
	}
	if l.oldest.sure {
		since = l.oldest.at
	}
	m.entries -= int64(seq - l.reached)
	l.reached = seq
	switch {
	case l.next.seq != 0 && l.next.seq <= seq+1:
		l.oldest, l.next = l.next, mark{}
	case l.oldest.stamp == 0:
		l.oldest.seq = seq + 1
	}
	m.list(s, l)
	return since
}

// list keeps outstanding in step with l.
func (m *Meter) list(s wire.Shard, l *meterLog) {
	switch behind := l.reached < l.tail; {
	case behind && l.at == 0:
		m.outstanding = append(m.outstanding, s)
		l.at = len(m.outstanding)
	case !behind && l.at != 0:
		last := m.outstanding[len(m.outstanding)-1]
		m.outstanding[l.at-1] = last
		m.logs[last].at = l.at
		m.outstanding = m.outstanding[:len(m.outstanding)-1]
		l.at = 0
	}
}

// Age returns for how long the oldest outstanding entry has been durable here, at the
// steady clock's now; 0 if nothing is outstanding. Of what this life did not see become
// durable, or forgot when the peer went back, judge tells it. reader is the stamp that the
// reader stands at: entries whose stamps are not known yet are still to be read, so they
// are no older. known is false if there are such entries and the reader has not read
// anything: then the oldest entry is at least that old.
func (m *Meter) Age(now time.Duration, reader wire.Stamp, judge Judge) (age time.Duration, known bool) {
	known = true
	for _, s := range m.outstanding {
		l := &m.logs[s]
		if l.oldest.sure {
			age = max(age, now-l.oldest.at)
			continue
		}
		q := Question{Shard: s, Seq: l.oldest.seq, Stamp: l.oldest.stamp, After: l.oldest.at, Exact: true}
		switch {
		case q.Stamp != 0 || q.Seq <= l.from:
		case reader != 0 && q.After != 0:
			age = max(age, now-q.After)
			continue
		case reader != 0:
			q.Stamp = reader
		default:
			q.Stamp, q.Exact, known = l.last, false, false
		}
		age = max(age, judge(q))
	}
	return age, known
}

// Question asks for how long an entry has been durable.
type Question struct {
	Shard wire.Shard
	Seq   wire.Seq
	Stamp wire.Stamp    // 0 = not known
	Exact bool          // else Stamp is that of a later entry, and a shorter time is wanted than a wrong one
	After time.Duration // it did not become durable before, by the steady clock; 0 = not known
}

// Judge answers it.
type Judge func(q Question) time.Duration
