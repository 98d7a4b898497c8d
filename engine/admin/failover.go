package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/claudefs/repl/engine"
)

// FailoverPath is where the writer is moved: GET says what that would cost, POST does it. The
// query names the site that is to write, whether that must lose nothing, how long a switchover
// may take, and the plan that must hold: ?to=SITE&lossless=true&timeout=10s&plan=ID.
const FailoverPath = "/v1/failover"

func failover(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := engine.FailoverOptions{
		Only: r.Method != http.MethodPost, Lossless: q.Get("lossless") == "true", By: r.RemoteAddr,
		Plan: q.Get("plan"),
	}
	if text := q.Get("timeout"); text != "" {
		var err error
		if o.Timeout, err = time.ParseDuration(text); err != nil || o.Timeout <= 0 {
			fault(w, http.StatusBadRequest, "timeout: "+text+" is not a duration above zero", "write it like 10s")
			return
		}
	}
	report, err := e.Failover(r.Context(), q.Get("to"), o)
	switch {
	case err == nil:
		answer(w, http.StatusOK, report)
	case errors.Is(err, engine.ErrOptions):
		fault(w, http.StatusBadRequest, err.Error(), "name a site that /v1/status lists, and that does not write")
	case errors.Is(err, engine.ErrStandby):
		fault(w, http.StatusConflict, err.Error(), "ask that site")
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrBusy):
		fault(w, http.StatusConflict, err.Error(), "see how far that site is behind, then try again")
	case errors.Is(err, engine.ErrPlan):
		fault(w, http.StatusConflict, err.Error(), "ask for a new plan, and look at what it would cost")
	case errors.Is(err, engine.ErrStopped):
		fault(w, http.StatusConflict, err.Error(), "mend those shards, or let another site write")
	case errors.Is(err, engine.ErrFenced):
		fault(w, http.StatusConflict, err.Error(), "see who writes now")
	case errors.Is(err, engine.ErrAudit):
		fault(w, http.StatusConflict, err.Error(), "make room for the audit trail, or let the node write it")
	default:
		fault(w, http.StatusServiceUnavailable, err.Error(), "start the node")
	}
}
