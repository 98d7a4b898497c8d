package linktest

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// badEnvelope sends nothing but the envelope. Whoever waits for the rest, or
// takes memory for it, is found out.
func badEnvelope(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	for _, c := range []struct {
		name  string
		spoil func(envelope []byte)
		want  error
	}{
		{"newer version", func(b []byte) { b[1] = wire.Version + 1 }, wire.ErrVersion},
		{"unknown kind", func(b []byte) { b[0] = 200 }, wire.ErrProtocol},
		{"one byte over the largest frame", func(b []byte) {
			binary.LittleEndian.PutUint32(b[8:], wire.FrameBytesMax-wire.EnvelopeBytes+1)
			binary.LittleEndian.PutUint32(b[12:], wire.FrameBytesMax-wire.EnvelopeBytes+1)
		}, wire.ErrProtocol},
		{"4 GiB", func(b []byte) { binary.LittleEndian.PutUint32(b[8:], 1<<32-1) }, wire.ErrProtocol},
		{"unknown codec", func(b []byte) { b[4] = 99 }, wire.ErrProtocol},
	} {
		dialed, accepted := pairAt(t, tr, l)
		envelope := newFrame(wire.FrameBytesMax, 1)[:wire.EnvelopeBytes]
		c.spoil(envelope)
		send(t, dialed, envelope)

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := accepted.Recv()
		runtime.ReadMemStats(&after)
		t.Logf("%s: %v", c.name, err)
		wantError(t, err, c.want)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
			t.Fatalf("%s: %d bytes were taken before the refusal", c.name, taken)
		}
		recvError(t, accepted, c.want)
		// The link can still say why it ends.
		send(t, accepted, newFrame(tinyBytes, 1))
		recvSame(t, dialed, newFrame(tinyBytes, 1))
	}
}

// badChecksum flips each bit of an envelope's fields that are free to hold any
// value, and of the checksum itself.
func badChecksum(t *testing.T, tr link.Transport) {
	l := listen(t, tr)
	for offset := 16; offset < wire.EnvelopeBytes; offset++ {
		dialed, accepted := pairAt(t, tr, l)
		frame := newFrame(tinyBytes, 1)
		frame[offset] ^= 1 << (offset % 8)
		send(t, dialed, frame)
		recvError(t, accepted, wire.ErrCorrupt)
	}
}

func noLeaks(t *testing.T, tr link.Transport) {
	frame := newFrame(tinyBytes, 1)
	links := func(count int) {
		l := listen(t, tr)
		for range count {
			dialed := dial(t, tr, l.Addr())
			accepted, err := l.Accept()
			if err != nil {
				t.Fatalf("accept: %v", err)
			}
			send(t, dialed, frame)
			recvSame(t, accepted, frame)
			_ = dialed.Close()
			_ = accepted.Close()
		}
		_ = l.Close()
	}
	links(1) // what a transport keeps for the next link comes with the first
	goroutines := runtime.NumGoroutine()
	open, told := descriptors()
	for range linkCount(t) / 50 { // patience is for one listener, and a device may take its time
		links(50)
	}
	eventually(t, "goroutines at the baseline", func() bool { return runtime.NumGoroutine() <= goroutines })
	if !told {
		t.Log("descriptors were not counted: no /proc/self/fd")
		return
	}
	eventually(t, "descriptors at the baseline", func() bool { n, _ := descriptors(); return n <= open })
}

// linkCount is a thousand, or what CLAUDEFS_LINKS asks for.
func linkCount(t *testing.T) int {
	text := os.Getenv("CLAUDEFS_LINKS")
	if text == "" {
		return 1000
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1000 {
		t.Fatalf("CLAUDEFS_LINKS is %q: a number from 1000 on", text)
	}
	return count
}

func framesHold(t *testing.T, tr link.Transport) {
	dialed, accepted := pair(t, tr)
	const count, size = 16, 20_000 // of so many bytes each frame has memory of its own
	memory := make(map[*byte]bool)
	scarce := false // frames that lie where they landed do not take memory in turn
	for round := range uint64(3) {
		var held []*link.Frame
		for i := range uint64(count) {
			send(t, dialed, newFrame(size, round*count+i+1))
			held = append(held, recv(t, accepted))
		}
		for i, f := range held {
			if !bytes.Equal(f.Bytes, newFrame(size, round*count+uint64(i)+1)) {
				t.Fatalf("frame %d changed while it was held", i)
			}
			if round > 0 && !f.Scarce() && !memory[&f.Bytes[0]] {
				t.Fatalf("round %d took new memory while released memory was there", round)
			}
			memory[&f.Bytes[0]], scarce = true, f.Scarce()
			f.Retain()
			f.Release()
			if f.Bytes == nil {
				t.Fatal("memory was given back before the last release")
			}
			f.Release()
		}
	}
	if !scarce && len(memory) != count {
		t.Fatalf("%d frames at a time used %d pieces of memory", count, len(memory))
	}
}

func receiveAllocations(t *testing.T, tr link.Transport) {
	for _, size := range []int{tinyBytes, 16 << 10, 64 << 10, 1 << 20} {
		dialed, accepted := pair(t, tr)
		frame := newFrame(size, 1)
		parts := [][]byte{frame[:wire.EnvelopeBytes], frame[wire.EnvelopeBytes:]}
		next := make(chan struct{})
		stopped := make(chan error, 1)
		go func() { // ends when next is closed, or with the link
			for range next {
				if err := dialed.Send(parts); err != nil {
					stopped <- err
					return
				}
			}
			stopped <- nil
		}()
		once := func() {
			next <- struct{}{}
			f, err := accepted.Recv()
			if err != nil {
				t.Fatalf("recv: %v", err)
			}
			f.Release()
		}
		if n := testing.AllocsPerRun(200, once); n != 0 {
			t.Errorf("%v allocations per frame of %d bytes, sent and received", n, size)
		}
		close(next)
		wantError(t, wait(t, stopped), nil)
	}
}
