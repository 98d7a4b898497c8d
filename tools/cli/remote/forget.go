package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// Forget asks the node at addr what it costs to forget a peer, or has it forgotten.
// ErrRefused: the peer is not given up; ErrQuestion: the node has no such peer.
func Forget(ctx context.Context, addr, peer string, o engine.ForgetOptions) (*engine.ForgetReport, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	method := http.MethodPost
	if o.Only {
		method = http.MethodGet
	}
	query := url.Values{"peer": {peer}, "gone": {strconv.FormatBool(o.Gone)}}
	request, err := http.NewRequestWithContext(ctx, method, nodeURL(addr, admin.ForgetPath, query), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, method+" "+admin.ForgetPath, answer)
	}
	var report engine.ForgetReport
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerBytesMax)).Decode(&report); err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if report.Schema != 1 || report.Kind != "forget" {
		return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, report.Schema, report.Kind, ErrAnswer)
	}
	return &report, nil
}
