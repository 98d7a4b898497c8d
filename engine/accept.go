package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// How a connection that somebody else dialed becomes a link:
//
//	1 listener   a descriptor, and a place among few (wire/link/lobby)
//	2 listener   its first frame, 4 KiB at most
//	3 meet       LinkUp and FrameIn: the heart judges the hello
//	4 send       a refusal, then nothing is read any more
//	             or a welcome: admit, and from here on it may cost what a link costs

const (
	// acceptPause is the wait after an accept that found no descriptors left.
	acceptPause = 100 * time.Millisecond
	// judgingMax bounds the hellos of accepted links that the heart judges at once.
	judgingMax = 16
)

// accept takes links until the listener closes.
func (e *Engine) accept() {
	defer e.workers.Done()
	for {
		conn, err := e.listener.Accept()
		switch {
		case err == nil:
			if l := e.links.add(e, conn, 0); l != nil {
				l.start()
			} else {
				conn.Close()
			}
		case errors.Is(err, link.ErrClosed):
			return
		default: // No descriptors left, say: later there may be.
			e.tell(&event.Failed{What: event.KindAcceptFailed, Err: err})
			select {
			case <-time.After(acceptPause):
			case <-e.life.Done():
				return
			}
		}
	}
}

// meet tells the heart of the link. One that somebody else dialed has its first frame
// already; what is not a hello, the heart does not hear of. Few hellos are judged at once,
// so that the heart has a place for each, however many strangers come.
func (l *peerLink) meet() error {
	up := &node.LinkUp{Link: l.id, Peer: l.peer, Takeover: l.takeover}
	if _, stranger := l.conn.(link.Admitter); !stranger || l.peer != 0 {
		l.e.step(up)
		return nil
	}
	frame, err := l.conn.Recv()
	if err != nil {
		return err
	}
	defer frame.Release()
	if kind := frame.Envelope.Kind; kind != wire.FrameHello {
		return fmt.Errorf("a link begins with a frame of kind %s: %w", kind, wire.ErrProtocol)
	}
	l.e.links.judging <- struct{}{}
	defer func() { <-l.e.links.judging }()
	l.e.step(up)
	l.frameIn(frame)
	return nil
}

// admit lifts the bounds of an accepted link whose hello is answered by a welcome.
func (l *peerLink) admit(answer []byte) {
	a, ok := l.conn.(link.Admitter)
	if !ok || wire.FrameKind(answer[0]) != wire.FrameWelcome {
		return
	}
	a.Admit()
	l.e.favor(l.conn.RemoteAddr())
}

// favor keeps places at the listener for an address of a peer.
func (e *Engine) favor(addr string) {
	if f, ok := e.listener.(link.Favorer); ok {
		f.Favor(addr)
	}
}
