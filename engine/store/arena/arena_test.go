package arena

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func open(t testing.TB, bytesMax int64) *Arena {
	a, err := New(bytesMax)
	require.NoError(t, err)
	return a
}

// place is where lent memory lies in the region; -1 = on the heap.
func (a *Arena) placeOf(b []byte) int { return int(a.lent[&b[:1][0]].place) }

func TestExtentsBeginAtAMultipleOfTheirSize(t *testing.T) {
	a := open(t, 8<<20)
	for _, size := range []int{ExtentBytesMin, ExtentBytesMin + 1, 100_000, 1<<20 + 64<<10, ExtentBytesMax} {
		b := a.Alloc(size)
		require.Len(t, b, size)
		require.Equal(t, size, cap(b), "nobody can append into the next one")
		rounded := ExtentBytesMin
		for rounded < size {
			rounded *= 2
		}
		require.Zero(t, a.placeOf(b)*ExtentBytesMin%rounded)
		require.EqualValues(t, rounded, a.Stats().LentBytes)
		a.Free(b)
		require.Zero(t, a.Stats().LentBytes)
	}
	require.NoError(t, a.Close())
}

func TestWhatFitsNoExtentComesFromTheHeap(t *testing.T) { // I10
	a := open(t, 1)
	require.EqualValues(t, ExtentBytesMax, a.Stats().RegionBytes)
	whole, small, spilled := a.Alloc(ExtentBytesMax), a.Alloc(100), a.Alloc(1<<20)
	require.Zero(t, a.placeOf(whole))
	require.Equal(t, -1, a.placeOf(small))
	require.Equal(t, -1, a.placeOf(spilled))
	require.Equal(t, Stats{
		RegionBytes: ExtentBytesMax, LentBytes: ExtentBytesMax, HeapBytes: 100 + 1<<20, Spilled: 1,
	}, a.Stats())
	for _, b := range [][]byte{whole, small, spilled} {
		a.Free(b[:0])
	}
	require.Equal(t, Stats{RegionBytes: ExtentBytesMax, Spilled: 1}, a.Stats())
	require.NoError(t, a.Close())
	none := open(t, 0)
	b := none.Alloc(1 << 20)
	require.Nil(t, none.Region())
	none.Free(b)
	require.NoError(t, none.Close())
}

func TestMemoryThatIsNotLentIsNotFreed(t *testing.T) {
	a := open(t, 8<<20)
	b, heap := a.Alloc(ExtentBytesMin), a.Alloc(10)
	require.Panics(t, func() { a.Free(b[1:]) })
	require.Panics(t, func() { a.Free(nil) })
	require.Panics(t, func() { a.Free(make([]byte, 10)) })
	for _, b := range [][]byte{b, heap} {
		a.Free(b)
		require.Panics(t, func() { a.Free(b) }, "twice")
	}
	require.Panics(t, func() { a.Alloc(0) })
}

func TestLentMemoryOutlivesClose(t *testing.T) {
	a := open(t, 8<<20)
	b := a.Alloc(1 << 20)
	require.NoError(t, a.Close())
	b[0], b[len(b)-1] = 1, 2
	require.NotZero(t, a.Stats().RegionBytes)
	later := a.Alloc(1 << 20)
	require.Equal(t, -1, a.placeOf(later))
	a.Free(b)
	require.Zero(t, a.Stats().RegionBytes)
	a.Free(later)
	require.Error(t, a.Close())
}

func TestRegionThatIsTooLargeIsNamed(t *testing.T) {
	_, err := New(RegionBytesMax + 1)
	require.ErrorContains(t, err, "arena of")
	_, err = New(-1)
	require.Error(t, err)
}

// TestArenaAgreesWithItsModel: what is lent never overlaps, keeps its bytes,
// and when all is back the region is whole again.
func TestArenaAgreesWithItsModel(t *testing.T) {
	const regionBytes = 3 * ExtentBytesMax
	rapid.Check(t, func(t *rapid.T) {
		a, err := New(regionBytes)
		if err != nil {
			t.Fatal(err)
		}
		type loan struct {
			b    []byte
			mark byte
		}
		var loans []loan
		give := func(i int) {
			l := loans[i]
			if !bytes.Equal(l.b[:64], bytes.Repeat([]byte{l.mark}, 64)) || l.b[len(l.b)-1] != l.mark {
				t.Fatal("lent memory was written to by somebody else")
			}
			a.Free(l.b)
			loans[i] = loans[len(loans)-1]
			loans = loans[:len(loans)-1]
		}
		for n := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(loans) > 0 && rapid.Bool().Draw(t, "free") {
				give(rapid.IntRange(0, len(loans)-1).Draw(t, "which"))
				continue
			}
			l := loan{a.Alloc(rapid.IntRange(64, ExtentBytesMax).Draw(t, "bytes")), byte(n)}
			copy(l.b, bytes.Repeat([]byte{l.mark}, 64))
			l.b[len(l.b)-1] = l.mark
			loans = append(loans, l)
			if a.Stats().LentBytes > regionBytes {
				t.Fatal("more lent than there is (I10)")
			}
		}
		for len(loans) > 0 {
			give(0)
		}
		for range 3 {
			if b := a.Alloc(ExtentBytesMax); a.placeOf(b) < 0 {
				t.Fatal("the region is not whole again")
			}
		}
	})
}

func TestLendingAllocatesNothing(t *testing.T) {
	a := open(t, 8<<20)
	require.Zero(t, testing.AllocsPerRun(1000, func() { a.Free(a.Alloc(64 << 10)) }))
	require.NoError(t, a.Close())
}

func TestClosedRegionsLeaveNoMappings(t *testing.T) {
	count := func() int {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skip("no /proc/self/maps: mappings cannot be counted")
		}
		return strings.Count(string(maps), "\n")
	}
	before := count()
	for range 100 {
		a := open(t, 8<<20)
		b := a.Alloc(1 << 20)
		b[0] = 1
		a.Free(b)
		require.NoError(t, a.Close())
	}
	require.Less(t, count(), before+50)
}
