package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// linkKind is a link of this module that is measured by itself. A transport that
// comes to the module comes here with one line, the fastest first.
type linkKind struct {
	name string
	spin bool // it polls before it sleeps
	open func() (opened, error)
}

// opened is a transport and what to close and count with it.
type opened struct {
	link.Transport
	ring  func() ringCount
	close func() error
}

func linkKinds() []linkKind {
	return append(ringKinds(), linkKind{"link-tcp", false, openTCP})
}

func openTCP() (opened, error) {
	t, err := tcp.New(tcp.Options{Congestion: congestion})
	return opened{t, func() ringCount { return ringCount{} }, func() error { return nil }}, err
}

// linkOf is the first kind that polls, or does not.
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
	transport opened
	listener  link.Listener
	over      chan struct{}

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
	r := &linkReceiver{transport: transport, listener: l, over: make(chan struct{})}
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
	return errors.Join(err, r.transport.close())
}

func (r *linkReceiver) ring() ringCount { return r.transport.ring() }

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
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, link.ErrLost) && !errors.Is(err, io.EOF) {
		r.err = err
	}
}

// serve checks frames. Acks of a stream are sent by a goroutine of their own, for
// as many frames as have come meanwhile; a round trip needs none.
func (r *linkReceiver) serve(s *spec, conn link.Conn) error {
	var refs []wire.BatchRef
	var entries wire.EntryReader
	var e wire.Entry
	checked := newWatermark()
	defer checked.fail(io.EOF)
	if s.Mode != modeTrip {
		go ackAll(conn, checked) // Ends with this call.
	}
	ack := newAcker(conn)
	check := checker{recordBytes: s.RecordBytes}
	for {
		f, err := conn.Recv()
		if err != nil {
			return err
		}
		frame := f.Envelope.Number
		refs, err = wire.SplitBatches(f.Body(), int(f.Envelope.BatchCount), refs[:0])
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
		if s.Mode == modeTrip {
			err = ack.send(frame)
		} else {
			checked.raise(frame)
		}
		if err != nil {
			return err
		}
	}
}

func ackAll(conn link.Conn, checked *watermark) {
	ack := newAcker(conn)
	for sent := uint64(0); ; {
		if checked.wait(sent+1) != nil {
			return
		}
		sent = checked.load()
		if ack.send(sent) != nil {
			return
		}
	}
}

// acker sends acks out of one buffer.
type acker struct {
	conn  link.Conn
	bytes []byte
	parts [1][]byte
}

func newAcker(conn link.Conn) *acker { return &acker{conn: conn} }

func (a *acker) send(frame uint64) error {
	a.bytes = (&wire.Ack{Level: wire.LevelReceived, Number: frame}).AppendTo(a.bytes[:0], 1)
	a.parts[0] = a.bytes
	return a.conn.Send(a.parts[:])
}

// linkSender closes a batch of one entry per record, as the writer would, and
// sends it as one frame.
type linkSender struct {
	transport opened
	conn      link.Conn
	header    wire.BatchHeader
	entry     wire.Entry
	batch     []byte
	head      []byte
	parts     [2][]byte
	number    uint64
	marks     *watermark
}

func sendLink(ctx context.Context, k linkKind, s *spec) (sender, error) {
	transport, err := k.open()
	if err != nil {
		return nil, err
	}
	conn, err := transport.Dial(ctx, s.Addr)
	if err != nil {
		return nil, err
	}
	n := &linkSender{
		transport: transport, conn: conn, marks: newWatermark(),
		header: wire.BatchHeader{
			Kind: wire.BatchData, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: 1,
			FirstStamp: 1 << 12, LastStamp: 1 << 12,
		},
		entry: wire.Entry{Op: 1, Keys: [][]byte{[]byte("the key")}},
		batch: make([]byte, wire.BatchHeaderBytes),
	}
	if s.Mode != modeTrip {
		go n.listen() // Ends with the link.
	}
	return n, nil
}

func (n *linkSender) listen() {
	for {
		if err := n.readAck(); err != nil {
			n.marks.fail(err)
			return
		}
	}
}

func (n *linkSender) readAck() error {
	f, err := n.conn.Recv()
	if err != nil {
		return err
	}
	defer f.Release()
	var ack wire.Ack
	if err := ack.Decode(f.Body()); err != nil {
		return err
	}
	n.marks.raise(ack.Number)
	return nil
}

func (n *linkSender) put(record []byte) error {
	n.number++
	n.entry.Payload = record
	n.header.FirstSeq, n.header.Prev = wire.Seq(n.number), n.header.Chain
	n.batch = wire.AppendEntry(n.batch[:wire.BatchHeaderBytes], n.header.FirstStamp, n.header.FirstStamp, &n.entry)
	wire.CloseBatch(n.batch, &n.header)
	n.head = wire.AppendBatchesEnvelope(n.head[:0], &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, WireBytes: uint32(len(n.batch)), Session: 1, Number: n.number,
	})
	n.parts = [2][]byte{n.head, n.batch}
	return n.conn.Send(n.parts[:])
}

func (n *linkSender) trip(record []byte) error {
	if err := n.put(record); err != nil {
		return err
	}
	if err := n.readAck(); err != nil {
		return err
	}
	return n.marks.wait(n.number)
}

func (n *linkSender) flush() error            { return nil }
func (n *linkSender) drain(sent uint64) error { return n.marks.wait(sent) }
func (n *linkSender) answered() *watermark    { return n.marks }
func (n *linkSender) ring() ringCount         { return n.transport.ring() }
func (n *linkSender) close() error            { return errors.Join(n.conn.Close(), n.transport.close()) }
