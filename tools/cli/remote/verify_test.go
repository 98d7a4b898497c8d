package remote

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// nodeThatCompares answers as a node does that compares until it is told to end.
func nodeThatCompares(t *testing.T, report *engine.VerifyReport) (addr string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		encoder := json.NewEncoder(w)
		_ = rc.EnableFullDuplex()
		_ = encoder.Encode(engine.VerifyProgress{Kind: "progress", Peer: "site-b", Doing: "state", Of: 256})
		_ = rc.Flush()
		if timeout, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil {
			<-time.After(timeout)
			report.Ended = engine.VerifyTimeout
		} else {
			_, _ = io.Copy(io.Discard, r.Body)
			report.Ended = engine.VerifyInterrupted
		}
		if report.Schema > 0 {
			_ = encoder.Encode(report)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestAnInterruptedVerificationStillReports(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{Schema: 1, Kind: "verify"})
	ctx, interrupt := context.WithCancel(context.Background())
	report, err := Verify(ctx, addr, 0, engine.VerifyOptions{Progress: func(engine.VerifyProgress) { interrupt() }})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyInterrupted, report.Ended)
}

func TestAVerificationWhoseTimeRanOutStillReports(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{Schema: 1, Kind: "verify"})
	report, err := Verify(context.Background(), addr, 10*time.Millisecond, engine.VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyTimeout, report.Ended)
}

func TestANodeThatBreaksOffIsUnreachable(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{})
	_, err := Verify(context.Background(), addr, 10*time.Millisecond, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "broke off")
}
