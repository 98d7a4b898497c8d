package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// bareLink is the near end of a link without engines. An entry is a batch and a
// frame of its own, and its answer is the ack of that frame. It has one lane.
type bareLink struct {
	transport transport
	conn      link.Conn
	over      chan struct{} // closed when nothing is received any more

	sending sync.Mutex // held over a send
	header  wire.BatchHeader
	entry   wire.Entry
	batch   []byte
	head    []byte
	parts   [2][]byte

	mu      sync.Mutex
	acked   uint64
	waiters map[uint64]chan struct{}
	err     error // why nothing is received any more
}

func dialLink(ctx context.Context, c *Config, addr string) (nearEnd, error) {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	t, err := openTransport(c)
	if err != nil {
		return nil, err
	}
	conn, err := t.Dial(ctx, addr)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	l := &bareLink{
		transport: t, conn: conn, over: make(chan struct{}), waiters: make(map[uint64]chan struct{}),
		header: wire.BatchHeader{
			Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: 1,
			FirstStamp: wire.Stamp(1 << 12), LastStamp: wire.Stamp(1 << 12),
		},
		entry: wire.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("bench key")}, Payload: payload(c.SizeBytes)},
		batch: make([]byte, wire.BatchHeaderBytes),
	}
	go l.receive() // ends with the link
	return l, nil
}

func (l *bareLink) Lanes() int { return 1 }

// Put closes a batch of one entry, as the engine's writer would, and sends it.
func (l *bareLink) Put(_ context.Context, _ int) (wire.Ref, error) {
	l.sending.Lock()
	defer l.sending.Unlock()
	number := uint64(l.header.FirstSeq) + 1
	l.header.FirstSeq, l.header.Prev = wire.Seq(number), l.header.Chain
	l.batch = wire.AppendEntry(l.batch[:wire.BatchHeaderBytes], l.header.FirstStamp, l.header.FirstStamp, &l.entry)
	wire.CloseBatch(l.batch, &l.header)
	l.head = wire.AppendBatchesEnvelope(l.head[:0], &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(l.batch)), Session: 1, Number: number,
	})
	l.parts = [2][]byte{l.head, l.batch}
	return wire.Ref{Seq: wire.Seq(number)}, l.conn.Send(l.parts[:])
}

func (l *bareLink) Wait(ctx context.Context, ref wire.Ref) error {
	l.mu.Lock()
	if uint64(ref.Seq) <= l.acked || l.err != nil {
		defer l.mu.Unlock()
		if uint64(ref.Seq) <= l.acked {
			return nil
		}
		return l.err
	}
	ready := make(chan struct{})
	l.waiters[uint64(ref.Seq)] = ready
	l.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(ref.Seq) > l.acked {
		return l.err
	}
	return nil
}

// receive takes acks until the link ends.
func (l *bareLink) receive() {
	defer close(l.over)
	for {
		number, err := l.nextAck()
		l.mu.Lock()
		if err != nil {
			l.err = err
			for _, ready := range l.waiters {
				close(ready)
			}
			l.mu.Unlock()
			return
		}
		for ; l.acked < number; l.acked++ {
			if ready, ok := l.waiters[l.acked+1]; ok {
				close(ready)
				delete(l.waiters, l.acked+1)
			}
		}
		l.mu.Unlock()
	}
}

func (l *bareLink) nextAck() (uint64, error) {
	f, err := l.conn.Recv()
	if err != nil {
		return 0, err
	}
	defer f.Release()
	var ack wire.Ack
	if err := ack.Decode(f.Body()); err != nil {
		return 0, err
	}
	return ack.Number, nil
}

func (l *bareLink) carrier() carrier { return l.transport.carrier() }

func (l *bareLink) behind() (int64, bool) { return 0, false }

func (l *bareLink) close() error {
	err := l.conn.Close()
	<-l.over
	return errors.Join(err, l.transport.close())
}

// bareListener is the far end: it verifies the batches of each frame and acks it.
type bareListener struct {
	transport transport
	listener  link.Listener
	serving   sync.WaitGroup

	mu     sync.Mutex
	conns  map[link.Conn]struct{}
	closed bool
}

func listenLink(c *Config, addr string) (farEnd, error) {
	t, err := openTransport(c)
	if err != nil {
		return nil, err
	}
	listener, err := t.Listen(addr)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	b := &bareListener{transport: t, listener: listener, conns: make(map[link.Conn]struct{})}
	b.serving.Go(b.accept) // ends with the listener
	return b, nil
}

func (b *bareListener) addr() string     { return b.listener.Addr() }
func (b *bareListener) carrier() carrier { return b.transport.carrier() }

func (b *bareListener) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return // the near end sees that nobody answers
		}
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			_ = conn.Close()
			return
		}
		b.conns[conn] = struct{}{}
		b.mu.Unlock()
		b.serving.Go(func() { // ends with its link, which close closes
			_ = answerFrames(conn) // the near end has the link's end to tell
			_ = conn.Close()
			b.mu.Lock()
			delete(b.conns, conn)
			b.mu.Unlock()
		})
	}
}

func answerFrames(conn link.Conn) error {
	var (
		refs  []wire.BatchRef
		bytes []byte
		parts [1][]byte
	)
	for {
		f, err := conn.Recv()
		if err != nil {
			return err
		}
		number := f.Envelope.Number
		refs, err = wire.SplitBatches(f.Body(), int(f.Envelope.BatchCount), refs[:0])
		f.Release()
		if err != nil {
			return fmt.Errorf("frame %d: %w", number, err)
		}
		bytes = (&wire.Ack{Level: wire.LevelReceived, Number: number}).AppendTo(bytes[:0], 1)
		parts[0] = bytes
		if err := conn.Send(parts[:]); err != nil {
			return err
		}
	}
}

func (b *bareListener) close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for conn := range b.conns {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, b.transport.close())
}
