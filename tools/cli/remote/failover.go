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

// Failover asks the node at addr what it costs to make a site the writer, or has it done. It
// waits for answerTimeout longer than a switchover may take. ErrRefused: it is not done;
// ErrQuestion: the node has no such site, or that one writes already.
func Failover(ctx context.Context, addr, to string, o engine.FailoverOptions) (*engine.FailoverReport, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout+o.Timeout)
	defer cancel()
	method := http.MethodPost
	if o.Only {
		method = http.MethodGet
	}
	query := url.Values{"to": {to}, "lossless": {strconv.FormatBool(o.Lossless)}, "timeout": {o.Timeout.String()}}
	if o.Plan != "" {
		query.Set("plan", o.Plan)
	}
	request, err := http.NewRequestWithContext(ctx, method, nodeURL(addr, admin.FailoverPath, query), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, method+" "+admin.FailoverPath, answer)
	}
	var report engine.FailoverReport
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerBytesMax)).Decode(&report); err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if report.Schema != 1 || report.Kind != "failover" {
		return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, report.Schema, report.Kind, ErrAnswer)
	}
	return &report, nil
}
