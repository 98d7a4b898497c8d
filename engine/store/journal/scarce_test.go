package journal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// rare is an owner that wants its memory back behind the flush, and writes to it then.
type rare struct {
	counter
	memory [][]byte
}

func (r *rare) Scarce() bool { return true }

func (r *rare) Release() {
	r.counter.Release()
	for _, b := range r.memory {
		clear(b)
	}
}

// spare is memory that counts.
type spare struct{ lent, freed int }

func (s *spare) Alloc(size int) []byte { s.lent++; return make([]byte, size) }
func (s *spare) Free(memory []byte)    { clear(memory); s.freed++ }

func TestScarceMemoryIsReleasedAfterFlush(t *testing.T) {
	memory := &spare{}
	o := recentOptions(5000)
	o.Memory = memory
	j, _ := reopen(t, o, nil)
	w := newWriter(5)
	r := j.NewReader(1)
	defer r.Close()
	total := 0
	for range 50 {
		b := w.batch(0, 1000)
		own := &rare{memory: [][]byte{b.Bytes}}
		want := append([]byte(nil), b.Bytes...)
		_, err := j.Stage([]wire.BatchRef{b}, own)
		require.NoError(t, err)
		require.Zero(t, own.n, "it is still to be written")
		require.NoError(t, flush(j))
		require.Equal(t, 1, own.n)
		refs, err := r.Next(4096)
		require.NoError(t, err)
		require.Len(t, refs, 1)
		require.Equal(t, want, refs[0].Bytes)
		total += len(want)
	}
	s := j.Stats()
	require.Zero(t, s.FileReadBytes)
	require.EqualValues(t, total, s.CopiedBytes)
	require.LessOrEqual(t, s.RecentBytes, int64(5000), "I10: the copies count")
	r.Close()
	require.NoError(t, j.Close())
	require.Equal(t, 50, memory.lent)
	require.Equal(t, 50, memory.freed)
}

// What one Stage lent lies in several units: the memory is kept until the last of
// them is written.
func TestScarceMemoryOfTwoUnitsIsKept(t *testing.T) {
	j, _ := reopen(t, recentOptions(100_000), nil)
	w := newWriter(5)
	own := &rare{}
	var batches []wire.BatchRef
	var want [][]byte
	for range 5 {
		b := w.batch(0, 6000) // two to a unit
		batches, own.memory = append(batches, b), append(own.memory, b.Bytes)
		want = append(want, append([]byte(nil), b.Bytes...))
	}
	_, err := j.Stage(batches, own)
	require.NoError(t, err)
	for own.n == 0 {
		f := j.BeginFlush()
		require.NotNil(t, f, "it is given back with the last unit, %d", own.n)
		require.NoError(t, f.Write())
		require.NoError(t, f.Sync())
		_, err = j.EndFlush(f, nil)
		require.NoError(t, err)
	}
	require.Nil(t, j.BeginFlush())
	got, errs := readAll(j, 1)
	require.Empty(t, errs)
	require.Equal(t, want, got)
	require.Zero(t, j.Stats().FileReadBytes)
}

// What nobody remembers is copied for nobody.
func TestScarceMemoryIsNotCopiedWithoutRecentOnes(t *testing.T) {
	j, _ := reopen(t, recentOptions(0), nil)
	own := &rare{}
	stageAndFlush(t, j, newWriter(5), 0, own)
	require.Equal(t, 1, own.n)
	require.Zero(t, j.Stats().CopiedBytes)
}

func TestWhatIsKeptOutlivesTheReadersNextCalls(t *testing.T) {
	j, _ := reopen(t, recentOptions(5000), nil)
	w := newWriter(5)
	first := &big{bytes: 3000}
	r := j.NewReader(1)
	stageAndFlush(t, j, w, 0, first)
	refs, err := r.Next(1)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	keep, again := r.Keep(), r.Keep()
	require.NotNil(t, keep)
	for range 5 {
		stageAndFlush(t, j, w, 0, &big{bytes: 3000})
		_, err = r.Next(1)
		require.NoError(t, err)
	}
	require.Zero(t, first.n, "evicted, and kept")
	keep()
	require.Zero(t, first.n, "kept twice")
	r.Close()
	again()
	require.Equal(t, 1, first.n)
}

func TestWhatWasReadFromAFileIsNotKept(t *testing.T) {
	j, _ := reopen(t, recentOptions(4000), nil)
	w := newWriter(5)
	r := j.NewReader(1)
	defer r.Close()
	require.Nil(t, r.Keep())
	for range 30 {
		stageAndFlush(t, j, w, 0, nil)
	}
	refs, err := r.Next(1)
	require.NoError(t, err)
	require.NotEmpty(t, refs)
	require.Nil(t, r.Keep())
}
