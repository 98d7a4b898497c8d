package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// copying copies a directory as cp -r does: names are listed once, then each file is
// opened and read piece by piece, while whoever works there goes on.
type copying struct {
	from, to vfs.FS
	names    []string
	f, g     vfs.File
	off      int64
}

func newCopying(t *testing.T, from, to vfs.FS, dir string) *copying {
	t.Helper()
	require.NoError(t, to.MkdirAll(dir))
	names, err := from.List(dir)
	require.NoError(t, err)
	c := &copying{from: from, to: to}
	for _, name := range names {
		c.names = append(c.names, dir+"/"+name)
	}
	return c
}

// step copies up to n bytes; false: that was all.
func (c *copying) step(t *testing.T, n int64) bool {
	t.Helper()
	if c.f == nil {
		if len(c.names) == 0 {
			return false
		}
		name := c.names[0]
		c.names = c.names[1:]
		f, err := c.from.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return true // it went meanwhile
		}
		require.NoError(t, err)
		c.f, c.off = f, 0
		c.g, err = c.to.Create(name)
		require.NoError(t, err)
		return true
	}
	size, err := c.f.Size()
	require.NoError(t, err)
	if n = min(n, size-c.off); n > 0 {
		b := make([]byte, n)
		_, err := c.f.ReadAt(b, c.off)
		require.NoError(t, err)
		require.NoError(t, c.g.WriteAt([][]byte{b}, c.off))
		c.off += n
		return true
	}
	require.NoError(t, c.f.Close())
	require.NoError(t, c.g.Close())
	c.f = nil
	return true
}

// ending is one place in a log's history.
type ending struct {
	log wire.LogID
	at  wire.Position
}

// toiling is a journal at work whose segments go round, of which copies are taken.
type toiling struct {
	r       *rand.Rand
	o       Options
	j       *Journal
	w       *writer
	was     map[ending]bool // every end of a log that ever was
	restart bool
}

func (l *toiling) work(t *testing.T) {
	t.Helper()
	r := l.r
	b := l.w.batch(wire.Shard(r.IntN(3)), r.IntN(5000))
	l.was[ending{b.Header.Log(), b.Header.End()}] = true
	_, err := l.j.Stage([]wire.BatchRef{b}, nil)
	require.NoError(t, err)
	if r.IntN(2) == 0 {
		require.NoError(t, flush(l.j))
	}
	if r.IntN(12) == 0 {
		_, err := l.j.Reclaim(func(log wire.LogID) wire.Position { tail, _ := l.j.Tail(log); return tail.Position })
		require.NoError(t, err)
	}
	for more := r.IntN(6) == 0; more; {
		more, err = l.j.Prepare()
		require.NoError(t, err)
	}
	if l.restart && r.IntN(60) == 0 {
		for l.j.StagedBytes() > 0 {
			require.NoError(t, flush(l.j))
		}
		l.j, _ = reopen(t, l.o, l.j)
	}
}

// TestCopyOfLiveJournalIsPrefixOrTold: a directory copied from a running node opens to
// what was there once, or says damage; what is appended then is found again (I1, I4, I9).
func TestCopyOfLiveJournalIsPrefixOrTold(t *testing.T) {
	clean, told := 0, 0
	for seed := range uint64(1000 / raceStride) {
		if copyLives(t, seed) {
			clean++
		} else {
			told++
		}
	}
	t.Logf("%d copies opened clean, %d said damage", clean, told)
	require.Greater(t, clean, told)
}

// copyLives takes one copy and works with it; it returns whether it opened clean.
func copyLives(t *testing.T, seed uint64) (clean bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	l := &toiling{
		r: r, o: testOptions(vfs.NewMem(vfs.MemOptions{})), w: newWriter(5), was: map[ending]bool{},
		restart: r.IntN(3) == 0,
	}
	l.o.SpareMax = r.IntN(4)
	l.j, _ = reopen(t, l.o, nil)
	for range 20 + r.IntN(120) {
		l.work(t)
	}
	to := vfs.NewMem(vfs.MemOptions{})
	c := newCopying(t, l.o.FS, to, "j")
	if r.IntN(3) == 0 {
		r.Shuffle(len(c.names), func(i, k int) { c.names[i], c.names[k] = c.names[k], c.names[i] })
	}
	for pace := 1 + r.IntN(6); c.step(t, int64(1+r.IntN(8))*BlockBytes); {
		if r.IntN(pace) == 0 {
			l.work(t)
		}
	}
	o, what := l.o, fmt.Sprintf("seed %d", seed)
	o.FS = to
	clean = true
	before := map[wire.LogID]wire.Position{}
	for round := range 3 {
		k, rec, err := Open(o)
		require.NoError(t, err, what)
		require.False(t, rec.Created, what)
		clean = clean && len(rec.Damage) == 0
		for log, at := range before {
			tail, _ := k.Tail(log)
			require.Equal(t, at, tail.Position, "%s round %d: log %s; %v", what, round, log, rec.Damage)
		}
		for _, log := range k.Logs() {
			tail, _ := k.Tail(log)
			require.True(t, l.was[ending{log, tail.Position}], "%s: log %s ends at %s, where it never did",
				what, log, tail.Position)
		}
		l.requireRead(t, k, what)
		l.append(t, k)
		before = tailsOfAll(k)
		require.NoError(t, k.Close())
	}
	return clean
}

// requireRead reads everything: a log goes on without a gap, or the gap is a hole.
func (l *toiling) requireRead(t *testing.T, k *Journal, what string) {
	t.Helper()
	r := k.NewReader(0)
	defer r.Close()
	holes := k.Holes()
	ends := map[wire.LogID]wire.Position{}
	for {
		refs, err := r.Next(1 << 20)
		if errors.Is(err, ErrDamaged) {
			continue
		}
		require.NoError(t, err, what)
		if len(refs) == 0 {
			return
		}
		for i := range refs {
			h := &refs[i].Header
			end, met := ends[h.Log()]
			if met && h.Prev != end.Chain {
				hole := slices.ContainsFunc(holes, func(x Hole) bool { return x.Log == h.Log() })
				require.True(t, hole, "%s: log %s: seq %d does not follow %s", what, h.Log(), h.FirstSeq, end)
			}
			require.True(t, l.was[ending{h.Log(), h.End()}], "%s: log %s: seq %d is of nobody",
				what, h.Log(), h.FirstSeq)
			ends[h.Log()] = h.End()
		}
	}
}

// append goes on with every log that is not suspect.
func (l *toiling) append(t *testing.T, k *Journal) {
	t.Helper()
	l.w.stamp += 1 << 20
	for _, log := range k.Logs() {
		l.w.tails[log], _ = k.Tail(log)
		b := l.w.batch(log.Shard, l.r.IntN(9000))
		if _, err := k.Stage([]wire.BatchRef{b}, nil); err != nil {
			require.ErrorContains(t, err, "suspect")
			continue
		}
		l.was[ending{log, b.Header.End()}] = true
	}
	for k.StagedBytes() > 0 {
		require.NoError(t, flush(k))
	}
}

func tailsOfAll(k *Journal) map[wire.LogID]wire.Position {
	tails := map[wire.LogID]wire.Position{}
	for _, log := range k.Logs() {
		tail, _ := k.Tail(log)
		tails[log] = tail.Position
	}
	return tails
}
