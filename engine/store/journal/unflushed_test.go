package journal

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestRepairThatRecoveryCountsIsFlushedFirst: a process ends after it wrote a repair
// and before it flushed it. Who opens next counts it, so a power cut must not take it
// back: other holders may have given it back since, and a suspect log's tail was told
// to peers (I1, I9).
func TestRepairThatRecoveryCountsIsFlushedFirst(t *testing.T) {
	for _, at := range []int{5, 10} { // a hole between batches; the end of a suspect log
		m, o, all := mirrored(t, 12)
		_, units := m.spots(t, oldName)
		m.files[oldName][units[at].off+40] ^= 1
		mem := m.disk(t, "j")
		armed, calls := false, 0
		o.FS = &tap{mem, func() {
			if calls++; armed && calls == 2 { // the file was made, then written
				mem.Kill()
				runtime.Goexit()
			}
		}}
		j, _ := reopen(t, o, nil)
		h, before := j.Holes()[0], len(j.Holes())
		armed, calls = true, 0
		over := make(chan struct{})
		go func() { // ends with the process
			defer close(over)
			_ = j.Repair(h.Log, all.fetch(h.Log, h.From, h.To))
		}()
		<-over

		o.FS = mem
		j, rec := reopen(t, o, nil)
		holes := j.Holes()
		require.Len(t, holes, before-1, "it was counted")
		o.FS = mem.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop })
		again, now := reopen(t, o, nil)
		require.Equal(t, holes, again.Holes())
		require.Equal(t, rec.Suspect, now.Suspect)
		for log := range all {
			was, _ := j.Tail(log)
			is, _ := again.Tail(log)
			require.Equal(t, was, is, "log %s", log)
		}
	}
}

// TestSpareOfAnEarlierOpeningIsNotUsed: a process ends while the zeros of the next
// segment are written, of which the system has written some to the medium. A power
// cut in the next opening is no damage (I9).
func TestSpareOfAnEarlierOpeningIsNotUsed(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	o.SegmentBytes = 4 << 20
	j, _ := reopen(t, o, nil)
	for w := newWriter(5); !j.NeedsSpare(); {
		_, err := j.Stage([]wire.BatchRef{w.batch(0, 16_000)}, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	for p := j.preparing.Load(); p == nil || p.off < o.SegmentBytes; p = j.preparing.Load() {
		if p != nil && p.off == o.SegmentBytes/2 {
			require.NoError(t, p.file.Sync())
		}
		_, err := j.Prepare()
		require.NoError(t, err)
	}
	mem.Kill()

	cuts := 0
	o.FS = &tap{mem, func() {
		cuts++
		o := o
		o.FS = mem.Crash(func(u vfs.Unsynced) vfs.Fate {
			if u.Kind == vfs.UnsyncedSize {
				return vfs.Drop
			}
			return vfs.Keep
		})
		_, rec, err := Open(o)
		require.NoError(t, err)
		require.Empty(t, rec.Damage, "cut %d", cuts)
		require.Empty(t, rec.Suspect, "cut %d", cuts)
	}}
	j, _ = reopen(t, o, nil)
	require.Zero(t, j.Stats().Recycled)
	require.Zero(t, j.Stats().Spare)
	require.Greater(t, cuts, 4)
}
