package remote

import (
	"context"
	"encoding/json"
	"io"
	"net"
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

// What listens there takes the question and goes: a link's port, or a node that is killed.
func TestAnAddressThatHangsUpIsUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = Verify(ctx, listener.Addr().String(), 0, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
	require.NoError(t, ctx.Err(), "it waited for its own end")
}

func TestANodeThatBreaksOffIsUnreachable(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{})
	_, err := Verify(context.Background(), addr, 10*time.Millisecond, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "broke off")
}
