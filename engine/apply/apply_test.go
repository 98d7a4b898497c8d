package apply

import (
	"context"
	"errors"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

var background = context.Background()

// chainer makes the batches of one log.
type chainer struct {
	incarnation wire.Incarnation
	end         wire.Position
	site        wire.SiteID // 0 = 1
	epoch       wire.Epoch  // 0 = 1
}

func (c *chainer) close(kind wire.BatchKind, count uint32, body []byte) wire.BatchRef {
	h := wire.BatchHeader{
		Kind: kind, Incarnation: c.incarnation, Cluster: 7, Site: max(c.site, 1), Shard: 3, Epoch: max(c.epoch, 1),
		Prev: c.end.Chain, FirstSeq: c.end.Seq + 1, Count: count, FirstStamp: wire.Stamp(100 * (c.end.Seq + 1)),
	}
	h.LastStamp = h.FirstStamp + wire.Stamp(count) - 1
	b := append(make([]byte, wire.BatchHeaderBytes), body...)
	wire.CloseBatch(b, &h)
	c.end = h.End()
	return wire.BatchRef{Header: h, Bytes: b}
}

func (c *chainer) start(t *testing.T, ends ...wire.LogEnd) wire.BatchRef {
	body, err := wire.AppendStart(nil, ends)
	require.NoError(t, err)
	return c.close(wire.BatchStart, 1, body)
}

func (c *chainer) data(entries ...wire.Entry) wire.BatchRef {
	var body []byte
	base := wire.Stamp(100 * (c.end.Seq + 1))
	for i := range entries {
		body = wire.AppendEntry(body, base, base+wire.Stamp(i), &entries[i])
	}
	return c.close(wire.BatchData, uint32(len(entries)), body)
}

func put(key, value string) wire.Entry {
	return wire.Entry{Op: 1, Keys: [][]byte{[]byte(key), []byte("also " + key)}, Payload: []byte(value)}
}

func newApplier(t *testing.T, s store.Store) *Applier {
	a, err := New(3, s)
	require.NoError(t, err)
	return a
}

func must(t *testing.T, a *Applier, b wire.BatchRef, want bool) {
	t.Helper()
	done, err := a.Apply(background, &b)
	require.NoError(t, err)
	require.Equal(t, want, done)
}

func TestEachEntryTakesEffectOnceAndMovesTheCursor(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	start, first, second := c.start(t), c.data(put("a", "1"), put("b", "2")), c.data(put("a", "3"))
	must(t, a, start, true)
	require.Empty(t, s.Rows(), "START has no effect")
	must(t, a, first, true)
	must(t, a, first, false)
	must(t, a, second, true)
	must(t, a, start, false)
	require.Equal(t, c.end, a.Cursor(wire.LogID{Site: 1, Shard: 3}))
	require.Len(t, s.Rows(), 3, "I2")
	v, _ := s.Get(3, []byte("also a"))
	require.Equal(t, "3", string(v.Payload))
	must(t, newApplier(t, s), second, false)
}

func TestCrashOfTheStoreIsRedoneFromItsCursors(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	batches := []wire.BatchRef{c.start(t), c.data(put("a", "1")), c.data(put("a", "2")), c.data(put("b", "3"))}
	for _, b := range batches {
		must(t, a, b, true)
	}
	crashed := s.Crash(func(wire.Shard, int) int { return 2 })
	a = newApplier(t, crashed)
	for i, b := range batches {
		must(t, a, b, i >= 2)
	}
	x, _, _ := s.Digest(background, 3, nil, nil)
	y, _, _ := crashed.Digest(background, 3, nil, nil)
	require.Equal(t, x, y)
	require.Equal(t, s.Rows(), crashed.Rows(), "I2, I3")
}

// stops requires that a batch stops its log for good, by name, and changes
// nothing.
func stops(t *testing.T, s *store.Mem, a *Applier, b wire.BatchRef, want error, text string) {
	t.Helper()
	rows := s.Rows()
	for range 2 {
		done, err := a.Apply(background, &b)
		require.False(t, done)
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "log 00000001/3 stopped")
		require.ErrorContains(t, err, text)
	}
	require.Equal(t, rows, s.Rows())
	require.Error(t, a.Err(wire.LogID{Site: 1, Shard: 3}))
}

func TestGapStopsTheLog(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	must(t, a, c.start(t), true)
	c.data(put("lost", "1"))
	stops(t, s, a, c.data(put("a", "1")), wire.ErrProtocol, "seqs 3 to 3 behind applied seq 1")
}

func TestAnotherHistoryStopsTheLog(t *testing.T) {
	for _, same := range []bool{true, false} {
		s := store.NewMem()
		a := newApplier(t, s)
		c := &chainer{incarnation: wire.Incarnation{1}}
		must(t, a, c.start(t), true)
		fork := *c
		must(t, a, c.data(put("a", "1")), true)
		forked := fork.data(put("a", "other"))
		if !same {
			forked = fork.data(put("b", "next"))
		}
		stops(t, s, a, forked, wire.ErrProtocol, "histories differ")
	}
}

func TestBatchThatStraddlesTheCursorStopsTheLog(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	must(t, a, c.start(t), true)
	fork := *c
	must(t, a, c.data(put("a", "1")), true)
	stops(t, s, a, fork.data(put("a", "1"), put("b", "2")), wire.ErrProtocol, "behind applied seq 2")
}

func TestNewIncarnationMustNameTheAppliedEnd(t *testing.T) {
	log := wire.LogID{Site: 1, Shard: 3}
	for _, named := range []bool{true, false} {
		s := store.NewMem()
		a := newApplier(t, s)
		old := &chainer{incarnation: wire.Incarnation{1}}
		must(t, a, old.start(t), true)
		next := &chainer{incarnation: wire.Incarnation{2}}
		if named {
			must(t, a, next.start(t, wire.LogEnd{Log: log, End: old.end}), true)
			must(t, a, next.data(put("a", "1")), true)
			continue
		}
		stops(t, s, a, next.start(t), ErrPast, "does not name the applied end")
	}
}

func TestUnknownEntryStopsLogBeforeItsBatch(t *testing.T) {
	s := store.NewMem()
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	must(t, a, c.start(t), true)
	strange := put("b", "2")
	strange.Extensions = []byte{0x09, 0x80, 0, 0}
	stops(t, s, a, c.data(put("a", "1"), strange), store.ErrUnknownOp, "extension 8009")
}

func TestUnknownOperationStopsItsLogAndNoOther(t *testing.T) {
	s := store.NewMem()
	s.Known = func(op wire.Op) bool { return op == 1 }
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	must(t, a, c.start(t), true)
	unknown := put("b", "2")
	unknown.Op = 9
	stops(t, s, a, c.data(put("a", "1"), unknown), store.ErrUnknownOp, "op 9")
	require.NoError(t, a.Err(wire.LogID{Site: 2, Shard: 3}))
}

// failing is a Store that cannot commit.
type failing struct {
	*store.Mem
	err error
}

func (f *failing) Apply(ctx context.Context, c *store.Change) error {
	if f.err != nil {
		return f.err
	}
	return f.Mem.Apply(ctx, c)
}

func TestStoreErrorStopsLogContextDoesNot(t *testing.T) {
	s := &failing{Mem: store.NewMem()}
	a := newApplier(t, s)
	c := &chainer{incarnation: wire.Incarnation{1}}
	start := c.start(t)
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err := a.Apply(ctx, &start)
	require.ErrorIs(t, err, context.Canceled)
	must(t, a, start, true)
	s.err = errors.New("disk on fire")
	stops(t, s.Mem, a, c.data(put("a", "1")), s.err, "disk on fire")
}

// idle is a Store that keeps nothing.
type idle struct{ *store.Mem }

func (idle) Apply(context.Context, *store.Change) error { return nil }

func TestApplyingAllocatesNothing(t *testing.T) {
	a := newApplier(t, idle{store.NewMem()})
	c := &chainer{incarnation: wire.Incarnation{1}}
	must(t, a, c.start(t), true)
	entries := make([]wire.Entry, 100)
	for i := range entries {
		entries[i] = put("key", "value")
	}
	var batches []wire.BatchRef
	for range 102 {
		batches = append(batches, c.data(entries...))
	}
	must(t, a, batches[0], true)
	next := 1
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if done, err := a.Apply(background, &batches[next]); !done || err != nil {
			panic(err)
		}
		next++
	}))
}
