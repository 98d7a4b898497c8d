package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// model is the slow, obvious journal: every batch ever staged, in order.
type model struct {
	t       *rapid.T
	o       Options
	mem     *vfs.Mem
	j       *Journal
	w       *writer
	all     []wire.BatchRef // in the order of staging
	durable int             // of all: a flush that ended well covers them
	floor   map[wire.LogID]int
	births  byte
	loans   []*loan // to the journal that is open
	readers []*standing
}

// loan is the memory of one Stage. When it is given back, it is scribbled on, so
// that whoever still reads it is found out.
type loan struct {
	m        *model
	batches  []wire.BatchRef
	spare    int // memory beside the batches that is lent with them
	released int
}

func (m *model) lend(t *rapid.T, batches []wire.BatchRef) *loan {
	l := &loan{m: m, spare: rapid.IntRange(0, 4000).Draw(t, "spare")}
	for _, b := range batches {
		l.batches = append(l.batches, wire.BatchRef{Header: b.Header, Bytes: bytes.Clone(b.Bytes)})
	}
	m.loans = append(m.loans, l)
	return l
}

func (l *loan) MemoryBytes() (n int) {
	for i := range l.batches {
		n += len(l.batches[i].Bytes)
	}
	return n + l.spare
}

func (l *loan) Release() {
	if l.released++; l.released > 1 {
		l.m.t.Fatal("memory given back twice")
	}
	for i := range l.batches {
		b := l.batches[i].Bytes
		for k := range b {
			b[k] = 0xee
		}
	}
}

// standing is a reader that is kept from step to step.
type standing struct {
	r    *Reader
	at   int // of model.all, -1 = it has met nothing yet
	lent []wire.BatchRef
}

// check compares what is lent with the model, once more before it goes back.
func (s *standing) check(m *model) {
	m.t.Helper()
	for i := range s.lent {
		if want := &m.all[s.at-len(s.lent)+i]; !bytes.Equal(s.lent[i].Bytes, want.Bytes) {
			m.t.Fatalf("batch %d of %d lent at %d differs (I3)", i, len(s.lent), s.at)
		}
	}
}

func (m *model) stand(t *rapid.T) {
	if len(m.readers) > 3 {
		return
	}
	from := rapid.Uint64Range(0, uint64(m.j.Durable())+1).Draw(t, "from")
	m.readers = append(m.readers, &standing{r: m.j.NewReader(UnitNumber(from)), at: -1})
}

func (m *model) goOn(t *rapid.T) {
	if len(m.readers) == 0 {
		return
	}
	s := m.readers[rapid.IntRange(0, len(m.readers)-1).Draw(t, "reader")]
	s.check(m)
	refs, err := s.r.Next(rapid.IntRange(1, 20000).Draw(t, "bytesMax"))
	m.must(err)
	if s.at < 0 && len(refs) > 0 {
		for s.at = 0; m.all[s.at].Header.Chain != refs[0].Header.Chain; s.at++ {
		}
	}
	s.lent = refs
	s.at += len(refs)
	if s.at > m.durable {
		t.Fatalf("a reader stands at %d of %d durable batches (I1)", s.at, m.durable)
	}
	s.check(m)
}

func (m *model) leave(*rapid.T) {
	for _, s := range m.readers {
		s.check(m)
		s.r.Close()
	}
	m.readers = nil
}

// settle checks that a journal that is over has given everything back.
func (m *model) settle() {
	m.t.Helper()
	for _, l := range m.loans {
		if l.released != 1 {
			m.t.Fatalf("memory given back %d times by the end", l.released)
		}
	}
	m.loans = nil
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// of returns the durable batches of a log.
func (m *model) of(log wire.LogID) (batches []wire.BatchRef) {
	for _, b := range m.all[:m.durable] {
		if b.Header.Log() == log {
			batches = append(batches, b)
		}
	}
	return batches
}

func (m *model) stage(t *rapid.T) {
	var batches []wire.BatchRef
	for range rapid.IntRange(1, 4).Draw(t, "batches") {
		shard := wire.Shard(rapid.IntRange(0, 4).Draw(t, "shard"))
		batches = append(batches, m.w.batch(shard, rapid.IntRange(0, 5000).Draw(t, "size")))
	}
	before := m.j.StagedBytes()
	l := m.lend(t, batches)
	n, err := m.j.Stage(l.batches, l)
	m.must(err)
	if n <= m.j.Durable() || m.j.StagedBytes() <= before {
		t.Fatalf("staged into unit %d, unit %d is durable", n, m.j.Durable())
	}
	m.all = append(m.all, batches...)
}

// restart opens a new incarnation of a log.
func (m *model) restart(t *rapid.T) {
	log := wire.LogID{Site: m.o.Site, Shard: wire.Shard(rapid.IntRange(0, 4).Draw(t, "shard"))}
	m.w.stamp++
	m.births++
	h := wire.BatchHeader{
		Kind: wire.BatchStart, Cluster: testCluster, Site: log.Site, Shard: log.Shard, Epoch: 1, Count: 1, FirstSeq: 1,
		Incarnation: wire.Incarnation{9, byte(log.Shard), m.births}, FirstStamp: m.w.stamp, LastStamp: m.w.stamp,
	}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), nil)
	m.must(err)
	wire.CloseBatch(b, &h)
	m.w.tails[log] = m.w.tails[log].after(&h)
	ref := wire.BatchRef{Header: h, Bytes: b}
	_, err = m.j.Stage([]wire.BatchRef{ref}, nil)
	m.must(err)
	m.all = append(m.all, ref)
}

func (m *model) flush(*rapid.T) {
	m.j.StageIdle()
	m.must(flush(m.j))
	m.durable = len(m.all)
}

func (m *model) flushOneUnit(*rapid.T) {
	f := m.j.BeginFlush()
	if f == nil {
		return
	}
	m.must(f.Write())
	m.must(f.Sync())
	done, err := m.j.EndFlush(f, nil)
	m.must(err)
	m.durable += len(done.Headers)
}

func (m *model) prepare(*rapid.T) {
	_, err := m.j.Prepare()
	m.must(err)
}

func (m *model) closeAndOpen(t *rapid.T) {
	if rapid.Bool().Draw(t, "readers first") {
		m.leave(t)
		m.must(m.j.Close())
	} else {
		m.must(m.j.Close())
		m.leave(t)
	}
	m.settle()
	m.open()
}

// crash cuts the power, or only ends the process, perhaps with a flush half done.
func (m *model) crash(t *rapid.T) {
	if f := m.j.BeginFlush(); f != nil && rapid.Bool().Draw(t, "written") {
		m.must(f.Write())
	}
	if rapid.Bool().Draw(t, "power") {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		m.mem = m.mem.Crash(vfs.RandomFates(r))
	} else {
		m.mem.Kill()
	}
	m.leave(t)
	m.loans = nil // the process is over
	m.open()
}

// open recovers and cuts the model to what the journal says is there, which must
// be a stretch from the beginning with all that was acknowledged.
func (m *model) open() {
	m.t.Helper()
	m.o.FS = m.mem
	j, rec, err := Open(m.o)
	m.must(err)
	if len(rec.Damage) > 0 || len(rec.Suspect) > 0 {
		m.t.Fatalf("false alarm: %+v", rec)
	}
	m.j = j
	ends := map[wire.LogID]wire.Position{}
	n := 0
	for i, b := range m.all {
		ends[b.Header.Log()] = b.Header.End()
		if i+1 >= m.durable && m.agrees(ends) {
			n = i + 1
		}
	}
	if n < m.durable {
		m.t.Fatalf("%d batches were acknowledged, the tails fit %d (I1)", m.durable, n)
	}
	m.all, m.durable = m.all[:n], n
	m.w.tails = map[wire.LogID]Tail{}
	for _, log := range j.Logs() {
		m.w.tails[log], _ = j.Tail(log)
	}
}

func (m *model) agrees(ends map[wire.LogID]wire.Position) bool {
	logs := m.j.Logs()
	for _, log := range logs {
		if tail, _ := m.j.Tail(log); tail.Position != ends[log] {
			return false
		}
	}
	return len(logs) == len(ends)
}

// draw picks a batch index per log: that many of its batches somebody has.
func (m *model) draw(t *rapid.T) map[wire.LogID]int {
	have := map[wire.LogID]int{}
	for _, log := range m.j.Logs() {
		have[log] = rapid.IntRange(0, len(m.of(log))).Draw(t, log.String())
	}
	return have
}

func (m *model) position(have map[wire.LogID]int) func(wire.LogID) wire.Position {
	return func(log wire.LogID) wire.Position {
		if have[log] == 0 {
			return wire.Position{}
		}
		return m.of(log)[have[log]-1].Header.End()
	}
}

func (m *model) retain(t *rapid.T) {
	floor := m.draw(t)
	for log, n := range floor {
		m.floor[log] = max(m.floor[log], n)
	}
	_, err := m.j.Reclaim(m.position(floor))
	m.must(err)
}

// read starts where a peer that has some of it must start, and must meet all the
// rest (I12), in order (I3), bit for bit.
func (m *model) read(t *rapid.T) {
	have := m.draw(t)
	kept := true
	for log, n := range have {
		batches := m.of(log)
		old := n > 0 && batches[n-1].Header.Incarnation != batches[len(batches)-1].Header.Incarnation
		kept = kept && n >= m.floor[log] && !old
	}
	tails := map[wire.LogID]Tail{}
	from, err := m.j.SegmentStart(m.position(have), func(log wire.LogID, tail Tail) { tails[log] = tail })
	if errors.Is(err, ErrNotRetained) && !kept {
		return
	}
	m.must(err)
	r := m.j.NewReader(from)
	defer r.Close()
	met := map[wire.LogID][]wire.BatchRef{}
	for {
		refs, err := r.Next(rapid.IntRange(1, 20000).Draw(t, "bytesMax"))
		m.must(err)
		if len(refs) == 0 {
			break
		}
		for _, b := range refs {
			b.Bytes = bytes.Clone(b.Bytes)
			met[b.Header.Log()] = append(met[b.Header.Log()], b)
		}
	}
	if r.Backlog() != 0 {
		t.Fatalf("backlog %d at the end", r.Backlog())
	}
	for log, n := range have {
		want, got := m.of(log), met[log]
		if len(got) < len(want)-n {
			t.Fatalf("log %s: %d batches met, %d of %d were missing (I12)", log, len(got), len(want)-n, len(want))
		}
		first := len(want) - len(got)
		for i := range got {
			if !bytes.Equal(got[i].Bytes, want[first+i].Bytes) {
				t.Fatalf("log %s: batch %d differs (I3)", log, first+i)
			}
		}
		if first > 0 && tails[log].Position != want[first-1].Header.End() {
			t.Fatalf("log %s: the head's tail is %s, the first batch met follows %s",
				log, tails[log].Position, want[first-1].Header.End())
		}
	}
}

func TestJournalAgreesWithItsModel(t *testing.T) { // I1, I3, I9, I12
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, mem: vfs.NewMem(vfs.MemOptions{}), w: newWriter(5), floor: map[wire.LogID]int{}}
		m.o = storyOptions(m.mem)
		m.o.RecentBytesMax = rapid.SampledFrom([]int64{0, 1, 10_000, 60_000, 1 << 20}).Draw(t, "recent")
		m.open()
		t.Repeat(map[string]func(*rapid.T){
			"stage": m.stage, "stage again": m.stage, "restart": m.restart, "flush": m.flush,
			"flush one": m.flushOneUnit,
			"prepare":   m.prepare, "reopen": m.closeAndOpen, "crash": m.crash, "retain": m.retain, "read": m.read,
			"stand": m.stand, "go on": m.goOn, "go on again": m.goOn, "leave": m.leave,
			"": func(*rapid.T) {
				if err := m.j.Err(); err != nil {
					t.Fatal(err)
				}
				if n := m.j.Stats().RecentBytes; n > m.o.RecentBytesMax {
					t.Fatalf("%d bytes are recent, allowed are %d (I10)", n, m.o.RecentBytesMax)
				}
			},
		})
	})
}
