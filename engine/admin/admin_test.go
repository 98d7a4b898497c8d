package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

func open(t *testing.T) *engine.Engine {
	e, err := engine.Open(context.Background(), engine.Options{
		Cluster: "test", Site: "site-a", Dir: "/data", Shards: 4, SegmentBytes: 4 << 20,
		Store: store.NewMem(), FS: vfs.NewMem(vfs.MemOptions{}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

func ask(t *testing.T, e *engine.Engine, method, path string, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	admin.Handler(e).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), into), w.Body.String())
	return w.Code
}

func TestStatusIsServedAsSchema1(t *testing.T) {
	var s engine.Status
	require.Equal(t, http.StatusOK, ask(t, open(t), "GET", "/v1/status", &s))
	require.Equal(t, 1, s.Schema)
	require.Equal(t, "status", s.Kind)
	require.Equal(t, "site-a", s.Site)
	require.Equal(t, "OK", s.Health)
	require.Len(t, s.Journals, 2)
}

func TestProbesAnswerDuringAndAfterRun(t *testing.T) {
	e := open(t)
	var body map[string]string
	require.Equal(t, http.StatusOK, ask(t, e, "GET", "/livez", &body))
	require.Equal(t, http.StatusOK, ask(t, e, "GET", "/readyz", &body))
	require.NoError(t, e.Close(context.Background()))
	var fault admin.Fault
	require.Equal(t, http.StatusServiceUnavailable, ask(t, e, "GET", "/livez", &fault))
	require.Equal(t, "the engine is closed", fault.Error)
	require.Equal(t, http.StatusServiceUnavailable, ask(t, e, "GET", "/readyz", &fault))
	require.NotEmpty(t, fault.Next)
}

func TestWhatIsNotServedIsRefusedWithTheNextStep(t *testing.T) {
	e := open(t)
	var fault admin.Fault
	require.Equal(t, http.StatusNotFound, ask(t, e, "GET", "/v2/status", &fault))
	require.Contains(t, fault.Next, "/v1/status")
	require.Equal(t, http.StatusBadRequest, ask(t, e, "GET", "/v1/verify?peer=site-x", &fault))
	require.Contains(t, fault.Error, "site-x")
	require.Equal(t, http.StatusBadRequest, ask(t, e, "GET", "/v1/verify?lo=one", &fault))
	require.Contains(t, fault.Error, "lo is")
	require.Equal(t, http.StatusBadRequest, ask(t, e, "GET", "/v1/verify?deep=very", &fault))
	require.Contains(t, fault.Error, "deep is")
	require.Equal(t, http.StatusMethodNotAllowed, ask(t, e, "POST", "/v1/status", &fault))
	require.Contains(t, fault.Error, "POST")
}
