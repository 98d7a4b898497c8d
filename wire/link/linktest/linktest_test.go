package linktest

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

func TestMemoryConforms(t *testing.T) {
	Conformance(t, func(*testing.T) link.Transport { return NewMemory() })
}

func TestMemoryListenersHaveNamesOfTheirOwn(t *testing.T) {
	m := NewMemory()
	l, err := m.Listen("site-b")
	wantError(t, err, nil)
	if _, err := m.Listen("site-b"); err == nil {
		t.Fatal("a name was taken twice")
	}
	wantError(t, l.Close(), nil)
	_, err = m.Listen("site-b")
	wantError(t, err, nil)
	_, err = NewMemory().Dial(t.Context(), "site-b")
	wantError(t, err, link.ErrUnreachable)
}

func TestMemoryBoundsLinksThatNobodyAccepts(t *testing.T) {
	m := NewMemory()
	l := listen(t, m)
	var last link.Conn
	for range backlogMax {
		last = dial(t, m, l.Addr())
	}
	_, err := m.Dial(t.Context(), l.Addr())
	wantError(t, err, link.ErrUnreachable)
	wantError(t, l.Close(), nil)
	recvError(t, last, io.EOF)
}

// The bubble's clock stands still unless every goroutine waits durably, which
// is what makes the link fit for it.
func TestMemoryLinksWaitDurablyInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		l, err := m.Listen("")
		wantError(t, err, nil)
		c, err := m.Dial(context.Background(), l.Addr())
		wantError(t, err, nil)
		peer, err := l.Accept()
		wantError(t, err, nil)

		sent := sendAll(c, newFrame(wire.FrameBytesMax, 1)) // waits for room
		idle := make(chan error, 1)
		go func() { // ends with the link
			_, err := c.Recv()
			idle <- err
		}()
		begin := time.Now()
		<-time.After(time.Hour) // the bubble's hour, which passes at once
		synctest.Wait()
		if passed := time.Since(begin); passed != time.Hour {
			t.Fatalf("%v passed", passed)
		}
		select {
		case err := <-sent:
			t.Fatalf("4 MiB fit into the pipe: %v", err)
		default:
		}
		recvSame(t, peer, newFrame(wire.FrameBytesMax, 1))
		wantError(t, <-sent, nil)
		wantError(t, c.Close(), nil)
		wantClosed(t, <-idle)
		wantError(t, l.Close(), nil)
	})
}
