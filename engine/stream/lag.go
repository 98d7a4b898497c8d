package stream

import "github.com/claudefs/repl/wire"

// mark is an entry and its stamp; stamp 0 = not known yet.
type mark struct {
	seq   wire.Seq
	stamp wire.Stamp
}

type meterLog struct {
	tail, reached wire.Seq
	oldest, next  mark // next.seq 0 = none
	at            int  // index in outstanding, +1
}

// Meter knows what is outstanding at a peer at one ack level: how many entries,
// and how old the oldest is. Per log it keeps the stamps of two outstanding
// entries: the oldest, and a later one that takes its place when the first is
// reached. So its age is exact while a log is briefly behind and else too
// high by at most what one window holds; it is never too low.
// Memory: 56 bytes per shard.
type Meter struct {
	logs        []meterLog
	outstanding []wire.Shard // logs with reached < tail, in no order that matters
	entries     int64
}

// NewMeter returns a meter for logs of shards [0, count) that have nothing.
func NewMeter(count uint32) *Meter { return &Meter{logs: make([]meterLog, count)} }

// Entries is the number of outstanding entries.
func (m *Meter) Entries() int64 { return m.entries }

// Set says where a log ends here and how far the peer is. Stamps of what lies
// between become known when the reader passes it.
func (m *Meter) Set(s wire.Shard, tail, reached wire.Seq) {
	l := &m.logs[s]
	reached = min(reached, tail)
	m.entries += int64(tail-reached) - int64(l.tail-l.reached)
	if reached != l.reached || tail < l.tail || l.reached == l.tail {
		l.oldest, l.next = mark{seq: reached + 1}, mark{}
	}
	l.tail, l.reached = tail, reached
	m.list(s, l)
}

// Grew says that the log now also holds entries first to last, the oldest of
// them stamped stamp.
func (m *Meter) Grew(s wire.Shard, first, last wire.Seq, stamp wire.Stamp) {
	l := &m.logs[s]
	if last <= l.tail {
		return
	}
	if l.reached == l.tail {
		l.oldest, l.next = mark{first, stamp}, mark{}
	} else if l.next.seq == 0 {
		l.next = mark{first, stamp}
	}
	m.entries += int64(last - l.tail)
	l.tail = last
	m.list(s, l)
}

// Passed says that the reader met the batch of entries first to last.
func (m *Meter) Passed(s wire.Shard, first, last wire.Seq, stamp wire.Stamp) {
	l := &m.logs[s]
	switch {
	case l.reached >= l.tail || last <= l.reached:
	case l.oldest.stamp == 0 && first <= l.oldest.seq && l.oldest.seq <= last:
		l.oldest.stamp = stamp
	case l.next.seq == 0 && first > l.oldest.seq:
		l.next = mark{first, stamp}
	}
}

// Reached says that the peer has the log up to seq.
func (m *Meter) Reached(s wire.Shard, seq wire.Seq) {
	l := &m.logs[s]
	seq = min(seq, l.tail)
	if seq <= l.reached {
		return
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

// Oldest returns the stamp of the oldest outstanding entry, or 0 if nothing is
// outstanding. reader is the stamp that the reader stands at: entries whose
// stamps are not known yet are still to be read, so they are no older. known
// is false if there are such entries and the reader has not read anything.
func (m *Meter) Oldest(reader wire.Stamp) (oldest wire.Stamp, known bool) {
	known = true
	for _, s := range m.outstanding {
		stamp := m.logs[s].oldest.stamp
		if stamp == 0 {
			stamp, known = reader, known && reader != 0
		}
		if stamp != 0 && (oldest == 0 || stamp < oldest) {
			oldest = stamp
		}
	}
	return oldest, known
}
