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
	"github.com/claudefs/repl/engine/admin"
)

// nodeThatCompares answers as a node does that compares until it is told to end.
func nodeThatCompares(t *testing.T, report *engine.VerifyReport) (addr string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		encoder := json.NewEncoder(w)
		_ = rc.EnableFullDuplex()
		_ = encoder.Encode(engine.VerifyProgress{Kind: "progress", Peer: "site-b", Phase: "state", ShardsTotal: 256})
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

// listening does something with each connection to an address, and hangs up then.
func listening(t *testing.T, do func(net.Conn)) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends when the other side hangs up, if not before
				defer conn.Close()
				do(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// soon ends long after what it is given to, and fails the test if that ends only then.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(func() {
		require.NoError(t, ctx.Err(), "it waited for its own end")
		cancel()
	})
	return ctx
}

func TestInterruptedVerificationStillReports(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{Schema: 1, Kind: "verify"})
	ctx, interrupt := context.WithCancel(context.Background())
	report, err := Verify(ctx, addr, 0, engine.VerifyOptions{Progress: func(engine.VerifyProgress) { interrupt() }})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyInterrupted, report.Ended)
}

func TestVerificationWhoseTimeRanOutStillReports(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{Schema: 1, Kind: "verify"})
	report, err := Verify(context.Background(), addr, 10*time.Millisecond, engine.VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyTimeout, report.Ended)
}

// What listens there takes the question and goes: a link's port, or a node that is killed.
func TestAddressThatHangsUpIsUnreachable(t *testing.T) {
	addr := listening(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
	_, err := Verify(soon(t), addr, 0, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
}

func TestNodeThatBreaksOffIsUnreachable(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{})
	_, err := Verify(context.Background(), addr, 10*time.Millisecond, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "broke off")
}

// brief waits as a node is waited for, only not as long.
var brief = patience{first: 50 * time.Millisecond, word: time.Minute, report: time.Minute}

// Whoever serves something else reads the question to its end before it answers, and
// the question stays open as long as a verification does.
func TestHTTPServerThatIsNoNodeIsToldAsOne(t *testing.T) {
	for name, status := range map[string]int{"no such page": http.StatusNotFound, "a page": http.StatusOK} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>\n")
		}))
		defer server.Close()
		addr := strings.TrimPrefix(server.URL, "http://")
		for _, timeout := range []time.Duration{0, time.Millisecond, time.Hour} {
			_, err := brief.verify(soon(t), addr, timeout, engine.VerifyOptions{})
			require.ErrorIs(t, err, ErrAnswer, "%s, --timeout %s", name, timeout)
			require.ErrorContains(t, err, addr)
		}
	}
}

// What takes the question and says nothing: no server of HTTP, or a node that stands still.
func TestAddressThatSaysNothingIsUnreachable(t *testing.T) {
	addr := listening(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, timeout := range []time.Duration{0, time.Millisecond, time.Hour} {
		p := patience{first: 50 * time.Millisecond, word: 50 * time.Millisecond, report: time.Minute}
		_, err := p.verify(soon(t), addr, timeout, engine.VerifyOptions{})
		require.EqualError(t, err, "admin "+addr+": no node answers: it said nothing within 50ms", timeout)
		require.ErrorIs(t, err, ErrUnreachable)
	}
}

// Another protocol's port, which stays open.
func TestAddressThatSpeaksNoHTTPIsUnreachable(t *testing.T) {
	addr := listening(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_, _ = io.WriteString(conn, "500 what?\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	_, err := patience{first: time.Hour, word: time.Hour, report: time.Hour}.
		verify(soon(t), addr, 0, engine.VerifyOptions{})
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "malformed HTTP")
}

// A node that begins too late has been told to end: what it compared is no answer.
func TestLineThatComesTooLateIsNoAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(engine.VerifyReport{Schema: 1, Kind: "verify", Ended: engine.VerifyInterrupted})
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	_, err := brief.verify(soon(t), addr, 0, engine.VerifyOptions{})
	require.EqualError(t, err, "admin "+addr+": no node answers: it said nothing within 50ms")
}

// After its first line a node may compare for as long as it likes.
func TestNodeThatHasSpokenIsWaitedFor(t *testing.T) {
	addr := nodeThatCompares(t, &engine.VerifyReport{Schema: 1, Kind: "verify"})
	p := patience{first: 2 * time.Second, word: 0, report: time.Minute}
	report, err := p.verify(soon(t), addr, 2100*time.Millisecond, engine.VerifyOptions{})
	require.NoError(t, err)
	require.Equal(t, engine.VerifyTimeout, report.Ended)
}

// Whose fault it is decides about the exit code.
func TestRefusalSaysWhoseFaultItIs(t *testing.T) {
	for status, class := range map[int]error{
		http.StatusBadRequest:          ErrQuestion,
		http.StatusConflict:            ErrRefused,
		http.StatusServiceUnavailable:  ErrUnreachable,
		http.StatusInternalServerError: ErrFailed,
		http.StatusNotFound:            ErrAnswer, // a node of another release
		http.StatusMethodNotAllowed:    ErrAnswer,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(admin.Fault{Error: "its reason", Next: "its step"})
		}))
		defer server.Close()
		addr := strings.TrimPrefix(server.URL, "http://")
		_, err := Verify(soon(t), addr, 0, engine.VerifyOptions{})
		require.ErrorIs(t, err, class, "%d", status)
		require.ErrorContains(t, err, "admin "+addr+": its reason: ")
	}
}
