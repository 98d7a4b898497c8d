package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/claudefs/repl/engine"
)

// Errors of a question to a node.
var (
	// ErrUnreachable: nobody answers at the address.
	ErrUnreachable = errors.New("no node answers")
	// ErrAnswer: somebody answered, but not as a node of this release does.
	ErrAnswer = errors.New("not an answer of a cfs node")
)

const (
	answerBytesMax = 64 << 20
	answerTimeout  = 10 * time.Second
)

// nodeURL is a page of the node at addr, whose zone it may have.
func nodeURL(addr, path string, query url.Values) string {
	return (&url.URL{Scheme: "http", Host: addr, Path: path, RawQuery: query.Encode()}).String()
}

// cause is err without the address that stands before it already.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		err = e.Err
	}
	return err
}

// Status returns the status of the node whose admin address is addr.
func Status(ctx context.Context, addr string) (*engine.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, nodeURL(addr, "/v1/status", nil), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	switch {
	case err != nil:
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, err)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("admin %s: GET /v1/status answered %s: %w", addr, answer.Status, ErrAnswer)
	}
	var status engine.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if status.Schema != 1 || status.Kind != "status" {
		return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, status.Schema, status.Kind, ErrAnswer)
	}
	return &status, nil
}
