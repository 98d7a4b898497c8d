package admin

import (
	"errors"
	"net/http"

	"github.com/claudefs/repl/engine"
)

// ForgetPath is where a peer is given up that never answered: GET says what that would
// cost, POST does it. The query names the peer: ?peer=SITE.
const ForgetPath = "/v1/forget"

func forget(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	report, err := e.Forget(r.URL.Query().Get("peer"), r.Method != http.MethodPost)
	switch {
	case err == nil:
		answer(w, http.StatusOK, report)
	case errors.Is(err, engine.ErrOptions):
		fault(w, http.StatusBadRequest, err.Error(), "name one of the peers that /v1/status lists")
	case errors.Is(err, engine.ErrHeard):
		fault(w, http.StatusConflict, err.Error(),
			"bring that site back, or leave it: the journal keeps what it is missing")
	default:
		fault(w, http.StatusServiceUnavailable, err.Error(), "start the node")
	}
}
