package rdma_test

import (
	"fmt"
	"testing"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
)

// What the link itself costs per frame, over verbs that cost a lock and a copy.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{256, 64 << 10, 1 << 20} {
		for _, lent := range []bool{false, true} {
			b.Run(fmt.Sprintf("bytes=%d/lent=%v", size, lent), func(b *testing.B) {
				memory, err := rdma.MapMemory(max(size, 4096))
				if err != nil {
					b.Fatal(err)
				}
				defer rdma.UnmapMemory(memory)
				fillFrame(memory[:size], 1)
				t, err := rdma.New(rdma.Options{Verbs: fakeverbs.New(fakeverbs.Options{}), Regions: [][]byte{memory}})
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
				benchmarkStream(b, t, memory[:size], lent)
			})
		}
	}
}

func benchmarkStream(b *testing.B, t *rdma.Transport, frame []byte, lent bool) {
	l, err := t.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	dialed, err := t.Dial(b.Context(), l.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer dialed.Close()
	accepted, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	done := ended(accepted)
	parts, release := [][]byte{frame}, func() {}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if lent {
			err = dialed.(*rdma.Conn).SendLent(parts, release)
		} else {
			err = dialed.Send(parts)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	_ = accepted.Close()
	<-done
}
