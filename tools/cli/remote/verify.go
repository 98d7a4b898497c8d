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

// reportWaitMax is how long a node may take to end a verification, and to report.
const reportWaitMax = 10 * time.Second

// Verify has the node at addr compare itself with its peers and returns its report;
// o.Progress is called as it goes on, by the caller's goroutine. When ctx ends, or
// timeout has passed (0 = none), the node ends and reports what it has: that is
// returned as any report is.
func Verify(ctx context.Context, addr string, timeout time.Duration, o engine.VerifyOptions) (
	*engine.VerifyReport, error) {
	q := url.Values{"peer": {o.Peer}, "lo": {strconv.Itoa(o.Lo)}, "hi": {strconv.Itoa(o.Hi)}}
	q.Set("deep", strconv.FormatBool(o.Deep))
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if timeout > 0 {
		q.Set("timeout", timeout.String())
		whole, cancel = context.WithTimeout(whole, timeout+reportWaitMax)
		defer cancel()
	}
	body, more := io.Pipe() // the node goes on as long as it is open
	defer more.Close()
	defer context.AfterFunc(ctx, func() {
		more.Close()
		time.AfterFunc(reportWaitMax, cancel)
	})()
	request, err := http.NewRequestWithContext(whole, http.MethodPost,
		"http://"+addr+admin.VerifyPath+"?"+q.Encode(), body)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	client := &http.Client{Transport: untilHungUp(more)}
	defer client.CloseIdleConnections()
	report, err := verifyAnswer(addr, client, request, o.Progress)
	switch {
	case err == nil || whole.Err() == nil:
		return report, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("admin %s: no report within %s: %w", addr, timeout+reportWaitMax, ErrUnreachable)
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

// hangUp is a connection that closes body once nothing more can be read from it.
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

// verifyAnswer asks, and reads the answer's lines up to the report.
func verifyAnswer(addr string, client *http.Client, request *http.Request, progress func(engine.VerifyProgress)) (
	*engine.VerifyReport, error) {
	answer, err := client.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, answer)
	}
	lines := bufio.NewReader(io.LimitReader(answer.Body, answerBytesMax))
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("admin %s: the verification broke off: %w: %w", addr, ErrUnreachable, err)
		}
		report, err := verifyLine(line, progress)
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
		}
		if report != nil {
			return report, nil
		}
	}
}

// verifyLine reads a line of the answer: the report, or how far it is.
func verifyLine(line []byte, progress func(engine.VerifyProgress)) (*engine.VerifyReport, error) {
	var p engine.VerifyProgress
	if err := json.Unmarshal(line, &p); err != nil {
		return nil, err
	}
	if p.Kind == "progress" {
		if progress != nil {
			progress(p)
		}
		return nil, nil
	}
	report := new(engine.VerifyReport)
	if err := json.Unmarshal(line, report); err != nil {
		return nil, err
	}
	if report.Schema != 1 || report.Kind != "verify" {
		return nil, fmt.Errorf("schema %d, kind %q", report.Schema, report.Kind)
	}
	return report, nil
}

// refusalOf words an answer that is none.
func refusalOf(addr string, answer *http.Response) error {
	var f admin.Fault
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	if err != nil || json.Unmarshal(body, &f) != nil || f.Error == "" {
		return fmt.Errorf("admin %s: POST /v1/verify answered %s: %w", addr, answer.Status, ErrAnswer)
	}
	class := ErrQuestion
	if answer.StatusCode == http.StatusConflict {
		class = ErrRefused
	}
	return fmt.Errorf("admin %s: %s: %w", addr, f.Error, class)
}
