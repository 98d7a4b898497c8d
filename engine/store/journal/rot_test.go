package journal

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// living is a journal that is open while its medium rots, and the intact copy of
// what it was given.
type living struct {
	t   *testing.T
	mem *vfs.Mem
	o   Options
	j   *Journal
	w   *writer
	all holder
}

// newLiving opens a journal, and gives it n units of up to 5 logs over segments of
// 64 KiB. Nothing is kept in memory.
func newLiving(t *testing.T, kind Kind, n int) *living {
	t.Helper()
	l := &living{t: t, mem: vfs.NewMem(vfs.MemOptions{}), w: newWriter(5), all: holder{}}
	l.o = testOptions(l.mem)
	if l.o.Kind = kind; kind == Mirror {
		l.o.Site = 6
	}
	l.j, _ = reopen(t, l.o, nil)
	l.write(n)
	return l
}

func (l *living) write(n int) {
	l.t.Helper()
	for i := range n {
		var batches []wire.BatchRef
		for k := range 5 {
			if k > 0 && (i+k)%3 == 0 || k >= 3 && i < 10*k-25 { // the later logs begin late
				continue
			}
			for range 1 + (i+k)%7/6 {
				b := l.w.batch(wire.Shard(k), 300+i*37%900)
				batches = append(batches, b)
				l.all[b.Header.Log()] = append(l.all[b.Header.Log()], b)
			}
		}
		if l.o.Kind == Own && i%4 == 1 {
			_, err := l.j.StageControl([]ControlRecord{{ClockBound: l.w.stamp}}, l.w.stamp)
			require.NoError(l.t, err)
		}
		_, err := l.j.Stage(batches, nil)
		require.NoError(l.t, err)
		require.NoError(l.t, flush(l.j))
	}
}

// rot flips a bit of a file on the medium.
func (l *living) rot(name string, off int64) {
	l.t.Helper()
	f, err := l.mem.Open("j/" + name)
	require.NoError(l.t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	require.NoError(l.t, err)
	require.NoError(l.t, f.WriteAt([][]byte{{b[0] ^ 4}}, off))
	require.NoError(l.t, f.Close())
}

// image is the medium as it is, and batches are where its batches lie.
func (l *living) image() (*image, []site) {
	l.t.Helper()
	m := imageOf(l.t, l.mem, "j")
	var sites []site
	for _, s := range l.j.segs {
		require.NoError(l.t, Inspect(m, s.name, func(i Item) error {
			if i.Head != nil {
				sites = append(sites, site{segment: s.name, end: i.Head.Bytes})
			}
			if i.Unit != nil {
				end := i.Offset + UnitHeaderBytes
				sites = append(sites, site{segment: s.name, unit: i.Unit.Number, off: i.Offset, end: end})
			}
			if i.Batch != nil {
				unit, end := sites[len(sites)-1].unit, i.Offset+int64(i.Batch.Bytes())
				sites = append(sites, site{s.name, unit, i.Offset, end, i.Batch})
			}
			return nil
		}))
	}
	return m, sites
}

// site is a head, a unit's header or a batch in a file.
type site struct {
	segment  string
	unit     UnitNumber // 0: a head
	off, end int64
	batch    *wire.BatchHeader // nil: a unit's header, or a head
}

// meet reads all stored bytes; every error is told as damage.
func (l *living) meet() (errs []error) {
	l.t.Helper()
	r := l.j.NewReader(1)
	defer r.Close()
	r.FromFiles()
	for {
		refs, err := r.Next(8 << 10)
		switch {
		case err != nil:
			require.ErrorIs(l.t, err, ErrDamaged)
			errs = append(errs, err)
			require.Less(l.t, len(errs), 200)
		case len(refs) == 0:
			return errs
		}
	}
}

func sorted(holes []Hole) []Hole {
	slices.SortFunc(holes, func(a, b Hole) int {
		return cmp.Or(a.Log.Compare(b.Log), cmp.Compare(a.From.Seq, b.From.Seq))
	})
	return holes
}

// brief are holes in a line each, the ends by their chains too. Those that touch,
// after a repair between them was lost, are one to the next Open.
func brief(holes []Hole) (lines []string) {
	var merged []Hole
	for _, h := range sorted(holes) {
		if n := len(merged) - 1; n >= 0 && merged[n].Log == h.Log && merged[n].To == h.From {
			merged[n].To = h.To
			continue
		}
		merged = append(merged, h)
	}
	for _, h := range merged {
		lines = append(lines, fmt.Sprintf("%s: %s to %s", h.Log, h.From, h.To))
	}
	return lines
}

// requireProven: what the journal learned is what an Open finds, once it had the
// time to write its closing unit, and no tail, control state or log is in doubt.
func (l *living) requireProven() {
	l.t.Helper()
	if l.j.StageIdle() {
		require.NoError(l.t, flush(l.j))
	}
	for _, h := range l.j.Holes() {
		require.NotZero(l.t, h.To, "the tails in memory are proof")
	}
	o := l.o
	o.FS = imageOf(l.t, l.mem, "j").disk(l.t, "j")
	again, rec := reopen(l.t, o, nil)
	defer again.Close()
	require.Equal(l.t, brief(l.j.Holes()), brief(again.Holes()), "the next Open finds the same holes")
	require.Empty(l.t, rec.Suspect)
	require.False(l.t, rec.ControlSuspect)
	require.Equal(l.t, l.j.Control(), again.Control())
	require.Equal(l.t, l.j.Logs(), again.Logs())
	for _, log := range l.j.Logs() {
		a, _ := l.j.Tail(log)
		b, _ := again.Tail(log)
		require.Equal(l.t, a, b)
	}
}

// requireMended: the holes take repairs, and then everything is there, in this life
// and the next, and appends go on.
func (l *living) requireMended() {
	l.t.Helper()
	repairAll(l.t, l.j, l.all)
	stats := l.j.Stats()
	require.Equal(l.t, stats.Holes, stats.Repaired)
	requireWhole(l.t, l.j, l.all)
	l.write(3)
	requireWhole(l.t, l.j, l.all)
	j, rec := reopen(l.t, l.o, l.j)
	l.j = j
	require.Empty(l.t, rec.Suspect)
	require.Empty(l.t, l.j.Holes())
	requireWhole(l.t, l.j, l.all)
}

func TestDamageThatAReaderMeetsIsAHoleThereAndThen(t *testing.T) { // I4, I9
	inSegment := func(l *living, sites []site, i int, fits func(*site) bool) []site {
		name := l.j.segs[i].name
		return slices.DeleteFunc(slices.Clone(sites), func(s site) bool { return s.segment != name || !fits(&s) })
	}
	header := func(s *site) bool { return s.unit > 0 && s.batch == nil }
	body := func(s *site) bool { return s.batch != nil && s.batch.Kind == wire.BatchData }
	for _, c := range []struct {
		name  string
		pick  func(l *living, sites []site) []site
		holes bool
	}{
		{"an old unit", func(l *living, all []site) []site { return inSegment(l, all, 0, header)[4:5] }, true},
		{"a first unit", func(l *living, all []site) []site { return inSegment(l, all, 1, header)[:1] }, true},
		{"three units in a row", func(l *living, all []site) []site { return inSegment(l, all, 1, header)[2:5] }, true},
		{"an old segment's last unit", func(l *living, all []site) []site {
			s := inSegment(l, all, 0, header)
			return s[len(s)-1:]
		}, true},
		{"a unit of the newest segment", func(l *living, all []site) []site {
			return inSegment(l, all, len(l.j.segs)-1, header)[1:2]
		}, true},
		{"the last durable unit", func(_ *living, all []site) []site {
			return slices.DeleteFunc(all, func(s site) bool { return !header(&s) })[39:]
		}, true},
		{"one log's body", func(l *living, all []site) []site { return inSegment(l, all, 1, body)[3:4] }, true},
		{"two logs' bodies", func(l *living, all []site) []site { return inSegment(l, all, 1, body)[3:5] }, true},
		{"the last body", func(_ *living, all []site) []site { return all[len(all)-1:] }, true},
		{"a log's first batch", func(l *living, all []site) []site {
			first := func(s *site) bool { return s.batch != nil && s.batch.Kind == wire.BatchStart }
			return inSegment(l, all, 0, first)[3:4]
		}, true},
		{"a control batch of the newest segment", func(l *living, all []site) []site {
			s := inSegment(l, all, len(l.j.segs)-1, func(s *site) bool {
				return s.batch != nil && s.batch.Kind == wire.BatchControl
			})
			return s[len(s)-1:]
		}, false},
		{"the head of a sealed segment", func(_ *living, all []site) []site {
			heads := slices.DeleteFunc(all, func(s site) bool { return s.unit > 0 })
			return heads[1:2]
		}, false},
		{"all batches of a segment", func(l *living, all []site) []site { return inSegment(l, all, 1, body) }, true},
		{"all units of the newest segment", func(l *living, all []site) []site {
			return inSegment(l, all, len(l.j.segs)-1, header)
		}, true},
	} {
		for _, kind := range []Kind{Own, Mirror} {
			if kind == Mirror && strings.HasPrefix(c.name, "a control") {
				continue // a mirror has none
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, kind), func(t *testing.T) {
				l := newLiving(t, kind, 40)
				require.GreaterOrEqual(t, len(l.j.segs), 3)
				require.Empty(t, l.meet())
				_, sites := l.image()
				for _, s := range c.pick(l, sites) {
					l.rot(s.segment, s.end-3)
				}
				require.NotEmpty(t, l.meet(), "told")
				require.Equal(t, c.holes, len(l.j.Holes()) > 0)
				require.NotZero(t, l.j.Stats().Damaged)
				told := len(l.meet())
				require.Equal(t, len(l.j.Holes()) > 0, told > 0, "known damage is told where something is missing")
				l.requireProven()
				l.requireMended()
			})
		}
	}
}

// TestWhateverRotsIsHoleOrHeld: random rot, met by readers, more of it, repairs in
// between and repairs that rot: what is missing is a hole, and nothing else is (I9).
func TestWhateverRotsIsHoleOrHeld(t *testing.T) {
	holes := 0
	for seed := range uint64(150 / raceStride) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 9))
			l := newLiving(t, []Kind{Own, Mirror}[seed%2], 30)
			for range 4 {
				m, _ := l.image()
				for range 1 + draw.IntN(6) {
					seg := l.j.segs[draw.IntN(len(l.j.segs))]
					if seg.last >= seg.first {
						l.rot(seg.name, seg.headBytes+draw.Int64N(seg.end-seg.headBytes))
					}
				}
				for _, name := range slices.Sorted(maps.Keys(m.files)) {
					if _, ok := fileNumber(repairPrefix, name); ok && draw.IntN(4) == 0 {
						l.rot(name, draw.Int64N(int64(len(m.files[name]))))
					}
				}
				l.meet()
				l.requireHeldOrHole()
				holes += len(l.j.Holes())
				for _, h := range l.j.Holes() {
					if draw.IntN(2) == 0 {
						require.NoError(t, l.j.Repair(h.Log, l.all.fetch(h.Log, h.From, h.To)))
					}
				}
				l.write(draw.IntN(4))
				l.requireHeldOrHole()
			}
			l.meet()
			l.requireProven()
			l.requireMended()
		})
	}
	require.Greater(t, holes, 150/raceStride)
}

// requireHeldOrHole: each batch is read, or lies in a hole.
func (l *living) requireHeldOrHole() {
	l.t.Helper()
	logs, _ := readLogs(l.t, l.j)
	holes := l.j.Holes()
	for log, batches := range l.all {
		held := map[string]bool{}
		for _, b := range logs[log] {
			held[string(b[8:24])] = true // its chain
		}
		for i := range batches {
			h := &batches[i].Header
			inHole := slices.ContainsFunc(holes, func(x Hole) bool {
				return x.Log == log && x.From.Seq < h.FirstSeq && h.LastSeq() <= x.To.Seq
			})
			require.True(l.t, held[string(h.Chain[:])] != inHole, "log %s seq %d: held %v, in a hole %v",
				log, h.FirstSeq, !inHole, inHole)
		}
	}
}
