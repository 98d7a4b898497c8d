package admin

import (
	"errors"
	"net/http"

	"github.com/claudefs/repl/engine"
)

// ForgetPath is where a peer is given up: GET says what that would cost, POST does it. The
// query names the peer, and says that one which has answered before is gone for good:
// ?peer=SITE&gone=true.
const ForgetPath = "/v1/forget"

func forget(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	report, err := e.Forget(q.Get("peer"), engine.ForgetOptions{
		Only: r.Method != http.MethodPost, Gone: q.Get("gone") == "true", By: r.RemoteAddr,
	})
	switch {
	case err == nil:
		answer(w, http.StatusOK, report)
	case errors.Is(err, engine.ErrOptions):
		fault(w, http.StatusBadRequest, err.Error(), "name one of the peers that /v1/status lists")
	case errors.Is(err, engine.ErrHeard):
		fault(w, http.StatusConflict, err.Error(), "bring that site back, or add gone=true if it never comes")
	case errors.Is(err, engine.ErrLinked), errors.Is(err, engine.ErrWriter):
		fault(w, http.StatusConflict, err.Error(), "only a site that is gone is forgotten")
	case errors.Is(err, engine.ErrAudit):
		fault(w, http.StatusConflict, err.Error(), "make room for the audit trail, or let the node write it")
	default:
		fault(w, http.StatusServiceUnavailable, err.Error(), "start the node")
	}
}
