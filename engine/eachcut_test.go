package engine_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// cut is a power cut at one moment of a pair's life, from the first opening of an
// empty directory on.
type cut struct {
	point  vfs.Failpoint
	victim int
	queue  bool
}

// TestPowerCutAtEachCallLosesNothing cuts a site's power before and after each call
// that changes its disk, and opens what that may leave: nothing of the unsynced, all
// of it, and a draw (G3; I1, I2, I9). The journals' own tests have every subset.
func TestPowerCutAtEachCallLosesNothing(t *testing.T) {
	for _, victim := range []int{0, 1} {
		for _, queue := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, queue %t", []string{"source", "mirror"}[victim], queue), func(t *testing.T) {
				t.Parallel()
				eachCut(t, cut{victim: victim, queue: queue})
			})
		}
	}
}

func eachCut(t *testing.T, c cut) {
	step, cuts, images := 1, 0, 0
	if raceEnabled {
		step = raceSteps
	}
	for _, op := range vfs.FailpointOps() {
		for _, after := range []bool{false, true} {
			for n := 1; ; n += step {
				c.point = vfs.Failpoint{Op: op, Call: n, After: after}
				tried := c.live(t)
				if images += tried; tried == 0 {
					break
				}
				cuts++
			}
		}
	}
	require.True(t, raceEnabled || cuts > 100, "too few to mean anything")
	t.Logf("%d cuts, %d images", cuts, images)
}

// left is what a power cut leaves of a site.
type left struct {
	disk  *vfs.Mem
	store *store.Mem
}

// live lives up to the cut and checks each image that it may leave; 0 = the life was
// over before.
func (c cut) live(t *testing.T) (images int) {
	synctest.Test(t, func(t *testing.T) {
		l := newPairLife(t, callFault{victim: c.victim, queue: c.queue})
		l.cause = fs.ErrClosed
		var remains []left
		v := l.victim
		v.options.FS = vfs.AtFailpoint(l.path(v.disk), c.point, func() {
			v.disk.Kill() // from here on nothing is acknowledged
			r := rand.New(rand.NewPCG(uint64(c.point.Call), uint64(c.point.Op)))
			for _, fate := range []func(vfs.Unsynced) vfs.Fate{
				func(vfs.Unsynced) vfs.Fate { return vfs.Drop }, func(vfs.Unsynced) vfs.Fate { return vfs.Keep },
				vfs.RandomFates(r),
			} {
				kept := v.store.Crash(func(_ engine.Shard, unsynced int) int { return r.IntN(unsynced + 1) })
				remains = append(remains, left{v.disk.Crash(fate), kept})
			}
		})
		for _, count := range []int{8, 4} {
			if l.open() {
				l.append(count, 100)
				<-time.After(2 * time.Second) // of the bubble's time: closing units, spares given back
			}
			l.close(l.sites[0])
			l.close(l.sites[1])
			if len(remains) > 0 {
				break
			}
		}
		other := l.sites[1-c.victim]
		for _, is := range remains {
			v.disk, v.store, v.options.Store = is.disk, is.store, is.store
			disk, kept := other.image()
			l.check()
			other.disk, other.store, other.options.Store = disk, kept, kept
			images++
		}
		require.True(t, images > 0 || len(l.acked) == l.n)
	})
	return images
}
