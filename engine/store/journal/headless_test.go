package journal

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// bareHead is a byte of a head under its digest that says nothing of its file: a flip
// there loses the head alone.
const bareHead = 20

// stage writes a unit with one batch of each of these shards.
func (l *living) stage(shards ...wire.Shard) {
	l.t.Helper()
	var batches []wire.BatchRef
	for _, shard := range shards {
		b := l.w.batch(shard, 700)
		batches = append(batches, b)
		l.all[b.Header.Log()] = append(l.all[b.Header.Log()], b)
	}
	_, err := l.j.Stage(batches, nil)
	require.NoError(l.t, err)
	require.NoError(l.t, flush(l.j))
}

// TestLostHeadExcusesNoLostUnit: units are lost beside the oldest head, and with them all
// that a log had in that segment. The next head tells where the log ends, and is no
// proof that nothing of it is missing (I9).
func TestLostHeadExcusesNoLostUnit(t *testing.T) {
	for _, lost := range [][]int{{0}, {1}, {3}, {1, 2}, {4}, {1, 3}, {0, 4}, {0, 1, 2, 3, 4}} { // of five units
		for _, c := range []struct {
			kind  Kind
			heads int
		}{{Own, 1}, {Mirror, 1}, {Mirror, 2}} {
			t.Run(fmt.Sprint(lost, c), func(t *testing.T) {
				l := newLiving(t, c.kind, 0)
				for i := range wire.Shard(5) {
					l.stage(i, i)
				}
				rollIdle(t, l.j)
				l.stage(0)
				rollIdle(t, l.j)
				l.stage(1)
				require.NoError(t, l.j.Close())
				_, sites := l.image()
				units := slices.DeleteFunc(sites, func(s site) bool { return s.unit == 0 || s.batch != nil })
				for _, i := range lost {
					l.rot(units[i].segment, units[i].end-1)
				}
				for _, s := range l.j.segs[:c.heads] {
					l.rot(s.name, bareHead)
				}
				var rec *Recovery
				l.j, rec = reopen(t, l.o, nil)
				require.Empty(t, rec.Suspect, "the heads behind prove every tail")
				for i := range wire.Shard(5) {
					log := wire.LogID{Site: 5, Shard: i}
					holed := slices.ContainsFunc(l.j.Holes(), func(h Hole) bool {
						return h.Log == log && h.From == wire.Position{} && h.To == l.all[log][1].Header.End()
					})
					require.Equal(t, slices.Contains(lost, int(i)), holed, "log %s: %v", log, l.j.Holes())
				}
				for range 2 {
					repairAll(t, l.j, l.all)
					logs, _ := readLogs(t, l.j) // a place of which nothing is missing is still told
					for log, batches := range l.all {
						require.Len(t, logs[log], len(batches), "log %s", log)
					}
					l.j, _ = reopen(t, l.o, l.j)
					require.Empty(t, l.j.Holes())
				}
			})
		}
	}
}

// TestLostHeadInventsNoHole: a log was idle in the oldest segments, whose heads
// are lost alone. Rot that a reader meets there takes nothing of it, and who has nothing
// of it is told that its batches are gone (I9, I12).
func TestLostHeadInventsNoHole(t *testing.T) {
	for _, heads := range []int{1, 2} {
		for _, body := range []bool{true, false} {
			t.Run(fmt.Sprint(heads, body), func(t *testing.T) {
				l := newLiving(t, Mirror, 0)
				l.stage(0, 1, 1)
				rollIdle(t, l.j)
				for range 3 {
					l.stage(0)
					rollIdle(t, l.j)
				}
				idle, grown := wire.LogID{Site: 5, Shard: 1}, wire.LogID{Site: 5}
				first := l.all[grown][0].Header.End()
				n, err := l.j.Reclaim(func(log wire.LogID) wire.Position {
					if log == grown {
						return first
					}
					tail, _ := l.j.Tail(log)
					return tail.Position
				})
				require.NoError(t, err)
				require.Equal(t, 1, n)
				require.NoError(t, l.j.Close())
				for _, s := range l.j.segs[:heads] {
					l.rot(s.name, bareHead)
				}
				l.j, _ = reopen(t, l.o, nil)
				require.Empty(t, l.j.Holes())
				gone := l.j.NotRetained(func(wire.LogID) wire.Position { return wire.Position{} })
				require.Equal(t, []wire.LogID{grown, idle}, gone)
				_, sites := l.image()
				spoilt := 0
				for _, s := range sites {
					if s.segment == l.j.segs[heads-1].name && s.unit > 0 && (s.batch != nil) == body {
						l.rot(s.segment, s.end-1)
						spoilt++
					}
				}
				require.NotZero(t, spoilt)
				require.NotEmpty(t, l.meet())
				holes := l.j.Holes()
				require.Len(t, holes, 1)
				require.Equal(t, grown, holes[0].Log)
				require.Equal(t, l.all[grown][heads].Header.End(), holes[0].To)
				repairAll(t, l.j, l.all)
				require.Empty(t, l.meet())
			})
		}
	}
}
