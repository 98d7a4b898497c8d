package remote

import (
	"context"
	"net/url"
	"strconv"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// Failover asks the node at addr what it costs to make a site the writer, or has it done. It
// waits for answerTimeout longer than a switchover may take. ErrRefused: it is not done;
// ErrQuestion: the node has no such site, or that one writes already.
func Failover(ctx context.Context, addr, to string, o engine.FailoverOptions) (*engine.FailoverReport, error) {
	query := url.Values{"to": {to}, "lossless": {strconv.FormatBool(o.Lossless)}, "timeout": {o.Timeout.String()}}
	if o.Plan != "" {
		query.Set("plan", o.Plan)
	}
	q := question{change: !o.Only, path: admin.FailoverPath, query: query, kind: "failover", work: o.Timeout}
	var report engine.FailoverReport
	if err := ask(ctx, addr, q, &report); err != nil {
		return nil, err
	}
	return &report, nil
}
