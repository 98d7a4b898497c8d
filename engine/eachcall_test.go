package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// plain hides that a disk has queues, so that journals take the portable path.
type plain struct{ vfs.FS }

// youngestFirst ends the writes under way in a queue in the worst order.
func youngestFirst(underWay int) int { return underWay - 1 }

// callFault is one run of TestEachFailingCallIsToldAndLosesNothing.
type callFault struct {
	vfs.Fault
	victim int // 0 = the site that writes, 1 = the one that mirrors
	queue  bool
	crash  int // which of the disks that the power cut may leave
}

// callFaults are the kinds of faults that each call suffers in turn.
var callFaults = []vfs.Fault{
	{Op: vfs.OpMkdir}, {Op: vfs.OpCreate}, {Op: vfs.OpOpen}, {Op: vfs.OpRename}, {Op: vfs.OpRemove}, {Op: vfs.OpList},
	{Op: vfs.OpSyncDir}, {Op: vfs.OpLock}, {Op: vfs.OpRead}, {Op: vfs.OpWrite}, {Op: vfs.OpSync}, {Op: vfs.OpSize},
	{Op: vfs.OpTruncate}, {Op: vfs.OpWrite, Effect: vfs.ShortWrite}, {Op: vfs.OpSync, Effect: vfs.SyncThenClean},
}

// TestEachFailingCallIsToldAndLosesNothing has the k-th call of every kind that a
// site makes of its disk fail, once and for ever, for every k, through the life of
// a pair: no panic, no hang, no acknowledgement that does not hold (G5; I1, I2,
// I9, I10). Time is the bubble's, so a hang shows at once.
func TestEachFailingCallIsToldAndLosesNothing(t *testing.T) {
	for _, victim := range []int{0, 1} {
		for _, queue := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, queue %t", []string{"source", "mirror"}[victim], queue), func(t *testing.T) {
				t.Parallel()
				eachFailingCall(t, callFault{victim: victim, queue: queue})
			})
		}
	}
}

// raceSteps is every which k the race detector's run tries: it needs ten times as
// long for each, and "make test" has every k once without it.
const raceSteps = 16

func eachFailingCall(t *testing.T, f callFault) {
	crashes, err := strconv.Atoi(cmp.Or(os.Getenv("CLAUDEFS_CRASHES"), "1")) // "make nightly" has more
	require.NoError(t, err, "CLAUDEFS_CRASHES is a number")
	runs, step, reached := 0, 1, map[vfs.Op]int{}
	if raceEnabled {
		step = raceSteps
	}
	for i, kind := range callFaults {
		for _, forever := range []bool{false, true} {
			f.Fault = kind
			f.Forever = forever
			f.Call = 1 - step + i*7%step
			for hit := true; hit; {
				f.Call += step
				for f.crash = range crashes {
					hit = f.live(t)
				}
				if hit {
					runs += crashes
					reached[f.Op] = max(reached[f.Op], f.Call)
				}
			}
		}
	}
	for _, kind := range callFaults {
		require.True(t, raceEnabled || reached[kind.Op] > 0, "no run reached a call of kind %d", kind.Op)
	}
	t.Logf("runs=%d k=%v", runs, reached)
}

// live lives once with this fault, and says whether a call suffered it.
func (f callFault) live(t *testing.T) (hit bool) {
	synctest.Test(t, func(t *testing.T) {
		l := newPairLife(t, f)
		l.run()
		if hit = l.faulty.Hits() > 0; !hit {
			require.False(t, l.told)
			require.Len(t, l.acked, l.n)
			return
		}
		require.True(t, l.told || !l.struck, "%+v: nobody was told", f)
		l.check()
	})
	return hit
}

// refsOf counts how often a site decided each entry.
func refsOf(s *site) map[engine.Ref]int {
	decided := map[engine.Ref]int{}
	for _, row := range s.store.Rows() {
		log := wire.LogID{Site: row.Dot.Site, Shard: row.Shard}
		decided[engine.Ref{Log: log, Incarnation: row.Dot.Incarnation, Seq: row.Dot.Seq}]++
	}
	return decided
}

// pairLife is the life of a pair one of whose disks fails once or for ever.
type pairLife struct {
	t      *testing.T
	fault  callFault
	sites  [2]*site
	victim *site
	faulty *vfs.Faulty
	acked  map[engine.Ref]bool
	n      int
	cause  error // what the fault is told as
	told   bool  // somebody was told of the fault, by an error, an event or the status
	struck bool  // the fault came before the power cut
}

func newPairLife(t *testing.T, fault callFault) *pairLife {
	l := &pairLife{t: t, fault: fault, cause: syscall.EIO, acked: map[engine.Ref]bool{}}
	l.sites[0], l.sites[1] = pair(t)
	for i, s := range l.sites {
		s.disk = vfs.NewMem(vfs.MemOptions{QueueOrder: youngestFirst})
		s.options.FS = l.path(s.disk)
		if i == fault.victim {
			l.victim = s
			l.faulty = vfs.WithFaults(l.path(s.disk), fault.Fault)
			s.options.FS = l.faulty
		}
	}
	return l
}

// path is the way that this run's journals take to a disk.
func (l *pairLife) path(disk *vfs.Mem) vfs.FS {
	if l.fault.queue {
		return disk
	}
	return plain{disk}
}

// hear notes whether an error is the fault's.
func (l *pairLife) hear(err error) error {
	l.told = l.told || errors.Is(err, l.cause)
	return err
}

// hearEvents looks whether a site has told of the fault in its events or its status.
func (l *pairLife) hearEvents() {
	for _, s := range l.sites {
		s.mu.Lock()
		for _, e := range s.events {
			l.told = l.told || strings.Contains(e.Text, l.cause.Error())
		}
		s.mu.Unlock()
		if s.Engine != nil {
			l.hear(s.Engine.Err())
		}
	}
}

// open opens both sites, the victim twice if it must: a fault may have passed.
func (l *pairLife) open() bool {
	for _, s := range l.sites {
		for range 2 {
			e, err := engine.Open(context.Background(), s.options)
			if l.hear(err) == nil {
				s.Engine = e
				break
			}
			require.ErrorIs(l.t, err, l.cause, "%+v", l.fault)
			require.Equal(l.t, l.victim, s)
		}
	}
	return l.sites[0].Engine != nil && l.sites[1].Engine != nil
}

// append has entries acknowledged at levels in turn until one is not, which must
// have been told. Only what the peer has to do for it may be waited for in vain.
func (l *pairLife) append(count, size int) {
	levels := []engine.Level{engine.Local, engine.Applied(1), engine.AppliedHere, engine.Durable(1)}
	for range count {
		l.n++
		ctx, cancel := context.WithTimeout(context.Background(), patience) // of the bubble's time
		value := fmt.Sprint(l.n, strings.Repeat(".", size))
		shard, e := engine.Shard(l.n%4), entry(fmt.Sprint("key ", l.n%4), value)
		ref, err := l.sites[0].Append(ctx, shard, e, levels[l.n%4])
		cancel()
		if l.hear(err) != nil {
			l.hearEvents()
			require.True(l.t, l.told, "%+v: entry %d failed, and nobody was told why: %v", l.fault, l.n, err)
			hung := errors.Is(err, context.DeadlineExceeded)
			alone := l.n%2 == 0 || l.sites[0].Status().Journals[0].State == "poisoned"
			require.False(l.t, hung && alone, "%+v: entry %d hangs", l.fault, l.n)
			return
		}
		l.acked[ref] = true
	}
}

// close ends a site in good order, or says why not; it never waits for ever.
func (l *pairLife) close(s *site) {
	if s.Engine == nil {
		return
	}
	err := l.hear(s.Engine.Close(soon(l.t)))
	require.NotErrorIs(l.t, err, context.DeadlineExceeded, "%+v: Close hangs", l.fault)
	l.hearEvents()
	s.Engine = nil
}

// run lives: open, append, ship, apply, give segments back, rest, close; and once
// more, up to a power cut at the victim.
func (l *pairLife) run() {
	if l.open() {
		l.append(8, 10)
		l.append(5, 900_000)          // beyond a segment's end
		<-time.After(2 * time.Second) // of the bubble's time: closing units, spares given back
		synctest.Wait()
		l.append(4, 10)
	}
	l.close(l.sites[0])
	l.close(l.sites[1])
	if l.open() {
		l.append(6, 300)
	}
	synctest.Wait()
	l.hearEvents()
	l.struck = l.faulty.Hits() > 0
	if l.victim.Engine != nil {
		r := rand.New(rand.NewPCG(uint64(l.fault.Call), uint64(l.fault.Op)<<32+uint64(l.fault.crash)))
		l.victim.crashWith(vfs.RandomFates(r), func(_ engine.Shard, unsynced int) int { return r.IntN(unsynced + 1) })
		l.victim.Engine = nil
	}
	l.close(l.sites[0])
	l.close(l.sites[1])
}

// check opens both sites on disks that work again: what was acknowledged is
// decided at both (I1), once (I2), and nothing counts as damage (I9).
func (l *pairLife) check() {
	for _, s := range l.sites {
		s.options.FS = l.path(s.disk)
		s.start()
	}
	a, b := l.sites[0], l.sites[1]
	for shard := range 4 {
		a.put(engine.Shard(shard), "last", "v", engine.AppliedHere)
		a.put(engine.Shard(shard), "last", "v", engine.Applied(1))
	}
	sameDigests(l.t, a, b)
	for _, s := range l.sites {
		decided := refsOf(s)
		require.Len(l.t, s.store.Rows(), len(decided), "%+v: duplicated at %s (I2)", l.fault, s.options.Site)
		for ref := range l.acked {
			require.Equal(l.t, 1, decided[ref], "%+v: acknowledged %v is lost at %s (I1)", l.fault, ref, s.options.Site)
		}
		for _, j := range s.Status().Journals {
			require.Zero(l.t, j.Damage+j.Suspect, "%+v: %s: a false alarm (I9)", l.fault, s.options.Site)
		}
		s.end()
	}
}
