package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Harness is a host's store under test. Each test has its own, from the
// function given to Run; it cleans up by t.Cleanup. Open, Fresh and Entry are
// required.
type Harness struct {
	// Fresh opens another, empty store, to compare with.
	Fresh func() store.Store
	// Open opens the store, empty the first time, and with what was kept after
	// Close.
	Open func() store.Store
	// Close ends the store in good order.
	Close func(s store.Store) error
	// Crash ends the store as a power cut does, and opens what survived. nil: the
	// tests of crashes are skipped.
	Crash func(s store.Store) store.Store
	// Tear arranges that the store's process dies at its n-th inner step (from 0)
	// of the next Apply or Mend, which then returns any error. nil: the tests of torn
	// commits are skipped.
	Tear func(s store.Store, n int)
	// Torn says whether the last Apply or Mend met that step; when it did not, all steps
	// have been tried.
	Torn func(s store.Store) bool
	// Entry returns the n-th operation (from 0) on a shard. The suite applies them
	// in this order, from different logs, and never one twice. Each changes the
	// state; its keys stay the same from call to call.
	Entry func(shard wire.Shard, n int) wire.Entry
	// Known returns the entry that did a request, as the host answers a client that asks
	// again. Entry then gives each operation a request id of its own. nil: the store
	// keeps no request ids, and they are not tested.
	Known func(s store.Store, shard wire.Shard, id wire.RequestID) (wire.Ref, bool)
	// UnknownOp is an operation that the host does not know; 0: it knows all, and
	// that test is skipped.
	UnknownOp wire.Op
}

// check is one test of the suite.
type check struct {
	name string
	run  func(t testing.TB, h Harness)
}

var checks = []check{
	{"effects and cursors are one commit", checkAtomic},
	{"a fresh store has no cursors", checkFresh},
	{"a torn commit is all or nothing", checkTorn},
	{"state and cursors go back together", checkLateFlush},
	{"durable cursors survive", checkDurable},
	{"sync makes everything durable", checkSync},
	{"closing keeps what was synced", checkReopen},
	{"a repeat after a crash is safe through cursors", checkRepeat},
	{"versions come and go with their commit", checkVersions},
	{"export has the cursors of its snapshot", checkExport},
	{"digest has the cursors of its snapshot", checkDigestSnapshot},
	{"shards are independent", checkShards},
	{"an unknown operation changes nothing", checkUnknown},
	{"equal states have equal digests", checkDigestEqual},
	{"different states have different digests", checkDigestDiffers},
	{"a change without effects moves cursors only", checkCursorOnly},
}

// Run runs the contract tests. open is called once for each. Those of mending are
// skipped where the store is not a store.Mender.
func Run(t *testing.T, open func(t testing.TB) Harness) {
	for _, c := range slices.Concat(checks, mendChecks) {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// The logs that the suite writes: two sites, any shard.
const (
	siteA wire.SiteID = 0xa
	siteB wire.SiteID = 0xb
	siteC wire.SiteID = 0xc // which writes after a failover
	siteD wire.SiteID = 0xd // whose log only an orphan is in
)

// versionKey has one version in the suite's changes: the last entry.
var versionKey = []byte("suite")

// script makes changes of one shard, batch by batch, over two logs.
type script struct {
	h     Harness
	shard wire.Shard
	sizes []int // entries per batch, in turn
	next  int   // entry
	made  int   // batches
	ends  map[wire.SiteID]wire.Position

	only  wire.SiteID // which writes; 0 = two sites in turn
	epoch wire.Epoch
}

func newScript(h Harness, shard wire.Shard, sizes ...int) *script {
	if len(sizes) == 0 {
		sizes = []int{1, 3, 2}
	}
	return &script{h: h, shard: shard, sizes: sizes, ends: make(map[wire.SiteID]wire.Position), epoch: 1}
}

// change makes the next one: the first of a log is its START.
func (s *script) change() *store.Change {
	site := siteA
	if s.made%3 == 2 {
		site = siteB
	}
	if s.only != 0 {
		site = s.only
	}
	count := s.sizes[s.made%len(s.sizes)]
	s.made++
	end := s.ends[site]
	h := &wire.BatchHeader{
		Kind: wire.BatchData, DigestKind: wire.DigestXXH3,
		Incarnation: wire.Incarnation{byte(site), byte(s.epoch >> 8), byte(s.epoch)},
		Cluster:     1, Site: site, Shard: s.shard, Epoch: s.epoch, Prev: end.Chain,
		FirstSeq: end.Seq + 1, Count: uint32(count),
	}
	c := &store.Change{Shard: s.shard, Batch: h}
	for range count {
		e := s.h.Entry(s.shard, s.next)
		e.Seq = end.Seq + 1 + wire.Seq(len(c.Effects))
		e.Stamp = wire.Stamp(1000 + s.next)
		s.next++
		c.Effects = append(c.Effects, e)
	}
	h.FirstStamp, h.LastStamp = c.Effects[0].Stamp, c.Effects[count-1].Stamp
	binary.BigEndian.PutUint64(h.Chain[:], uint64(s.made)) // Any value: stores do not look into chains.
	s.ends[site] = h.End()
	c.Cursors = []store.Cursor{{Log: h.Log(), Position: h.End(), Epoch: h.Epoch}}
	dot := store.Dot{Site: site, Incarnation: h.Incarnation, Seq: h.LastSeq(), Stamp: h.LastStamp}
	c.Versions = []store.Version{{Key: versionKey, Dot: dot}}
	return c
}

// moment is a shard's state as the outside can tell it.
type moment struct {
	digest   [32]byte
	cursors  []store.Cursor
	versions []store.Version
}

func (m moment) equal(o moment) bool {
	return m.shows(o.digest, o.cursors) && slices.EqualFunc(m.versions, o.versions, sameVersion)
}

// shows says whether digest and cursors are this moment's.
func (m moment) shows(digest [32]byte, cursors []store.Cursor) bool {
	return m.digest == digest && slices.Equal(m.cursors, cursors)
}

// look reads a shard's digest with its cursors, and compares them with Cursors.
// The store must be at rest.
func look(t testing.TB, s store.Store, shard wire.Shard) moment {
	t.Helper()
	digest, cursors, err := s.Digest(context.Background(), shard, nil, nil)
	if err != nil {
		t.Fatalf("digest of shard %d: %v", shard, err)
	}
	sortCursors(cursors)
	if now := cursorsOf(t, s, shard); !slices.Equal(cursors, now) {
		t.Fatalf("shard %d at rest: Digest has cursors %v, Cursors has %v", shard, cursors, now)
	}
	versions, err := s.Versions(shard, [][]byte{versionKey}, nil)
	if err != nil {
		t.Fatalf("versions of shard %d: %v", shard, err)
	}
	return moment{digest, cursors, versions}
}

func cursorsOf(t testing.TB, s store.Store, shard wire.Shard) []store.Cursor {
	t.Helper()
	cursors, err := s.Cursors(shard)
	if err != nil {
		t.Fatalf("cursors of shard %d: %v", shard, err)
	}
	sortCursors(cursors)
	return cursors
}

func durableOf(t testing.TB, s store.Store, shard wire.Shard) []store.Cursor {
	t.Helper()
	cursors, err := s.Durable(shard)
	if err != nil {
		t.Fatalf("durable cursors of shard %d: %v", shard, err)
	}
	sortCursors(cursors)
	return cursors
}

func sortCursors(c []store.Cursor) {
	slices.SortFunc(c, func(a, b store.Cursor) int { return a.Log.Compare(b.Log) })
}

// positionOf is a log's position among cursors; zero when it is not there.
func positionOf(cursors []store.Cursor, log wire.LogID) wire.Position {
	for _, c := range cursors {
		if c.Log == log {
			return c.Position
		}
	}
	return wire.Position{}
}

func apply(t testing.TB, s store.Store, c *store.Change) {
	t.Helper()
	if err := s.Apply(context.Background(), c); err != nil {
		t.Fatalf("apply of log %s seq %d: %v", c.Batch.Log(), c.Batch.FirstSeq, err)
	}
}

// moments applies count changes and returns what the shard looked like before
// the first and after each.
func moments(t testing.TB, s store.Store, sc *script, count int) []moment {
	t.Helper()
	seen := []moment{look(t, s, sc.shard)}
	for range count {
		apply(t, s, sc.change())
		seen = append(seen, look(t, s, sc.shard))
	}
	return seen
}

// find returns which of the moments m is, or -1.
func find(seen []moment, m moment) int {
	return slices.IndexFunc(seen, m.equal)
}

func checkFresh(t testing.TB, h Harness) {
	s := h.Open()
	if m := look(t, s, 0); len(m.cursors) != 0 {
		t.Fatalf("a fresh store has cursors %v", m.cursors)
	}
	if d := durableOf(t, s, 0); len(d) != 0 {
		t.Fatalf("a fresh store has durable cursors %v", d)
	}
}

func checkAtomic(t testing.TB, h Harness) {
	s := h.Open()
	sc := newScript(h, 3)
	last := look(t, s, sc.shard)
	for range 9 {
		c := sc.change()
		apply(t, s, c)
		now := look(t, s, sc.shard)
		if now.digest == last.digest {
			t.Fatalf("log %s seq %d: applied, and the digest is the same", c.Batch.Log(), c.Batch.FirstSeq)
		}
		if got := positionOf(now.cursors, c.Batch.Log()).Seq; got != c.Batch.LastSeq() {
			t.Fatalf("log %s: applied to seq %d, the cursor says %d", c.Batch.Log(), c.Batch.LastSeq(), got)
		}
		last = now
	}
}

func checkUnknown(t testing.TB, h Harness) {
	if h.UnknownOp == 0 {
		t.Skip("the harness has no UnknownOp")
	}
	s := h.Open()
	sc := newScript(h, 0, 3)
	moments(t, s, sc, 2)
	before := look(t, s, 0)
	c := sc.change()
	c.Effects[len(c.Effects)-1].Op = h.UnknownOp
	if err := s.Apply(context.Background(), c); !errors.Is(err, store.ErrUnknownOp) {
		t.Fatalf("apply of unknown op %d: %v, want store.ErrUnknownOp", h.UnknownOp, err)
	}
	if after := look(t, s, 0); !after.equal(before) {
		t.Fatalf("an unknown last operation changed the state or its cursors: %v, before %v", after, before)
	}
}

func checkCursorOnly(t testing.TB, h Harness) {
	s := h.Open()
	sc := newScript(h, 0)
	moments(t, s, sc, 1)
	before := look(t, s, 0)
	c := sc.change()
	c.Effects = nil
	apply(t, s, c)
	after := look(t, s, 0)
	if after.digest != before.digest {
		t.Fatalf("a change without effects changed the digest")
	}
	if got := positionOf(after.cursors, c.Batch.Log()).Seq; got != c.Batch.LastSeq() {
		t.Fatalf("log %s: cursor at seq %d, want %d", c.Batch.Log(), got, c.Batch.LastSeq())
	}
}

// checkVersions: versions come and go with the commit that names them, whole
// lists per key, and appending keeps what the caller has.
func checkVersions(t testing.TB, h Harness) {
	s := h.Open()
	sc := newScript(h, 0, 1)
	key, other := []byte("key"), []byte("other")
	kept := store.Version{Key: []byte("kept")}
	versions := func() []store.Version {
		got, err := s.Versions(0, [][]byte{key, other}, []store.Version{kept})
		if err != nil {
			t.Fatalf("versions: %v", err)
		}
		if len(got) == 0 || string(got[0].Key) != "kept" {
			t.Fatalf("Versions must append to dst, it returned %v", got)
		}
		return got[1:]
	}
	dot := func(n byte) store.Dot {
		return store.Dot{Site: siteA, Incarnation: wire.Incarnation{n}, Seq: wire.Seq(n), Stamp: wire.Stamp(n)}
	}
	steps := []struct{ put, want []store.Version }{
		{nil, nil},
		{[]store.Version{{Key: key, Dot: dot(1)}, {Key: key, Dot: dot(2), Loser: true}, {Key: other, Dot: dot(3)}},
			[]store.Version{{Key: key, Dot: dot(1)}, {Key: key, Dot: dot(2), Loser: true}, {Key: other, Dot: dot(3)}}},
		{[]store.Version{{Key: key, Dot: dot(4)}}, []store.Version{{Key: key, Dot: dot(4)}, {Key: other, Dot: dot(3)}}},
		{[]store.Version{{Key: other}}, []store.Version{{Key: key, Dot: dot(4)}}},
	}
	for i, step := range steps {
		c := sc.change()
		c.Versions = step.put
		apply(t, s, c)
		if got := versions(); !slices.EqualFunc(got, step.want, sameVersion) {
			t.Fatalf("step %d: versions %v, want %v", i, got, step.want)
		}
	}
}

func sameVersion(a, b store.Version) bool {
	return string(a.Key) == string(b.Key) && a.Dot == b.Dot && a.Loser == b.Loser
}

func checkShards(t testing.TB, h Harness) {
	s := h.Open()
	one, two := newScript(h, 1), newScript(h, 2)
	moments(t, s, one, 3)
	before := look(t, s, 1)
	moments(t, s, two, 5)
	if after := look(t, s, 1); !after.equal(before) {
		t.Fatalf("applying to shard 2 changed shard 1")
	}
	for _, c := range cursorsOf(t, s, 2) {
		if c.Log.Shard != 2 {
			t.Fatalf("cursors of shard 2 name log %s", c.Log)
		}
	}
}
