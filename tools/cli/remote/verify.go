package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// ErrRefused: the node does not do it now, or not what was asked for.
var ErrRefused = errors.New("refused")

// ErrQuestion: the question is wrong.
var ErrQuestion = errors.New("not possible")

// ErrFailed: the node could not do it.
var ErrFailed = errors.New("the node failed at it")

// How long a node is waited for.
const (
	// firstLineMax: a node says how far it is before it compares anything. What says
	// nothing for as long as a status may take stands still, or is none.
	firstLineMax = answerTimeout
	// lastWordMax: a server that is not a node may wait for the end of the question before
	// it says so. It is told the end then, and the answer is a matter of one round trip.
	lastWordMax = 2 * time.Second
	// reportWaitMax is for a node to end a verification, and to report.
	reportWaitMax = 10 * time.Second
)

// patience is how long a node is waited for: for its first line, for a word of what has
// said nothing once the question has ended, and for the report once the time is over.
type patience struct{ first, word, report time.Duration }

// Verify has the node at addr compare itself with its peers and returns its report;
// o.Progress is called as it goes on, by the caller's goroutine. When ctx ends, or
// timeout has passed (0 = none), the node ends and reports what it has: that is
// returned as any report is.
func Verify(ctx context.Context, addr string, timeout time.Duration, o engine.VerifyOptions) (
	*engine.VerifyReport, error) {
	return patience{firstLineMax, lastWordMax, reportWaitMax}.verify(ctx, addr, timeout, o)
}

func (p patience) verify(ctx context.Context, addr string, timeout time.Duration, o engine.VerifyOptions) (
	*engine.VerifyReport, error) {
	q := url.Values{"peer": {o.Peer}, "lo": {strconv.Itoa(o.Lo)}, "hi": {strconv.Itoa(o.Hi)}}
	q.Set("deep", strconv.FormatBool(o.Deep))
	whole, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	if timeout > 0 {
		q.Set("timeout", timeout.String())
		var end context.CancelFunc
		whole, end = context.WithTimeoutCause(whole, p.first+timeout+p.report,
			fmt.Errorf("no report within %s", timeout+p.report))
		defer end()
	}
	body, more := io.Pipe() // the node goes on as long as it is open
	defer more.Close()
	defer context.AfterFunc(ctx, func() {
		more.Close()
		time.AfterFunc(p.report, func() { cancel(ctx.Err()) })
	})()
	silent := fmt.Errorf("it said nothing within %s", p.first)
	silence := time.AfterFunc(p.first, func() {
		more.Close()
		time.AfterFunc(p.word, func() { cancel(silent) })
	})
	defer silence.Stop()
	request, err := http.NewRequestWithContext(whole, http.MethodPost, nodeURL(addr, admin.VerifyPath, q), body)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	client := &http.Client{Transport: untilHungUp(more)}
	defer client.CloseIdleConnections()
	report, err := verifyAnswer(addr, client, request, func() error {
		if !silence.Stop() {
			return silent
		}
		return nil
	}, o.Progress)
	switch {
	case err == nil || whole.Err() == nil:
		return report, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, context.Cause(whole))
}

// untilHungUp is a transport whose connection ends body when it ends itself: before
// net/http says that the other side has gone, it waits for the end of what it still sends.
func untilHungUp(body io.Closer) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return hangUp{conn, body}, nil
		},
	}
}

// hangUp is a connection that closes body once nothing more can be read from it, and
// when it is closed: by the end of the request's context, or for an answer that is not HTTP.
type hangUp struct {
	net.Conn
	body io.Closer
}

func (h hangUp) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if err != nil {
		h.body.Close()
	}
	return n, err
}

func (h hangUp) Close() error {
	h.body.Close()
	return h.Conn.Close()
}

// verifyAnswer asks, and reads the answer's lines up to the report. It calls heard with
// the first of them, which says whether that is too late.
func verifyAnswer(addr string, client *http.Client, request *http.Request, heard func() error,
	progress func(engine.VerifyProgress)) (*engine.VerifyReport, error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, "POST "+admin.VerifyPath, answer)
	}
	lines := bufio.NewReader(io.LimitReader(answer.Body, answerBytesMax))
	for first := true; ; first = false {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("admin %s: the verification broke off: %w: %w", addr, ErrUnreachable, err)
		}
		p, report, err := verifyLine(line)
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
		}
		if first {
			if err := heard(); err != nil {
				return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, err)
			}
		}
		switch {
		case report != nil:
			return report, nil
		case progress != nil:
			progress(*p)
		}
	}
}

// verifyLine reads a line of the answer: how far it is, or the report.
func verifyLine(line []byte) (*engine.VerifyProgress, *engine.VerifyReport, error) {
	p := new(engine.VerifyProgress)
	if err := json.Unmarshal(line, p); err != nil {
		return nil, nil, err
	}
	if p.Kind == "progress" {
		return p, nil, nil
	}
	report := new(engine.VerifyReport)
	if err := json.Unmarshal(line, report); err != nil {
		return nil, nil, err
	}
	if report.Schema != 1 || report.Kind != "verify" {
		return nil, nil, fmt.Errorf("schema %d, kind %q", report.Schema, report.Kind)
	}
	return nil, report, nil
}

// refusalOf words an answer that is none.
func refusalOf(addr, what string, answer *http.Response) error {
	var f admin.Fault
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil || json.Unmarshal(body, &f) != nil || f.Error == "" {
		return fmt.Errorf("admin %s: %s answered %s: %w", addr, what, answer.Status, ErrAnswer)
	}
	return fmt.Errorf("admin %s: %s: %w", addr, f.Error, classOf(answer.StatusCode))
}

// classOf is the class of an answer that is none, by its status.
func classOf(status int) error {
	switch status {
	case http.StatusBadRequest:
		return ErrQuestion
	case http.StatusConflict:
		return ErrRefused
	case http.StatusServiceUnavailable:
		return ErrUnreachable
	case http.StatusNotFound, http.StatusMethodNotAllowed: // a node of another release
		return ErrAnswer
	}
	return ErrFailed
}
