package fsclient

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
)

const (
	windowBytesMax = 8 << 20
	backoffMin     = 50 * time.Millisecond
	backoffMax     = 2 * time.Second
)

// sent is an operation without a result yet.
type sent struct {
	frame []byte
	op    namespace.Operation // without Data
	tries int                 // on how many connections
}

// lane carries operations to a node in one order, over as many connections, one
// after another, as it takes. Emit and Drain are for one goroutine.
type lane struct {
	c       *Client
	retry   bool        // outlive lost connections until ctx ends, not only for Client.RetryFor
	onRetry func(error) // a connection was lost
	// answer is called by the lane's goroutine, in order; resent: the operation was on a
	// connection before the one that answers.
	answer func(op *namespace.Operation, r fsapi.Result, resent bool)

	mu     sync.Mutex
	moved  sync.Cond // window, closed or err changed
	window []sent    // in order; the oldest first
	bytes  int       // of the window's frames
	next   int       // window[next:] are not on the current connection
	closed bool      // no more Emit
	total  uint64    // results so far
	err    error     // why the lane ended
	done   chan struct{}
}

// newLane starts a lane, which ends with Close or ctx.
func newLane(ctx context.Context, l *lane) *lane {
	l.moved.L = &l.mu
	l.done = make(chan struct{})
	stop := context.AfterFunc(ctx, func() { l.fail(ctx.Err()) })
	go func() { // Ends after Close, with ctx, or with a final error.
		defer close(l.done)
		defer stop()
		l.run(ctx)
	}()
	return l
}

func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.moved.Broadcast()
}

// Emit queues op, waiting while the window is full. Its data is copied.
func (l *lane) Emit(op *namespace.Operation) error {
	frame, err := fsapi.AppendOperation(nil, op)
	if err != nil {
		return err
	}
	kept := *op
	kept.Data = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.window) > 0 && l.bytes+len(frame) > windowBytesMax {
		l.moved.Wait()
	}
	if l.err != nil {
		return l.err
	}
	l.window = append(l.window, sent{frame: frame, op: kept})
	l.bytes += len(frame)
	l.moved.Broadcast()
	return nil
}

// Drain waits until everything is answered.
func (l *lane) Drain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.window) > 0 {
		l.moved.Wait()
	}
	return l.err
}

// Close ends the lane when everything is answered, and says how it went.
func (l *lane) Close() error {
	l.mu.Lock()
	l.closed = true
	l.moved.Broadcast()
	l.mu.Unlock()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run connects again and again until all is answered.
func (l *lane) run(ctx context.Context) {
	l.c.begin(ctx)
	tries := l.c.newTries(l.retry)
	tries.told = l.onRetry
	for l.wanted() {
		before := l.answered()
		err := l.connect(ctx)
		if l.answered() != before {
			tries.reset()
		}
		if err == nil || ctx.Err() == nil && tries.again(ctx, err) {
			continue
		}
		l.fail(cmp.Or(ctx.Err(), err))
		return
	}
}

// wanted waits for something to send; false: there will be nothing more.
func (l *lane) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = 0
	for l.err == nil && len(l.window) == 0 && !l.closed {
		l.moved.Wait()
	}
	return l.err == nil && len(l.window) > 0
}

// connect runs one connection to its end; nil = orderly, all is answered.
func (l *lane) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, in := io.Pipe()
	ctx = endWithConn(ctx, body)
	addr := l.c.Addr()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/fs/ops", body)
	if err != nil {
		return fmt.Errorf("admin address %q: %w: %w", addr, ErrRefused, err)
	}
	stopped := false
	sending := make(chan struct{})
	go func() { // Ends when the lane is closed and all is sent, or the connection has ended.
		defer close(sending)
		in.CloseWithError(l.send(in, &stopped))
	}()
	err = l.receive(request)
	body.CloseWithError(io.ErrClosedPipe)
	l.mu.Lock()
	stopped = true
	l.moved.Broadcast()
	l.mu.Unlock()
	<-sending
	return err
}

// endWithConn closes a request's body when its connection is lost. Before an answer
// began, net/http waits for the end of the body, which comes with the answers.
func endWithConn(ctx context.Context, body *io.PipeReader) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn, ok := info.Conn.(*watchedConn)
		if !ok {
			return
		}
		go func() { // Ends with the connection, or with ctx, which the lane ends.
			select {
			case <-conn.over:
				body.CloseWithError(io.ErrClosedPipe)
			case <-ctx.Done():
			}
		}()
	}})
}

// send writes what is not on this connection yet, and flushes whenever there is
// nothing more to add.
func (l *lane) send(w io.Writer, stopped *bool) error {
	out := bufio.NewWriterSize(w, bufferBytes)
	for {
		frame, end := l.take(stopped, out.Buffered() > 0)
		if end {
			return nil
		}
		var err error
		if frame == nil {
			err = out.Flush()
		} else {
			_, err = out.Write(frame)
		}
		if err != nil {
			return err
		}
	}
}

// take returns the next frame; none = flush first. end: the lane is closed and
// all is sent, or the connection stopped.
func (l *lane) take(stopped *bool, flush bool) (frame []byte, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.next >= len(l.window) && l.err == nil && !*stopped {
		if flush {
			return nil, false
		}
		if l.closed {
			return nil, true
		}
		l.moved.Wait()
	}
	if *stopped || l.err != nil {
		return nil, true
	}
	l.next++
	l.window[l.next-1].tries++
	return l.window[l.next-1].frame, false
}

// receive sends the request and matches results with the window.
func (l *lane) receive(request *http.Request) error {
	addr := request.URL.Host
	answer, err := l.c.do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		err := l.c.answerError(answer)
		if _, told := errors.AsType[*AnswerError](err); !told {
			return err
		}
		if answer.StatusCode == http.StatusServiceUnavailable {
			return fmt.Errorf("admin %s: %w: %w", addr, ErrLater, err)
		}
		return fmt.Errorf("admin %s: %w: %w", addr, ErrRefused, err)
	}
	in := bufio.NewReaderSize(answer.Body, bufferBytes)
	for {
		r, err := fsapi.ReadResult(in)
		if err != nil {
			return l.c.unreadable(addr, err)
		}
		if !r.End {
			if err := l.settle(r); err != nil {
				return err
			}
			continue
		}
		switch r.Code {
		case fsapi.CodeFinal:
			if r.Errno == fsapi.Elsewhere {
				return fmt.Errorf("admin %s: %w: %s", addr, ErrElsewhere, r.Text)
			}
			return fmt.Errorf("admin %s: %w: %s", addr, ErrRefused, r.Text)
		case fsapi.CodeRetry:
			return fmt.Errorf("admin %s: %w: %s", addr, ErrLater, r.Text)
		}
		return nil
	}
}

// settle gives the oldest operation its result.
func (l *lane) settle(r fsapi.Result) error {
	l.mu.Lock()
	if l.next == 0 || len(l.window) == 0 {
		l.mu.Unlock()
		return fmt.Errorf("admin %s: a result for nothing: %w", l.c.Addr(), fsapi.ErrFrame)
	}
	op, resent := l.window[0].op, l.window[0].tries > 1
	l.mu.Unlock()
	l.answer(&op, r, resent)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= len(l.window[0].frame)
	l.window[0] = sent{}
	l.window = l.window[1:]
	l.next--
	l.total++
	l.moved.Broadcast()
	return nil
}

// answered is how many results have come.
func (l *lane) answered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
