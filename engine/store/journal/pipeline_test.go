package journal

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// youngestFirst ends writes in the worst order.
func youngestFirst(underWay int) int { return underWay - 1 }

// beginFive has five units under way, each with a batch of its own and an owner.
func beginFive(t *testing.T, fs vfs.FS) (*Journal, *Pipeline, []*counted) {
	t.Helper()
	o := testOptions(fs)
	j, _ := reopen(t, o, nil)
	j.active.zeroed = j.active.size // a file that goes round: no unit zeroes what lies behind it
	p := j.OpenPipeline(PipelineOptions{Depth: 5})
	require.Equal(t, 5, p.Depth())
	w := newWriter(5)
	var owners []*counted
	for range 5 {
		owners = append(owners, &counted{})
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 500)}, owners[len(owners)-1])
		require.NoError(t, err)
		require.True(t, p.Begin())
	}
	_, err := j.Stage([]wire.BatchRef{w.batch(0, 500)}, nil)
	require.NoError(t, err)
	require.False(t, p.Begin(), "no more than its depth")
	require.Equal(t, 5, p.Inflight())
	return j, p, owners
}

func TestUnitThatZeroesAheadIsAlone(t *testing.T) { // I1
	j, _ := reopen(t, testOptions(vfs.NewMem(vfs.MemOptions{})), nil)
	p := j.OpenPipeline(PipelineOptions{Depth: 5})
	w := newWriter(5)
	zeroed := uint64(0)
	for range 9 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 500)}, nil)
		require.NoError(t, err)
		for !p.Begin() {
			require.Positive(t, j.Stats().ZeroedBytes-zeroed, "else there would be room")
			_, err = p.End()
			require.NoError(t, err)
			if p.Inflight() == 0 {
				zeroed = j.Stats().ZeroedBytes
			}
		}
	}
	for p.Inflight() > 0 {
		_, err := p.End()
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	require.NoError(t, j.Close())
}

// counted is an owner that knows how often it was told.
type counted struct{ ended, released int }

func (c *counted) FlushEnded() { c.ended++ }
func (c *counted) Release()    { c.released++ }

func TestOnlyAStretchWithoutAGapIsAcknowledged(t *testing.T) { // I1
	j, p, owners := beginFive(t, vfs.NewMem(vfs.MemOptions{QueueOrder: youngestFirst}))
	for range 4 {
		done, err := p.End()
		require.NoError(t, err)
		require.Zero(t, done.Unit, "units 2 to 5 ended, 1 has not")
		require.Empty(t, done.Headers)
	}
	require.Zero(t, j.Durable())
	require.Zero(t, owners[4].ended, "durable only with those before")
	got, errs := readAll(j, 1)
	require.Nil(t, errs)
	require.Empty(t, got, "nothing is readable before it is durable")
	done, err := p.End()
	require.NoError(t, err)
	require.EqualValues(t, 5, done.Unit)
	require.Len(t, done.Headers, 5)
	for i, h := range done.Headers {
		require.EqualValues(t, 1+i, h.FirstSeq+1-done.Headers[0].FirstSeq)
	}
	require.EqualValues(t, 5, j.Durable())
	require.Equal(t, counted{ended: 1, released: 1}, *owners[4])
	require.True(t, p.Begin())
	_, err = p.End()
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.NoError(t, j.Close())
}

func TestWritesAfterFailedOneAreNotDurable(t *testing.T) { // I1
	mem := vfs.NewMem(vfs.MemOptions{QueueOrder: youngestFirst})
	// Ends go from the youngest: the third is unit 3's.
	j, p, owners := beginFive(t, vfs.WithFaults(mem, vfs.Fault{Op: vfs.OpSync, Match: "segment-*", Call: 3}))
	for range 2 {
		_, err := p.End()
		require.NoError(t, err)
	}
	_, err := p.End()
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "unit 3")
	require.Equal(t, counted{1, 1}, *owners[4], "it ended: its memory is not lent any more")
	require.Equal(t, counted{}, *owners[0], "it is still under way")
	require.False(t, p.Begin())
	require.Error(t, p.Close(), "two are under way")
	for p.Inflight() > 0 {
		_, err = p.End()
		require.ErrorIs(t, err, ErrPoisoned, "units 1 and 2 may be there; nobody is told so")
	}
	for i, o := range owners {
		require.Equal(t, counted{1, 1}, *o, "owner %d", i)
	}
	require.Zero(t, j.Durable())
	require.NoError(t, p.Close())
	require.NoError(t, j.Close())
}

func TestDiskWithoutQueuesTakesOneUnitAtATime(t *testing.T) {
	j, _ := reopen(t, testOptions(struct{ vfs.FS }{vfs.NewMem(vfs.MemOptions{})}), nil)
	p := j.OpenPipeline(PipelineOptions{})
	require.Equal(t, 1, p.Depth())
	require.Contains(t, p.About(), "one unit at a time")
	w := newWriter(5)
	for range 3 {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 500)}, nil)
		require.NoError(t, err)
		require.True(t, p.Begin())
		require.False(t, p.Begin())
		done, err := p.End()
		require.NoError(t, err)
		require.Len(t, done.Headers, 1)
	}
	require.NoError(t, p.Close())
	require.NoError(t, j.Close())
}

func TestWakeIsNeverLost(t *testing.T) {
	for _, fs := range []vfs.FS{vfs.NewMem(vfs.MemOptions{}), struct{ vfs.FS }{vfs.NewMem(vfs.MemOptions{})}} {
		j, _ := reopen(t, testOptions(fs), nil)
		p := j.OpenPipeline(PipelineOptions{})
		const rounds = 2000
		work, taken := make(chan struct{}, 1), 0
		go func() { // ends after its rounds
			for range rounds {
				work <- struct{}{}
				p.Wake()
			}
		}()
		take := func() bool {
			select {
			case <-work:
				taken++
				return true
			default:
				return false
			}
		}
		for taken < rounds {
			if take() {
				continue
			}
			if p.Idle(); take() {
				p.Busy()
				continue
			}
			_, err := p.End()
			require.NoError(t, err)
		}
		require.NoError(t, p.Close())
		require.NoError(t, j.Close())
	}
}
