package fsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/tools/fsapi"
)

var (
	// ErrUnreachable: nobody answers at the address, or not to the end.
	ErrUnreachable = errors.New("no node answers")
	// ErrAnswer: somebody answered, but not as a node of this release does.
	ErrAnswer = errors.New("not an answer of a cfs node")
	// ErrLater: the node answered that it will not now; the text says what is awaited.
	ErrLater = errors.New("not now")
	// ErrRefused: the node answered that it will not, without a change.
	ErrRefused = errors.New("refused by the node")
)

// Client talks to one node at a time: the one that writes, once it had to look for it, or has
// several addresses. Its methods may be called by any goroutine.
type Client struct {
	// RetryFor is how long a request, or an operation that has no answer, is tried again while
	// no node can take it; 0 = only as long as another site is known to write. Set it before use.
	RetryFor time.Duration

	http       *http.Client
	silenceMax time.Duration
	started    sync.Once
	seeking    sync.Mutex // one looks for the writer

	mu    sync.Mutex
	addr  string   // of the node that is talked to
	addrs []string // the ones that were given, and what hints added; only grows
}

const (
	dialTimeout = 5 * time.Second
	// silenceMax is how long a node may take to show that it has a request. One that
	// hangs accepts connections all the same: its kernel does.
	silenceMax  = 20 * time.Second
	bufferBytes = 256 << 10
	// errorBytesMax bounds the body of an error.
	errorBytesMax = 64 << 10
)

// New returns a client of the nodes with these admin addresses, "host:port", one at least. It
// begins with the first; of several, with the one that writes.
func New(addrs ...string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watchedConn{Conn: conn, over: make(chan struct{})}, nil
	}
	addrs = slices.Compact(slices.Clone(addrs))
	return &Client{addr: addrs[0], addrs: addrs, silenceMax: silenceMax, http: &http.Client{Transport: &http.Transport{
		DialContext:         dial,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
		WriteBufferSize:     bufferBytes,
		ReadBufferSize:      bufferBytes,
		DisableCompression:  true,
	}}}
}

// watchedConn tells when it is closed, as net/http closes one that is lost.
type watchedConn struct {
	net.Conn
	once sync.Once
	over chan struct{}
}

func (w *watchedConn) Close() error {
	w.once.Do(func() { close(w.over) })
	return w.Conn.Close()
}

// Addr is the address of the node that is talked to.
func (c *Client) Addr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addr
}

// begin looks for the writer before the first request, where several addresses were given.
func (c *Client) begin(ctx context.Context) {
	c.started.Do(func() {
		if c.Several() {
			c.Seek(ctx)
		}
	})
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// AnswerError is a refusal as the node answered it.
type AnswerError struct {
	Status int
	Body   fsapi.Error
}

func (e *AnswerError) Error() string {
	if e.Body.Next == "" {
		return e.Body.Text
	}
	return e.Body.Text + "; " + e.Body.Next
}

// Refused says whether the node will not, as things stand there.
func (e *AnswerError) Refused() bool { return e.Status == http.StatusConflict }

// Unwrap makes a POSIX error comparable: errors.Is(err, fs.ErrNotExist). What is
// none is ErrLater if it may pass, ErrElsewhere if another site can, else ErrRefused.
func (e *AnswerError) Unwrap() error {
	if e.Body.Errno == unix.ErrnoName(fsapi.Elsewhere) {
		return ErrElsewhere
	}
	for errno := range errnoMax {
		if e.Body.Errno != "" && unix.ErrnoName(errno) == e.Body.Errno {
			return errno
		}
	}
	if e.Status == http.StatusServiceUnavailable {
		return ErrLater
	}
	return ErrRefused
}

// errnoMax is beyond every errno of Linux.
const errnoMax unix.Errno = 134

// get asks, and asks again where that is of use.
func (c *Client) get(ctx context.Context, verb string, query url.Values) (*http.Response, error) {
	c.begin(ctx)
	for tries := c.newTries(false); ; {
		answer, err := c.getOnce(ctx, verb, query)
		if err == nil || !tries.again(ctx, err) {
			return answer, err
		}
	}
}

func (c *Client) getOnce(ctx context.Context, verb string, query url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: c.Addr(), Path: "/v1/fs/" + verb, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", u.Host, err)
	}
	answer, err := c.do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, c.answerError(answer)
	}
	return answer, nil
}

// do sends a request. The first sign of an answer, be it that the node is at work on it
// (102), ends the wait; how long the whole takes is for ctx to bound.
func (c *Client) do(request *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancelCause(request.Context())
	silence := time.AfterFunc(c.silenceMax, func() {
		end(fmt.Errorf("connected, and nothing came for %s", c.silenceMax))
	})
	defer silence.Stop()
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			silence.Stop()
			return nil
		},
	}))
	answer, err := c.http.Do(request)
	if err != nil {
		end(nil)
		return nil, c.unreachable(request.URL.Host, err)
	}
	answer.Body = &lastingBody{answer.Body, end}
	return answer, nil
}

// lastingBody is an answer's body, for whose life its request's context lasts.
type lastingBody struct {
	io.ReadCloser
	end context.CancelCauseFunc
}

func (b *lastingBody) Close() error {
	defer b.end(nil)
	return b.ReadCloser.Close()
}

func (c *Client) unreachable(addr string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the URL says nothing that the address does not say
	}
	return fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, err)
}

// unreadable is why what came cannot be read: it is not an answer, or not all of one.
func (c *Client) unreadable(addr string, err error) error {
	_, noJSON := errors.AsType[*json.SyntaxError](err)
	_, otherJSON := errors.AsType[*json.UnmarshalTypeError](err)
	if noJSON || otherJSON || errors.Is(err, fsapi.ErrFrame) {
		return fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	return c.unreachable(addr, err)
}

// answerError reads a refusal: an *AnswerError if a node sent it.
func (c *Client) answerError(answer *http.Response) error {
	e := &AnswerError{Status: answer.StatusCode}
	b, err := io.ReadAll(io.LimitReader(answer.Body, errorBytesMax))
	told := err == nil && json.Unmarshal(b, &e.Body) == nil && e.Body.Text != ""
	class := ErrAnswer
	switch answer.StatusCode {
	case http.StatusServiceUnavailable:
		class = ErrUnreachable // what stands before a node that is away may say so as well
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		told = told && e.Body.Errno != "" // else it is the request that is not known there
	}
	if told {
		return e
	}
	asked := answer.Request
	return fmt.Errorf("admin %s: %s %s answered %s: %w", asked.URL.Host, asked.Method, asked.URL.Path,
		answer.Status, class)
}

func (c *Client) getJSON(ctx context.Context, verb string, query url.Values, v any) error {
	answer, err := c.get(ctx, verb, query)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	addr := answer.Request.URL.Host
	var text json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&text); err != nil {
		return c.unreadable(addr, err)
	}
	var head struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return c.unreadable(addr, err)
	}
	if head.Schema != fsapi.Schema {
		return fmt.Errorf("admin %s: schema %d: %w", addr, head.Schema, ErrAnswer)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return c.unreadable(addr, err)
	}
	return nil
}
