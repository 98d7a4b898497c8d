package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/claudefs/repl/engine"
)

// route is one path that is served.
type route struct {
	path  string
	serve func(e *engine.Engine, w http.ResponseWriter, r *http.Request)
}

// methods are those that a path is served for. Only a POST to ForgetPath, SitesPath, FailoverPath,
// MendPath or OrphansPath changes anything.
func (r *route) methods() []string {
	switch r.path {
	case VerifyPath, ForgetPath, SitesPath, FailoverPath, MendPath, OrphansPath:
		return []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodHead}
}

var routes = []route{
	{"/v1/status", status},
	{HintsPath, hints},
	{VerifyPath, verify},
	{ForgetPath, forget},
	{SitesPath, sites},
	{FailoverPath, failover},
	{MendPath, mend},
	{OrphansPath, orphans},
	{AuditTrailPath, auditTrail},
	{AuditCheckPath, auditCheck},
	{"/livez", live},
	{"/readyz", ready},
}

// Fault is the body of every answer that is not a success: what is wrong, and what
// to do about it.
type Fault struct {
	Error string `json:"error"`
	Next  string `json:"next"`
}

// Handler serves e. The host puts it on a server of its own; it may be called by
// any goroutine, before and after e.Close.
func Handler(e *engine.Engine) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range routes {
			if r.URL.Path != route.path {
				continue
			}
			if allowed := route.methods(); !slices.Contains(allowed, r.Method) {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				fault(w, http.StatusMethodNotAllowed,
					fmt.Sprintf("method %s is not served at %s", r.Method, r.URL.Path),
					"use GET")
				return
			}
			route.serve(e, w, r)
			return
		}
		fault(w, http.StatusNotFound, fmt.Sprintf("no such path: %q", r.URL.Path),
			"try /v1/status, /v1/hints, /v1/verify, /v1/forget, /v1/failover, /v1/mend, /v1/orphans, /v1/audit-trail, "+
				"/v1/audit-check, /livez or /readyz")
	})
}

func status(e *engine.Engine, w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, e.Status())
}

// HintsPath is where clients ask which site writes. While a writer takes no appends the header
// Retry-After says when to ask again.
const HintsPath = "/v1/hints"

func hints(e *engine.Engine, w http.ResponseWriter, _ *http.Request) {
	h := e.Health()
	if h.RetrySeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(h.RetrySeconds))))
	}
	answer(w, http.StatusOK, h)
}

func live(e *engine.Engine, w http.ResponseWriter, _ *http.Request) {
	select {
	case <-e.Done():
		reason := "the engine is closed"
		if err := e.Err(); err != nil {
			reason = err.Error()
		}
		fault(w, http.StatusServiceUnavailable, reason, "find the cause, then restart the node")
	default:
		answer(w, http.StatusOK, map[string]string{"state": "live"})
	}
}

func ready(e *engine.Engine, w http.ResponseWriter, _ *http.Request) {
	s := e.Status()
	switch {
	case s.Health == engine.HealthFailed:
		fault(w, http.StatusServiceUnavailable, s.Reason, "see /v1/status")
	case s.Appends.State == engine.AppendsWaiting || s.Appends.State == engine.AppendsRefused:
		fault(w, http.StatusServiceUnavailable, "appends are "+s.Appends.State+": "+s.Appends.Reason, "see /v1/status")
	default:
		answer(w, http.StatusOK, map[string]string{"state": "ready", "health": s.Health, "reason": s.Reason})
	}
}

func fault(w http.ResponseWriter, code int, what, next string) { answer(w, code, Fault{what, next}) }

// answer writes v as JSON. Statuses are a moment's: nobody may keep them.
func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		code = http.StatusInternalServerError
		b = []byte(`{"error": "the answer has no JSON form", "next": "report this"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write(append(b, '\n')) // An error means that the client has gone.
}
