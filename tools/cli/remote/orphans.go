package remote

import (
	"context"
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
	return orphans(ctx, addr, false, q)
}

// DiscardOrphans has the node at addr take orphans off its list, all of them without refs. ErrRefused:
// it is not done; ErrQuestion: a ref is not one of them.
func DiscardOrphans(ctx context.Context, addr string, refs []string) (*engine.OrphansReport, error) {
	q := url.Values{"ref": refs, "discard": {"refs"}}
	if len(refs) == 0 {
		q.Set("discard", "all")
	}
	return orphans(ctx, addr, true, q)
}

func orphans(ctx context.Context, addr string, change bool, q url.Values) (*engine.OrphansReport, error) {
	var report engine.OrphansReport
	err := ask(ctx, addr, question{change: change, path: admin.OrphansPath, query: q, kind: "orphans"}, &report)
	if err != nil {
		return nil, err
	}
	return &report, nil
}
