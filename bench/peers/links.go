package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// linkKind is a link of this module that the round trips measure. A transport
// that comes to the module comes here with one line; spin says whether it polls
// before it sleeps.
type linkKind struct {
	name string
	spin bool
	open func() (link.Transport, error)
}

func linkKinds() []linkKind {
	return []linkKind{
		{"link-tcp", false, func() (link.Transport, error) { return tcp.New(tcp.Options{Congestion: congestion}) }},
	}
}

// linkOf is the first kind that polls, or does not; the fastest stand first.
func linkOf(spin bool) (name string, ok bool) {
	for _, k := range linkKinds() {
		if k.spin == spin {
			return k.name, true
		}
	}
	return "", false
}

func linkContenders() (all []contender) {
	for _, k := range linkKinds() {
		all = append(all, contender{
			name: k.name, about: "a link of ours by itself: a batch there, an ack back", sockets: 1,
			receive: func(_ context.Context, s *spec) (receiver, error) { return receiveLink(k, s) },
			send:    func(ctx context.Context, s *spec) (sender, error) { return sendLink(ctx, k, s) },
		})
	}
	return all
}

// linkReceiver verifies each batch and acks each frame.
type linkReceiver struct {
	listener link.Listener
	over     chan struct{}

	mu   sync.Mutex
	conn link.Conn
	last uint64
	err  error
}

func receiveLink(k linkKind, s *spec) (receiver, error) {
	transport, err := k.open()
	if err != nil {
		return nil, err
	}
	l, err := transport.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &linkReceiver{listener: l, over: make(chan struct{})}
	go r.run(s) // Ends with its one connection, or with close.
	return r, nil
}

func (r *linkReceiver) addr() string { return r.listener.Addr() }

func (r *linkReceiver) records() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.err
}

func (r *linkReceiver) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	if r.conn != nil {
		r.conn.Close()
	}
	r.mu.Unlock()
	<-r.over
	return err
}

func (r *linkReceiver) run(s *spec) {
	defer close(r.over)
	conn, err := r.listener.Accept()
	if err == nil {
		r.mu.Lock()
		r.conn = conn
		r.mu.Unlock()
		defer conn.Close()
		err = r.serve(s, conn)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, link.ErrLost) && err.Error() != "EOF" {
		r.err = err
	}
}

func (r *linkReceiver) serve(s *spec, conn link.Conn) error {
	var refs []wire.BatchRef
	var entries wire.EntryReader
	var e wire.Entry
	out := make([]byte, 0, 128)
	parts := make([][]byte, 1)
	check := checker{recordBytes: s.RecordBytes}
	for {
		f, err := conn.Recv()
		if err != nil {
			return err
		}
		envelope := f.Envelope
		refs, err = wire.SplitBatches(f.Body(), int(envelope.BatchCount), refs[:0])
		if err != nil {
			return err
		}
		for i := range refs {
			entries.Reset(&refs[i].Header, refs[i].Body())
			for entries.Next(&e) {
				check.last++
				if number(e.Payload) != check.last {
					return fmt.Errorf("record %d arrived, %d was due", number(e.Payload), check.last)
				}
			}
			if err := entries.Err(); err != nil {
				return err
			}
		}
		f.Release()
		r.mu.Lock()
		r.last = check.last
		r.mu.Unlock()
		out = (&wire.Ack{Level: wire.LevelReceived, Number: envelope.Number}).AppendTo(out[:0], envelope.Session)
		parts[0] = out
		if err := conn.Send(parts); err != nil {
			return err
		}
	}
}

// linkSender closes a batch of one entry per record, as the writer would.
type linkSender struct {
	conn   link.Conn
	header wire.BatchHeader
	entry  wire.Entry
	batch  []byte
	head   []byte
	parts  [2][]byte
	number uint64
	marks  *watermark
}

func sendLink(ctx context.Context, k linkKind, s *spec) (sender, error) {
	if s.Mode != modeTrip {
		return nil, fmt.Errorf("%s: links alone do round trips only", k.name)
	}
	transport, err := k.open()
	if err != nil {
		return nil, err
	}
	conn, err := transport.Dial(ctx, s.Addr)
	if err != nil {
		return nil, err
	}
	return &linkSender{
		conn: conn, marks: newWatermark(),
		header: wire.BatchHeader{
			Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: 1,
			FirstStamp: 1 << 12, LastStamp: 1 << 12,
		},
		entry: wire.Entry{Op: 1, Keys: [][]byte{[]byte("the key")}},
	}, nil
}

func (n *linkSender) trip(record []byte) error {
	n.number++
	n.entry.Payload = record
	n.header.FirstSeq, n.header.Prev = wire.Seq(n.number), n.header.Chain
	n.batch = append(n.batch[:0], make([]byte, wire.BatchHeaderBytes)...)
	n.batch = wire.AppendEntry(n.batch, n.header.FirstStamp, n.header.FirstStamp, &n.entry)
	wire.CloseBatch(n.batch, &n.header)
	n.head = wire.AppendBatchesEnvelope(n.head[:0], &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(n.batch)), Session: 1, Number: n.number,
	})
	n.parts = [2][]byte{n.head, n.batch}
	if err := n.conn.Send(n.parts[:]); err != nil {
		return err
	}
	f, err := n.conn.Recv()
	if err != nil {
		return err
	}
	defer f.Release()
	var ack wire.Ack
	if err := ack.Decode(f.Body()); err != nil {
		return err
	}
	if ack.Number != n.number {
		return fmt.Errorf("ack of frame %d, %d was due", ack.Number, n.number)
	}
	return nil
}

func (n *linkSender) put([]byte) error     { return errors.New("round trips only") }
func (n *linkSender) flush() error         { return nil }
func (n *linkSender) drain(uint64) error   { return nil }
func (n *linkSender) answered() *watermark { return n.marks }
func (n *linkSender) close() error         { return n.conn.Close() }
