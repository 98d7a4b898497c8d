package rdma_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire/link"
)

// I4, I9: whatever the sizes, the parts, who lends, who holds and for how long, both
// ways at once, every frame arrives once, in order and unchanged, and no receive was
// ever missing.
func TestFramesOfAnySizeArriveInOrder(t *testing.T) {
	for seed, fake := range []fakeverbs.Options{
		{}, {NoImmediate: true}, {PartsMax: 2}, {InlineMax: -1},
	} {
		memory, o := lending(t, 4<<20)
		for i := range memory {
			memory[i] = byte(i * 7)
		}
		o.RingBytes, o.Queue, o.StageBytes = 4<<20, 48, 64<<10
		r := open(t, fake, o)
		dialed, accepted := r.pair(t)
		var workers sync.WaitGroup
		for i, ends := range [][2]*rdma.Conn{{dialed, accepted}, {accepted, dialed}} {
			at := uint64(2*seed + i)
			workers.Go(func() { soakSend(t, ends[0], memory, at) })
			workers.Go(func() { soakReceive(t, ends[1], memory, at) })
		}
		workers.Wait()
		require.Zero(t, r.fabric.Counts().RNRs)
	}
}

const soakFrames = 400

// soakFrame is the nth frame's envelope, and where its body lies in memory. Both
// ends know it from the seed alone.
func soakFrame(random *rand.Rand, memory []byte, n int) (envelope, body []byte) {
	size := 200 + random.IntN(3000)
	switch random.IntN(10) {
	case 0:
		size = 1 << (10 + random.IntN(11))
	case 1:
		size = 16<<10 + random.IntN(300<<10)
	}
	from := random.IntN(len(memory) - size)
	frame := make([]byte, size)
	fillFrame(frame, uint64(n+1))
	return frame[:32], memory[from : from+size-32]
}

func soakSend(t *testing.T, c *rdma.Conn, memory []byte, seed uint64) {
	random, choice := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	for n := range soakFrames {
		envelope, body := soakFrame(random, memory, n)
		parts := [][]byte{envelope}
		for len(body) > 0 {
			cut := min(len(body), 1+choice.IntN(64<<10))
			parts = append(parts, body[:cut])
			body = body[cut:]
		}
		var err error
		if choice.IntN(2) == 0 {
			err = c.Send(parts)
		} else {
			err = c.SendLent(parts, func() {})
		}
		if err != nil {
			t.Errorf("frame %d: %v", n, err)
			return
		}
	}
}

func soakReceive(t *testing.T, c *rdma.Conn, memory []byte, seed uint64) {
	random, choice := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 3))
	type heldFrame struct {
		frame *link.Frame
		body  []byte
		n, at int // frames and bytes received before it
	}
	var held []heldFrame
	received := 0
	for n := range soakFrames {
		f, err := c.Recv()
		if err != nil {
			t.Errorf("frame %d: %v", n, err)
			return
		}
		envelope, body := soakFrame(random, memory, n)
		if !bytes.Equal(f.Bytes[:32], envelope) {
			t.Errorf("frame %d is another one", n)
		}
		held = append(held, heldFrame{f, body, n, received})
		received += len(f.Bytes)
		// The oldest holds up the ring and its 32 messages, so it may not stay behind.
		for len(held) > 0 {
			i := 0
			if received-held[0].at <= 1<<20 && n-held[0].n < 16 {
				i = choice.IntN(len(held))
				if choice.IntN(3) > 0 {
					break
				}
			}
			h := held[i]
			if !bytes.Equal(h.frame.Bytes[32:], h.body) {
				t.Errorf("before frame %d: a frame changed while it was held", n)
			}
			h.frame.Release()
			held = append(held[:i], held[i+1:]...)
		}
	}
	for _, h := range held {
		h.frame.Release()
	}
}
