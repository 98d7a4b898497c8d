package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/claudefs/repl/engine"
)

// Paths of the audit trail: its records as JSON lines, from ?since=TIME (RFC 3339) on, and
// the result of a check.
const (
	AuditTrailPath = "/v1/audit-trail"
	AuditCheckPath = "/v1/audit-check"
)

// AuditEnd is the last line of an answer with records. Without it the answer is not whole.
type AuditEnd struct {
	Schema  int    `json:"schema"` // 1
	Kind    string `json:"kind"`   // "audit-end"
	Site    string `json:"site"`
	Records int    `json:"records"`
	Error   string `json:"error,omitempty"` // why there are no more
}

func auditTrail(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	var since time.Time
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			fault(w, http.StatusBadRequest, fmt.Sprintf("since: got %q, want a time in RFC 3339", text),
				"write it like 2026-11-30T12:00:00Z")
			return
		}
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	end := AuditEnd{Schema: 1, Kind: "audit-end", Site: e.Status().Site}
	err := e.AuditTrail(since, func(record *engine.AuditRecord) error {
		end.Records++
		return out.Encode(record)
	})
	if err != nil {
		end.Error = err.Error()
	}
	_ = out.Encode(end) // An error means that the client has gone.
}

func auditCheck(e *engine.Engine, w http.ResponseWriter, _ *http.Request) {
	report, err := e.CheckAudit()
	if err != nil {
		fault(w, http.StatusInternalServerError, err.Error(),
			"check the disk, and that the files belong to the node's user")
		return
	}
	answer(w, http.StatusOK, report)
}
