package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// Forget asks the node at addr what it costs to forget a peer, or with do has it
// forgotten. ErrRefused: the peer was heard; ErrQuestion: the node has no such peer.
func Forget(ctx context.Context, addr, peer string, do bool) (*engine.ForgetReport, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	method := http.MethodGet
	if do {
		method = http.MethodPost
	}
	query := url.Values{"peer": {peer}}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+addr+admin.ForgetPath+"?"+query.Encode(), nil)
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
