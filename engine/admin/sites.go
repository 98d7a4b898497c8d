package admin

import (
	"errors"
	"net/http"

	"github.com/claudefs/repl/engine"
)

// ForgetPath is where a peer is given up that is gone: GET says what that would cost, POST does
// it. The query names the peer, and says that one which has answered before is gone for good:
// ?peer=SITE&gone=true.
const ForgetPath = "/v1/forget"

// SitesPath is where peers are listed (GET), taken in (POST ?add=SITE&addr=HOST:PORT&addr=…) and
// removed (POST ?remove=SITE; GET ?remove=SITE says what that would cost).
const SitesPath = "/v1/sites"

func forget(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	report, err := e.Forget(q.Get("peer"), engine.ForgetOptions{
		Only: r.Method != http.MethodPost, Gone: q.Get("gone") == "true", By: r.RemoteAddr,
	})
	given(w, report, err)
}

func sites(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	q, post := r.URL.Query(), r.Method == http.MethodPost
	switch {
	case q.Has("remove") && !q.Has("add"):
		report, err := e.RemovePeer(q.Get("remove"), engine.RemoveOptions{Only: !post, By: r.RemoteAddr})
		given(w, report, err)
	case q.Has("add") && !q.Has("remove") && post:
		report, err := e.AddPeer(engine.Peer{Site: q.Get("add"), Addrs: q["addr"]}, r.RemoteAddr)
		given(w, report, err)
	case !q.Has("add") && !q.Has("remove") && !post:
		answer(w, http.StatusOK, e.Peers())
	default:
		fault(w, http.StatusBadRequest, "a site is added or removed, by POST, or all are listed, by GET",
			"POST ?add=SITE&addr=HOST:PORT or ?remove=SITE")
	}
}

// given answers with a report, or with why a peer is not taken in or given up.
func given(w http.ResponseWriter, report any, err error) {
	switch {
	case err == nil:
		answer(w, http.StatusOK, report)
	case errors.Is(err, engine.ErrOptions):
		fault(w, http.StatusBadRequest, err.Error(), "/v1/sites lists the peers that there are")
	case errors.Is(err, engine.ErrHeard):
		fault(w, http.StatusConflict, err.Error(), "bring that site back, or add gone=true if it never comes")
	case errors.Is(err, engine.ErrLinked):
		fault(w, http.StatusConflict, err.Error(), "only a site that is gone is forgotten; a living one is removed")
	case errors.Is(err, engine.ErrWriter):
		fault(w, http.StatusConflict, err.Error(), "the site that writes is not given up")
	case errors.Is(err, engine.ErrBusy):
		fault(w, http.StatusConflict, err.Error(), "ask again in a moment")
	case errors.Is(err, engine.ErrAudit):
		fault(w, http.StatusConflict, err.Error(), "make room for the audit trail, or let the node write it")
	default:
		fault(w, http.StatusServiceUnavailable, err.Error(), "start the node")
	}
}
