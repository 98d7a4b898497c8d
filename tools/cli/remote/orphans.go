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

// Orphans asks the node at addr for its orphans, and for entries of shards or single ones. ErrQuestion:
// a ref is not one of them.
func Orphans(ctx context.Context, addr string, o engine.OrphansOptions) (*engine.OrphansReport, error) {
	q := url.Values{"ref": o.Refs}
	for _, shard := range o.Shards {
		q.Add("shard", strconv.Itoa(shard))
	}
	return orphans(ctx, addr, http.MethodGet, q)
}

// DiscardOrphans has the node at addr take orphans off its list, all of them without refs. ErrRefused:
// it is not done; ErrQuestion: a ref is not one of them.
func DiscardOrphans(ctx context.Context, addr string, refs []string) (*engine.OrphansReport, error) {
	q := url.Values{"ref": refs, "discard": {"refs"}}
	if len(refs) == 0 {
		q.Set("discard", "all")
	}
	return orphans(ctx, addr, http.MethodPost, q)
}

func orphans(ctx context.Context, addr, method string, q url.Values) (*engine.OrphansReport, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, nodeURL(addr, admin.OrphansPath, q), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, method+" "+admin.OrphansPath, answer)
	}
	var report engine.OrphansReport
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerBytesMax)).Decode(&report); err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if report.Schema != 1 || report.Kind != "orphans" {
		return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, report.Schema, report.Kind, ErrAnswer)
	}
	return &report, nil
}
