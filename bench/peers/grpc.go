package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"

	"github.com/zeebo/xxh3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

const (
	grpcBufferBytes  = 128 << 10
	grpcWindowBytes  = 8 << 20
	grpcMessageBytes = 8 << 20
	grpcMethod       = "/bench.Peers/Carry"
)

// bytesCodec passes bytes through, so that no encoding is charged to grpc.
type bytesCodec struct{}

// message is what bytesCodec carries. The side that took it frees it.
type message struct{ data mem.BufferSlice }

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) { return v.(*message).data, nil }

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	v.(*message).data = data
	return nil
}

var grpcStream = grpc.StreamDesc{StreamName: "Carry", ServerStreams: true, ClientStreams: true}

// grpcReceiver checks messages where grpc put them: no copy into one piece.
type grpcReceiver struct {
	s        *spec
	listener net.Listener
	server   *grpc.Server

	mu   sync.Mutex
	last uint64
	err  error
}

func receiveGRPC(_ context.Context, s *spec) (receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &grpcReceiver{s: s, listener: l}
	r.server = grpc.NewServer(
		grpc.ForceServerCodecV2(bytesCodec{}),
		grpc.ReadBufferSize(grpcBufferBytes), grpc.WriteBufferSize(grpcBufferBytes),
		grpc.InitialWindowSize(grpcWindowBytes), grpc.InitialConnWindowSize(grpcWindowBytes),
		grpc.MaxRecvMsgSize(grpcMessageBytes), grpc.MaxSendMsgSize(grpcMessageBytes),
	)
	carry := grpcStream
	carry.Handler = func(_ any, stream grpc.ServerStream) error {
		err := r.serve(stream)
		r.note(0, err)
		return err
	}
	r.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Peers", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{carry},
	}, r)
	go func() { r.note(0, r.server.Serve(l)) }() // Ends with close.
	return r, nil
}

func (r *grpcReceiver) addr() string { return r.listener.Addr().String() }

func (r *grpcReceiver) records() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.err
}

func (r *grpcReceiver) note(last uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, last)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) && r.err == nil {
		r.err = err
	}
}

func (r *grpcReceiver) close() error {
	r.server.Stop()
	return nil
}

// serve checks what arrives. Answers are sent by one goroutine, as many records
// at a time as have come meanwhile; a round trip needs none.
func (r *grpcReceiver) serve(stream grpc.ServerStream) error {
	checked := newWatermark()
	defer checked.fail(io.EOF)
	take := func(uint64, mem.BufferSlice) error { return nil }
	switch {
	case r.s.Log:
		log, err := newWAL(filepath.Join(r.s.Dir, "wal"), func(record uint64, err error) {
			if err == nil {
				err = grpcAnswer(stream, record)
			}
			r.note(0, err)
		})
		if err != nil {
			return err
		}
		defer log.close()
		var parts [][]byte
		take = func(last uint64, data mem.BufferSlice) error {
			parts = parts[:0]
			for _, b := range data {
				parts = append(parts, b.ReadOnlyData())
			}
			return log.append(last, parts...)
		}
	case r.s.Mode == modeTrip:
		take = func(last uint64, _ mem.BufferSlice) error { return grpcAnswer(stream, last) }
	default:
		go answerAll(stream, checked) // Ends with this call.
	}
	check := checker{recordBytes: r.s.RecordBytes}
	var m message
	for {
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		err := takeMessage(&check, m.data)
		if err == nil {
			r.note(check.last, nil)
			checked.raise(check.last)
			err = take(check.last, m.data)
		}
		m.data.Free()
		if err != nil {
			return err
		}
	}
}

func answerAll(stream grpc.ServerStream, checked *watermark) {
	for sent := uint64(0); ; {
		if checked.wait(sent+1) != nil {
			return
		}
		sent = checked.load()
		if grpcAnswer(stream, sent) != nil {
			return
		}
	}
}

func grpcAnswer(stream grpc.ServerStream, record uint64) error {
	b := make([]byte, answerBytes)
	binary.LittleEndian.PutUint64(b, record)
	return stream.SendMsg(&message{mem.BufferSlice{mem.SliceBuffer(b)}})
}

// takeMessage checks a frame that may lie in several pieces: the digest over all
// of them, the numbers of those records that begin within one.
func takeMessage(c *checker, data mem.BufferSlice) error {
	first := data[0].ReadOnlyData()
	if len(data) == 1 && len(first) >= headBytes {
		return c.take(readHead(first), first[headBytes:])
	}
	if len(first) < headBytes+8 {
		whole := data.Materialize()
		return c.take(readHead(whole), whole[headBytes:])
	}
	h := readHead(first)
	var digest xxh3.Hasher
	_, _ = digest.Write(first[headBytes:]) // never fails
	bytes := len(first) - headBytes
	at := -headBytes // of the piece, behind the head
	for i, piece := range data {
		b := piece.ReadOnlyData()
		if i > 0 {
			_, _ = digest.Write(b)
			bytes += len(b)
		}
		begin := max(at, 0)
		record := (begin + c.recordBytes - 1) / c.recordBytes
		for ; record < h.count && record*c.recordBytes+8 <= at+len(b); record++ {
			if got, want := number(b[record*c.recordBytes-at:]), h.first+uint64(record); got != want {
				return fmt.Errorf("record %d arrived, %d was due", got, want)
			}
		}
		at += len(b)
	}
	switch {
	case digest.Sum128().Bytes() != h.digest:
		return fmt.Errorf("record %d: digest does not hold", h.first)
	case h.first != c.last+1 || bytes != h.bytes || h.bytes != h.count*c.recordBytes:
		return fmt.Errorf("frame %d of %d bytes and %d records arrived, %d was due", h.first, bytes, h.count, c.last+1)
	}
	c.last += uint64(h.count)
	return nil
}

// grpcSender writes frames into grpc's own pooled buffers.
type grpcSender struct {
	s      *spec
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	pool   mem.BufferPool
	frame  *[]byte // being filled; nil = none
	used   int
	count  int
	next   uint64
	log    *wal
	marks  *answers
}

func sendGRPC(ctx context.Context, s *spec) (sender, error) {
	g := &grpcSender{s: s, pool: mem.DefaultBufferPool(), next: 1, marks: &answers{both: newWatermark()}}
	var err error
	if g.log, err = g.marks.openLog(s); err != nil {
		return nil, err
	}
	g.conn, err = grpc.NewClient("passthrough:///"+s.Addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}),
			grpc.MaxCallRecvMsgSize(grpcMessageBytes), grpc.MaxCallSendMsgSize(grpcMessageBytes)),
		grpc.WithReadBufferSize(grpcBufferBytes), grpc.WithWriteBufferSize(grpcBufferBytes),
		grpc.WithInitialWindowSize(grpcWindowBytes), grpc.WithInitialConnWindowSize(grpcWindowBytes),
	)
	if err != nil {
		return nil, err
	}
	if g.stream, err = g.conn.NewStream(ctx, &grpcStream, grpcMethod); err != nil {
		return nil, errors.Join(err, g.conn.Close())
	}
	if s.Mode != modeTrip {
		go g.listen() // Ends with the stream.
	}
	return g, nil
}

func (g *grpcSender) listen() {
	for {
		if err := g.readAnswer(); err != nil {
			g.marks.both.fail(err)
			return
		}
	}
}

func (g *grpcSender) readAnswer() error {
	var m message
	if err := g.stream.RecvMsg(&m); err != nil {
		return err
	}
	var b [answerBytes]byte
	if m.data.CopyTo(b[:]) != answerBytes {
		return fmt.Errorf("an answer of %d bytes", m.data.Len())
	}
	m.data.Free()
	g.marks.raise(binary.LittleEndian.Uint64(b[:]), 0)
	return nil
}

func (g *grpcSender) put(record []byte) error {
	if g.frame == nil {
		g.frame = g.pool.Get(headBytes + g.s.FrameBytes)
		g.used = headBytes
	}
	g.used += copy((*g.frame)[g.used:], record)
	g.count++
	if g.used+len(record) > headBytes+g.s.FrameBytes {
		return g.flush()
	}
	return nil
}

func (g *grpcSender) flush() error {
	if g.frame == nil {
		return nil
	}
	*g.frame = (*g.frame)[:g.used]
	putHead(*g.frame, g.count, g.next, (*g.frame)[headBytes:])
	g.next += uint64(g.count)
	g.count = 0
	if g.log != nil {
		if err := g.log.append(g.next-1, *g.frame); err != nil {
			return err
		}
	}
	frame := g.frame
	g.frame = nil
	return g.stream.SendMsg(&message{mem.BufferSlice{mem.NewBuffer(frame, g.pool)}})
}

func (g *grpcSender) answered() *watermark { return g.marks.both }

func (g *grpcSender) drain(sent uint64) error {
	if err := g.flush(); err != nil {
		return err
	}
	return g.marks.both.wait(sent)
}

func (g *grpcSender) trip(record []byte) error {
	if err := g.put(record); err != nil {
		return err
	}
	if err := g.flush(); err != nil {
		return err
	}
	if err := g.readAnswer(); err != nil {
		return err
	}
	return g.marks.both.wait(g.next - 1)
}

func (g *grpcSender) close() error {
	err := errors.Join(g.stream.CloseSend(), g.conn.Close())
	if g.log != nil {
		err = errors.Join(err, g.log.close())
	}
	return err
}
