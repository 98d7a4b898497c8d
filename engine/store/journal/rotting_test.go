package journal

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// TestOneAnswerFillsAllHolesOfALog: also those that it was not asked for (I4, I9).
func TestOneAnswerFillsAllHolesOfALog(t *testing.T) {
	var told []Damage
	l := newLiving(t, Mirror, 40)
	l.j.o.Damaged = func(places []Damage) { told = append(told, places...) }
	_, sites := l.image()
	log := wire.LogID{Site: 5, Shard: 0}
	spoilt := 0
	for i := 0; i < len(sites); i++ {
		if s := &sites[i]; s.batch != nil && s.batch.Log() == log && s.unit%11 == 5 {
			l.rot(s.segment, s.end-1)
			spoilt++
		}
	}
	l.meet()
	holes := sorted(l.j.Holes())
	require.Len(t, holes, spoilt)
	require.Len(t, told, spoilt, "each place is told once")
	l.meet()
	require.Len(t, told, spoilt)
	require.NoError(t, l.j.Repair(log, l.all.fetch(log, wire.Position{}, holes[len(holes)-1].To)))
	require.Empty(t, l.j.Holes())
	require.ErrorIs(t, l.j.Repair(log, l.all.fetch(log, wire.Position{}, holes[0].To)), ErrOrder)
	l.requireMended()
}

// TestReadersThatStandAnywhereMissNothing: damage is met by one reader while others
// stand at each unit. Each of them is told before it meets a gap, and after the
// repair those before the damage meet everything (I3, I9).
func TestReadersThatStandAnywhereMissNothing(t *testing.T) {
	for _, mend := range []bool{false, true} {
		l := newLiving(t, Mirror, 40)
		_, sites := l.image()
		for i, at := range []int{60, 61, 75} {
			l.rot(sites[at].segment, sites[at].end-1-int64(i))
		}
		var readers []*Reader
		met := []map[wire.LogID]wire.Seq{}
		for from := UnitNumber(1); from <= l.j.Durable(); from++ {
			r := l.j.NewReader(1)
			at := map[wire.LogID]wire.Seq{}
			for r.Unit() < from && r.Unit()+1 < sites[60].unit {
				refs, err := r.Next(1)
				require.NoError(t, err)
				follow(t, at, refs)
			}
			readers, met = append(readers, r), append(met, at)
		}
		behind := l.j.NewReader(l.j.Durable() - 1)
		for refs, err := behind.Next(1); len(refs) > 0; refs, err = behind.Next(1) {
			require.NoError(t, err)
		}
		l.rot(sites[len(sites)-1].segment, sites[len(sites)-1].end-1)
		require.NotEmpty(t, l.meet())
		if mend {
			repairAll(t, l.j, l.all)
		}
		refs, err := behind.Next(1)
		require.NoError(t, err, "what lies behind a reader is not told to it")
		require.Empty(t, refs)
		behind.Close()
		for i, r := range readers {
			told := false
			for {
				refs, err := r.Next(4 << 10)
				if err != nil {
					require.ErrorIs(t, err, ErrDamaged)
					told = true
					continue
				}
				if len(refs) == 0 {
					break
				}
				if !told {
					follow(t, met[i], refs)
				}
			}
			require.Equal(t, !mend, told)
			r.Close()
		}
	}
}

// follow requires that batches continue what a reader met, or repeat it.
func follow(t *testing.T, at map[wire.LogID]wire.Seq, refs []wire.BatchRef) {
	t.Helper()
	for i := range refs {
		h := &refs[i].Header
		require.LessOrEqual(t, h.FirstSeq, at[h.Log()]+1, "log %s", h.Log())
		at[h.Log()] = max(at[h.Log()], h.LastSeq())
	}
}

// TestWhatRotsAroundARepairKeepsIt: the holder it came from may have given it back
// since (I9, I12).
func TestWhatRotsAroundARepairKeepsIt(t *testing.T) {
	l := newLiving(t, Mirror, 40)
	_, sites := l.image()
	log := wire.LogID{Site: 5, Shard: 0}
	var own []site // in units that follow each other
	for _, s := range sites {
		if s.batch != nil && s.batch.Log() == log && s.segment == l.j.segs[1].name {
			own = append(own, s)
		}
	}
	require.Equal(t, own[2].unit+2, own[4].unit)
	l.rot(own[3].segment, own[3].end-1)
	l.meet()
	require.Len(t, l.j.Holes(), 1)
	repairAll(t, l.j, l.all)
	for _, s := range sites {
		if s.unit >= own[2].unit && s.unit <= own[4].unit && s.batch == nil {
			l.rot(s.segment, s.end-1)
		}
	}
	l.meet()
	holes := slices.DeleteFunc(sorted(l.j.Holes()), func(h Hole) bool { return h.Log != log })
	require.Len(t, holes, 2)
	require.Equal(t, own[2].batch.End(), holes[0].To)
	require.Equal(t, own[3].batch.End(), holes[1].From)
	l.requireProven()
	l.requireMended()
}

func TestRepairThatRotsIsFetchedAgain(t *testing.T) { // I9
	for _, at := range []int{60, 62} {
		l := newLiving(t, Mirror, 40)
		_, sites := l.image()
		l.rot(sites[at].segment, sites[at].end-1)
		l.meet()
		want := sorted(l.j.Holes())
		repairAll(t, l.j, l.all)
		for name, b := range imageOf(t, l.mem, "j").files {
			if _, ok := fileNumber(repairPrefix, name); ok {
				l.rot(name, int64(len(b))/2)
			}
		}
		require.NotEmpty(t, l.meet())
		require.Equal(t, want, sorted(l.j.Holes()))
		l.requireProven()
		l.requireMended()
	}
}

// TestReadingThatFailsIsNoDamage: neither of a unit nor while what is damaged is
// looked at (I9).
func TestReadingThatFailsIsNoDamage(t *testing.T) {
	l := newLiving(t, Mirror, 40)
	_, sites := l.image()
	l.rot(sites[60].segment, sites[60].end-1)
	disk := &failing{FS: l.mem}
	l.j.o.FS = disk
	for k := 1; ; k++ {
		disk.left = k
		r := l.j.NewReader(1)
		failed := 0
		for {
			refs, err := r.Next(8 << 10)
			if err != nil && !errors.Is(err, ErrDamaged) {
				require.ErrorIs(t, err, syscall.EIO)
				require.Empty(t, l.j.Holes(), "call %d", k)
				require.Zero(t, l.j.Stats().Damaged)
				failed++
			}
			if errors.Is(err, ErrDamaged) || err == nil && len(refs) == 0 {
				break
			}
		}
		r.Close()
		disk.left = 0
		require.NotEmpty(t, l.j.Holes())
		if failed == 0 {
			require.Greater(t, k, 4)
			break
		}
		// As if nobody had been there.
		for _, s := range l.j.segs {
			s.damages = nil
			s.version++
		}
		l.j.holes, l.j.renew = nil, false
	}
	l.requireMended()
}

// failing fails one call that reads, after left-1 others.
type failing struct {
	vfs.FS
	left int
}

func (d *failing) fails() bool { d.left--; return d.left == 0 }

func (d *failing) Open(name string) (vfs.File, error) {
	if d.fails() {
		return nil, syscall.EIO
	}
	f, err := d.FS.Open(name)
	return &failingFile{f, d}, err
}

type failingFile struct {
	vfs.File
	d *failing
}

func (f *failingFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.fails() {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}

// TestDamageIsMetBesideEverythingElse: appends, Reclaim, Trim, readers and repairs go
// on while readers meet rot (I9, I10, I12).
func TestDamageIsMetBesideEverythingElse(t *testing.T) {
	l := newLiving(t, Mirror, 40)
	_, sites := l.image()
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.j.Holes()
					l.j.Stats()
					readAll(l.j, 1)
				}
			}
		})
	}
	group.Go(func() {
		nobody := func(wire.LogID) wire.Position { return wire.Position{} }
		for {
			select {
			case <-stop:
				return
			default:
				n, err := l.j.Reclaim(nobody)
				if err != nil || n != 0 || l.j.Trim() != nil {
					t.Errorf("%d segments went: %v", n, err)
				}
			}
		}
	})
	for i := 10; i < len(sites); i += 9 {
		l.rot(sites[i].segment, sites[i].end-1)
		l.write(1)
		l.meet()
		for _, h := range l.j.Holes() {
			require.NoError(t, l.j.Repair(h.Log, l.all.fetch(h.Log, h.From, h.To)))
		}
		requireWhole(t, l.j, l.all)
	}
	close(stop)
	group.Wait()
	l.requireProven()
	l.requireMended()
}

// TestWhatIsRecentIsServedThoughItsFileRots: nobody waits for a repair of what is
// in memory still (I9).
func TestWhatIsRecentIsServedThoughItsFileRots(t *testing.T) {
	l := newLiving(t, Own, 4)
	require.NoError(t, l.j.Close())
	l.o.RecentBytesMax = 1 << 20
	l.j, _ = reopen(t, l.o, nil)
	slow := l.j.NewReader(1)
	defer slow.Close()
	l.write(6)
	_, sites := l.image()
	last := sites[len(sites)-2]
	l.rot(last.segment, last.end-1)
	require.NotEmpty(t, l.meet())
	require.NotEmpty(t, l.j.Holes())
	got := 0
	for {
		refs, err := slow.Next(2 << 10)
		require.NoError(t, err)
		if len(refs) == 0 {
			break
		}
		got += len(refs)
	}
	want := 0
	for _, batches := range l.all {
		want += len(batches)
	}
	require.Equal(t, want, got)
	l.requireProven()
	l.requireMended()
}

// TestRemovedSegmentIsDamage: a running journal finds out when somebody reads there,
// whichever segment it is, and can be made whole again (I9).
func TestRemovedSegmentIsDamage(t *testing.T) {
	for _, kind := range []Kind{Own, Mirror} {
		for _, which := range []string{"oldest", "middle", "newest"} {
			l := newLiving(t, kind, 60)
			require.Greater(t, len(l.j.segs), 2)
			i := map[string]int{"oldest": 0, "middle": 1, "newest": len(l.j.segs) - 1}[which]
			gone := l.j.segs[i].name
			require.NoError(t, l.mem.Remove("j/"+gone))
			errs := l.meet()
			require.NotEmpty(t, errs)
			require.ErrorContains(t, errs[0], gone)
			require.NotEmpty(t, l.j.Holes(), "%s of %d", which, kind)
			repairAll(t, l.j, l.all)
			require.Empty(t, l.j.Holes())
			require.Empty(t, l.meet())
			requireWhole(t, l.j, l.all)
			l.write(3)
			requireWhole(t, l.j, l.all)
			require.NotEqual(t, gone, l.j.segs[len(l.j.segs)-1].name, "nothing is written where nobody finds it")
			if which != "oldest" { // else it looks like one that was given back
				l.j, _ = reopen(t, l.o, l.j)
				requireWhole(t, l.j, l.all)
			}
		}
	}
}
