package admin

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/claudefs/repl/engine"
)

// OrphansPath is where entries are listed that did not survive a failover: GET ?shard=N&ref=REF… also
// shows those of shards, or single ones. POST ?discard=all, or ?discard=refs&ref=REF…, takes them off
// the list permanently.
const OrphansPath = "/v1/orphans"

func orphans(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := engine.OrphansOptions{Refs: q["ref"], By: r.RemoteAddr}
	for _, text := range q["shard"] {
		shard, err := strconv.Atoi(text)
		if err != nil {
			fault(w, http.StatusBadRequest, "shard "+strconv.Quote(text)+" is not a number", "GET ?shard=N")
			return
		}
		o.Shards = append(o.Shards, shard)
	}
	ask := e.Orphans
	if r.Method == http.MethodPost {
		if d := q.Get("discard"); d != "all" && d != "refs" || (d == "refs") != (len(o.Refs) > 0) || len(o.Shards) > 0 {
			fault(w, http.StatusBadRequest, "a POST discards all, or single refs",
				"POST ?discard=all or ?discard=refs&ref=SITE/SHARD/INCARNATION/SEQ")
			return
		}
		ask = e.DiscardOrphans
	}
	report, err := ask(o)
	switch {
	case err == nil:
		answer(w, http.StatusOK, report)
	case errors.Is(err, engine.ErrOptions):
		fault(w, http.StatusBadRequest, err.Error(), "GET ?shard=N shows the refs of a shard's orphans")
	case errors.Is(err, engine.ErrAudit):
		fault(w, http.StatusConflict, err.Error(), "make room for the audit trail, or let the node write it")
	default:
		fault(w, http.StatusServiceUnavailable, err.Error(), "see /v1/status")
	}
}
