package fsnode

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// Bounds of a stream of operations.
const (
	streamCountMax = 16
	groupCountMax  = 256
	groupBytesMax  = 2 << 20
	groupsUnderWay = 64
	bufferBytes    = 256 << 10

	silenceMax = 2 * time.Minute // of a client that sends
	writeMax   = time.Minute     // for a client to take results
	drainMax   = 2 * time.Second // for a client to stop sending after an end
	drainBytes = 64 << 20
)

// group is what the writing half of a stream waits for and tells.
type group struct {
	results []namespace.Result
	receipt namespace.Receipt
	end     bool
	err     error // of an end; nil = orderly
}

// stream is one POST ops: a reading half that validates and appends, and a
// writing half that waits and tells, in the same order.
type stream struct {
	n      *Node
	in     *bufio.Reader
	out    http.ResponseWriter
	rc     *http.ResponseController
	groups chan group

	room  []byte // of the operations of the current group
	taken int
	ops   []namespace.Operation
	next  namespace.Operation // read, but of the next group
	held  bool
}

func (n *Node) serveOps(w http.ResponseWriter, r *http.Request) {
	// First of all: otherwise even a refusal would wait for the end of the body.
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil {
		writeError(w, http.StatusHTTPVersionNotSupported, fsapi.Error{Text: err.Error(), Next: "use HTTP/1.1"})
		return
	}
	// A stream has its connection to itself, refused or not: net/http may still be
	// reading behind the body when it turns to a next request, and panics then.
	w.Header().Set("Connection", "close")
	select {
	case n.streams <- struct{}{}:
		defer func() { <-n.streams }()
	default:
		writeError(w, http.StatusServiceUnavailable, fsapi.Error{
			Text: "16 streams of operations are open", Next: "try again when one of them has ended",
		})
		return
	}
	s := &stream{
		n: n, in: bufio.NewReaderSize(r.Body, bufferBytes), out: w, rc: rc,
		groups: make(chan group, groupsUnderWay), room: make([]byte, groupBytesMax+fsapi.FrameBytesMax),
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	if err := s.rc.Flush(); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { // Ends when the reading half closes groups, or the client is gone.
		defer close(done)
		if err := s.write(ctx); err != nil {
			cancel()
			s.rc.SetReadDeadline(time.Now()) // Wakes a reading half that waits for the client.
		}
	}()
	err := s.read(ctx)
	select {
	case s.groups <- group{end: true, err: err}:
	case <-ctx.Done():
	}
	close(s.groups)
	<-done
	if err != nil && ctx.Err() == nil {
		// Closing on a client that still sends would reset the connection, and
		// the end could be lost on its way.
		s.rc.SetReadDeadline(time.Now().Add(drainMax))
		io.Copy(io.Discard, io.LimitReader(r.Body, drainBytes))
	}
}

// read groups, validates and appends until the client's orderly end.
func (s *stream) read(ctx context.Context) error {
	for {
		last, err := s.collect()
		if len(s.ops) > 0 {
			g := group{results: make([]namespace.Result, len(s.ops))}
			shard := namespace.ShardOf(s.ops[0].Path, s.n.store.Shards())
			if err := s.n.ready.wait(ctx, s.n.engine, shard); err != nil {
				return err
			}
			n, receipt, submitErr := s.n.store.Submit(ctx, engineLog{s.n.engine}, s.ops, g.results)
			g.results, g.receipt = g.results[:n], receipt
			select {
			case s.groups <- g:
			case <-ctx.Done():
				return ctx.Err()
			}
			if submitErr != nil {
				return submitErr
			}
		}
		if err != nil || last {
			return err
		}
	}
}

// collect reads the operations of the next group: of one shard, as long as more
// is there without waiting. last tells the client's orderly end.
func (s *stream) collect() (last bool, err error) {
	s.ops, s.taken = s.ops[:0], 0
	if s.held {
		s.held = false
		s.taken = copy(s.room, s.next.Data)
		s.next.Data = s.room[:s.taken:s.taken]
		s.ops = append(s.ops, s.next)
	} else if err := s.rc.SetReadDeadline(time.Now().Add(silenceMax)); err != nil {
		return false, err
	}
	for len(s.ops) < groupCountMax && s.taken < groupBytesMax {
		if len(s.ops) > 0 && s.in.Buffered() == 0 {
			return false, nil
		}
		var op namespace.Operation
		n, err := fsapi.ReadOperation(s.in, s.room[s.taken:], &op)
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		s.taken += n
		shards := s.n.store.Shards()
		if len(s.ops) > 0 && namespace.ShardOf(op.Path, shards) != namespace.ShardOf(s.ops[0].Path, shards) {
			s.next, s.held = op, true
			return false, nil
		}
		s.ops = append(s.ops, op)
	}
	return false, nil
}

// write waits for each group and tells its results. It returns an error when
// the client can no longer be answered.
func (s *stream) write(ctx context.Context) error {
	var buffer []byte
	for g := range s.groups {
		waitErr := g.receipt.Wait(ctx)
		if waitErr != nil {
			g = group{end: true, err: waitErr}
		}
		for i := range g.results {
			r := resultOf(&g.results[i])
			buffer = fsapi.AppendResult(buffer, &r)
		}
		if g.end {
			r := endOf(g.err)
			buffer = fsapi.AppendResult(buffer, &r)
		}
		if len(buffer) < bufferBytes && len(s.groups) > 0 && !g.end {
			continue
		}
		err := errors.Join(s.rc.SetWriteDeadline(time.Now().Add(writeMax)), s.send(buffer))
		if err = errors.Join(err, waitErr); err != nil {
			return err
		}
		buffer = buffer[:0]
	}
	return nil
}

func (s *stream) send(b []byte) error {
	if _, err := s.out.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

func resultOf(r *namespace.Result) fsapi.Result {
	out := fsapi.Result{Ref: r.Ref, Repeated: r.Repeated, Errno: namespace.Errno(r.Err)}
	if r.Err != nil {
		out.Text = r.Err.Error()
	}
	return out
}

// endOf sorts why a stream ends by what the client can do about it.
func endOf(err error) fsapi.Result {
	r := fsapi.Result{End: true, Code: fsapi.CodeRetry}
	if err == nil {
		r.Code = fsapi.CodeDone
		return r
	}
	r.Text = err.Error()
	for _, final := range []error{
		engine.ErrStandby, engine.ErrStopped, engine.ErrOptions, wire.ErrLimit, wire.ErrProtocol, fsapi.ErrFrame,
		namespace.ErrDamaged,
	} {
		if errors.Is(err, final) {
			r.Code = fsapi.CodeFinal
		}
	}
	if errors.Is(err, engine.ErrStandby) {
		r.Errno = fsapi.Elsewhere
	}
	return r
}
