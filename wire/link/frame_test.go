package link

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/claudefs/repl/wire"
)

func mustPanic(t *testing.T, what string, call func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatalf("%s did not panic", what)
		}
	}()
	call()
}

func TestOneReleaseTooManyPanics(t *testing.T) {
	f := new(Pool).Take(100)
	f.Retain()
	f.Release()
	f.Release()
	mustPanic(t, "a double release", f.Release)
}

func TestRetainingAReleasedFramePanics(t *testing.T) {
	f := new(Pool).Take(100)
	f.Release()
	mustPanic(t, "a late retain", f.Retain)
}

func TestSizesThatNoFrameHasPanic(t *testing.T) {
	var p Pool
	for _, size := range []int{-1, 0, wire.FrameBytesMax + 1} {
		mustPanic(t, "taking a size that no frame has", func() { p.Take(size) })
	}
}

func TestFramePinsLessThanTwiceItsBytes(t *testing.T) {
	var p Pool
	sizes := []int{1, 511, 512, 513, 1024, 1025, 65_000, 1<<20 + 1, wire.FrameBytesMax - 1, wire.FrameBytesMax}
	for _, size := range sizes {
		f := p.Take(size)
		if len(f.Bytes) != size || cap(f.Bytes) != size {
			t.Fatalf("asked for %d bytes, got %d of %d", size, len(f.Bytes), cap(f.Bytes))
		}
		if held, _ := p.Memory(); held != max(512, len(f.memory)) || held >= max(513, 2*size) {
			t.Fatalf("a frame of %d bytes pins %d", size, held)
		}
		f.Release()
	}
}

func TestLastReleaseGivesTheMemoryBack(t *testing.T) {
	var p Pool
	f := p.Take(5000)
	first := &f.Bytes[0]
	f.Retain()
	f.Release()
	if g := p.Take(5000); &g.Bytes[0] == first {
		t.Fatal("memory in use was lent again")
	}
	f.Release()
	if g := p.Take(8192); &g.Bytes[0] != first {
		t.Fatal("released memory was not lent again")
	}
}

// I10: what a pool keeps is bounded, whatever was held before.
func TestPoolKeepsAtMostItsBound(t *testing.T) {
	p := Pool{IdleBytesMax: 1 << 20}
	var held []*Frame
	for range 100 {
		held = append(held, p.Take(60_000))
	}
	for _, f := range held {
		f.Release()
	}
	if held, idle := p.Memory(); held != 0 || idle != 1<<20 {
		t.Fatalf("held %d, idle %d", held, idle)
	}
}

func TestNewMixOfSizesPushesOutTheOldOne(t *testing.T) {
	p := Pool{IdleBytesMax: 1 << 20}
	var held []*Frame
	for range 2048 {
		held = append(held, p.Take(512))
	}
	for _, f := range held {
		f.Release()
	}
	p.Take(400_000).Release()
	if n := testing.AllocsPerRun(100, func() { p.Take(400_000).Release() }); n != 0 {
		t.Fatalf("%v allocations per frame of the new size", n)
	}
	if _, idle := p.Memory(); idle > 1<<20 {
		t.Fatalf("%d bytes idle", idle)
	}
}

func TestManyGoroutinesShareAPool(t *testing.T) {
	p := Pool{IdleBytesMax: 100_000}
	var workers sync.WaitGroup
	for seed := range uint64(4) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 2000 {
				f := p.Take(1 + random.IntN(20_000))
				f.Bytes[0] = byte(seed)
				f.Retain()
				done := make(chan struct{})
				go func() { f.Release(); close(done) }()
				if f.Bytes[0] != byte(seed) {
					t.Error("memory was lent twice")
				}
				f.Release()
				<-done
			}
		})
	}
	workers.Wait()
	if held, idle := p.Memory(); held != 0 || idle > 100_000 {
		t.Fatalf("held %d, idle %d", held, idle)
	}
}

// ledger is a Memory that knows what it lent.
type ledger struct{ lent map[*byte]bool }

func (l *ledger) Alloc(size int) []byte {
	b := make([]byte, size)
	l.lent[&b[0]] = true
	return b
}

func (l *ledger) Free(b []byte) {
	if !l.lent[&b[0]] {
		panic("not lent")
	}
	delete(l.lent, &b[0])
}

func TestDrainedPoolHasGivenEverythingBack(t *testing.T) {
	l := &ledger{lent: map[*byte]bool{}}
	p := &Pool{Source: l, IdleBytesMax: 1 << 20}
	var frames []*Frame
	for i := range 100 {
		frames = append(frames, p.Take(1+i*1000))
	}
	held := frames[0]
	for _, f := range frames[1:] {
		f.Release()
	}
	p.Drain()
	if len(l.lent) != 1 {
		t.Fatalf("%d pieces are lent, one frame is held", len(l.lent))
	}
	held.Release()
	if len(l.lent) != 0 {
		t.Fatal("what is released after Drain is kept")
	}
}

func TestLentFrameGoesBackAtLastRelease(t *testing.T) {
	ring, releases := make([]byte, 100), 0
	f := NewFrame(func() { releases++ })
	for round := 1; round <= 2; round++ {
		f.Lend(ring)
		mustPanic(t, "lending what is held", func() { f.Lend(ring) })
		f.Retain()
		f.Release()
		if releases != round-1 || !f.Scarce() || f.MemoryBytes() != len(ring) {
			t.Fatalf("round %d: %d releases, %d bytes", round, releases, f.MemoryBytes())
		}
		f.Release()
		if releases != round || f.Bytes != nil {
			t.Fatalf("round %d: %d releases", round, releases)
		}
	}
	mustPanic(t, "a double release", f.Release)
	mustPanic(t, "lending a pool's frame", func() { new(Pool).Take(1).Lend(ring) })
}
