package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/claudefs/repl/engine"
)

// MendPath is where shards of a site are mended: GET says what that would do, POST does it.
// The query names the source, the shards, and says that entries which only this site has may
// be lost: ?from=SITE&lo=0&hi=256&lose=true.
const MendPath = "/v1/mend"

// mend answers with JSON lines: how far it is, and at last the report. It ends when the
// asker goes; a shard whose change has begun is finished.
func mend(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	o, err := mendOptions(r.URL.Query())
	if err != nil {
		fault(w, http.StatusBadRequest, err.Error(), "see cfs admin replication mend --help")
		return
	}
	rc := http.NewResponseController(w)
	line := func(v any) {
		b, err := json.Marshal(v)
		if err != nil {
			return // None of the types here fails.
		}
		// An error means that the asker has gone, or a server without deadlines.
		_ = rc.SetWriteDeadline(time.Now().Add(lineWriteMax))
		w.Header().Set("Content-Type", "application/jsonl")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(b, '\n'))
		_ = rc.Flush()
	}
	var told time.Time
	o.Only, o.By = r.Method != http.MethodPost, r.RemoteAddr
	o.Progress = func(p engine.MendProgress) {
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			line(p)
		}
	}
	report, err := e.Mend(r.Context(), o)
	if err == nil {
		line(report)
		return
	}
	code, next := mendRefusal(err)
	if told.IsZero() {
		fault(w, code, err.Error(), next)
		return
	}
	line(engine.MendFault{Kind: "fault", Status: code, Error: err.Error(), Next: next})
}

func mendRefusal(err error) (code int, next string) {
	switch {
	case errors.Is(err, engine.ErrLoses):
		return http.StatusConflict, "add lose=true if these entries may be lost"
	case errors.Is(err, engine.ErrAudit):
		return http.StatusConflict, "make room for the audit trail, or let the node write it"
	case errors.Is(err, engine.ErrNoRows):
		return http.StatusConflict, "copy the Store"
	}
	return refusal(err)
}

func mendOptions(q url.Values) (o engine.MendOptions, err error) {
	o.From = q.Get("from")
	for name, value := range map[string]*int{"lo": &o.Lo, "hi": &o.Hi} {
		if text := q.Get(name); text != "" {
			if *value, err = strconv.Atoi(text); err != nil {
				return o, fmt.Errorf("%s is %q: a shard's number is needed", name, text)
			}
		}
	}
	o.Lose = q.Get("lose") == "true"
	return o, nil
}
