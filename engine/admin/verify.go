package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/claudefs/repl/engine"
)

// VerifyPath is where a verification is asked for.
const VerifyPath = "/v1/verify"

// lineWriteMax is how long an asker may take to take one line.
const lineWriteMax = time.Minute

// progressEvery is how often a verification says how far it is.
const progressEvery = 500 * time.Millisecond

// verify answers with JSON lines: how far it is, and at last the report. A GET ends
// when the asker goes. A POST goes on as long as its body does, so that an asker who
// wants no more still gets the report. With timeout, it ends by itself.
func verify(e *engine.Engine, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	rc := http.NewResponseController(w)
	if r.Method == http.MethodPost {
		// First of all: otherwise even a refusal would wait for the end of the body.
		defer untilBodyEnds(rc, r, cancel)()
	}
	o, timeout, err := verifyOptions(r.URL.Query())
	if err != nil {
		fault(w, http.StatusBadRequest, err.Error(), "see cfs admin replication verify --help")
		return
	}
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
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
	report, err := e.Verify(ctx, o)
	if err != nil {
		code, next := refusal(err)
		fault(w, code, err.Error(), next)
		return
	}
	line(report)
}

// refusal is the status of why nothing is compared, and what to do about it.
func refusal(err error) (code int, next string) {
	switch {
	case errors.Is(err, engine.ErrOptions):
		return http.StatusBadRequest, "name one of the peers and shards that /v1/status lists"
	case errors.Is(err, engine.ErrBusy):
		return http.StatusConflict, "wait until it ends, or interrupt it"
	case errors.Is(err, engine.ErrClosed):
		return http.StatusServiceUnavailable, "start the node"
	}
	return http.StatusInternalServerError, "see /v1/status and the node's log"
}

// untilBodyEnds calls cancel when the request's body ends. What it returns is called
// before the handler returns: nothing reads the body from then on.
func untilBodyEnds(rc *http.ResponseController, r *http.Request, cancel func()) (end func()) {
	// An error means a server that reads the body first, or without deadlines: then the
	// asker's going is what ends it.
	_ = rc.EnableFullDuplex()
	_ = rc.SetReadDeadline(time.Time{})
	ended := make(chan struct{})
	go func() { // Ends with the body, or when end is called.
		defer close(ended)
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
	}()
	return func() {
		_ = rc.SetReadDeadline(time.Now())
		<-ended
	}
}

// verifyOptions reads peer, lo, hi, deep and timeout.
func verifyOptions(q url.Values) (o engine.VerifyOptions, timeout time.Duration, err error) {
	o.Peer = q.Get("peer")
	for name, value := range map[string]*int{"lo": &o.Lo, "hi": &o.Hi} {
		if text := q.Get(name); text != "" {
			if *value, err = strconv.Atoi(text); err != nil {
				return o, 0, fmt.Errorf("%s is %q: a shard's number is needed", name, text)
			}
		}
	}
	if text := q.Get("deep"); text != "" {
		if o.Deep, err = strconv.ParseBool(text); err != nil {
			return o, 0, fmt.Errorf("deep is %q: true or false is needed", text)
		}
	}
	if text := q.Get("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil || timeout <= 0 {
			return o, 0, fmt.Errorf("timeout is %q: a time such as 30s is needed", text)
		}
	}
	return o, timeout, nil
}
