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

// lineWriteMax is how long an asker may take to take one line.
const lineWriteMax = time.Minute

// progressEvery is how often a verification says how far it is.
const progressEvery = 500 * time.Millisecond

// verify answers with JSON lines: how far it is, and at last the report. It ends
// when the asker goes.
func verify(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	o, err := verifyOptions(r.URL.Query())
	if err != nil {
		fault(w, http.StatusBadRequest, err.Error(), "see cfs admin replication verify --help")
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
	o.Progress = func(p engine.VerifyProgress) {
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			line(p)
		}
	}
	report, err := e.Verify(r.Context(), o)
	switch {
	case errors.Is(err, engine.ErrBusy):
		fault(w, http.StatusConflict, err.Error(), "wait until it ends, or interrupt it")
	case err != nil:
		fault(w, http.StatusBadRequest, err.Error(), "name one of the peers and shards that /v1/status lists")
	default:
		line(report)
	}
}

// verifyOptions reads peer, lo, hi and deep.
func verifyOptions(q url.Values) (o engine.VerifyOptions, err error) {
	o.Peer = q.Get("peer")
	for name, value := range map[string]*int{"lo": &o.Lo, "hi": &o.Hi} {
		if text := q.Get(name); text != "" {
			if *value, err = strconv.Atoi(text); err != nil {
				return o, fmt.Errorf("%s is %q: a shard's number is needed", name, text)
			}
		}
	}
	if text := q.Get("deep"); text != "" {
		if o.Deep, err = strconv.ParseBool(text); err != nil {
			return o, fmt.Errorf("deep is %q: true or false is needed", text)
		}
	}
	return o, nil
}
