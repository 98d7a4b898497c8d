package fsclient

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSilenceIsTheNodes: it is counted from the last answer on, only while something is
// asked for, and not while the client itself stood still.
func TestSilenceIsTheNodes(t *testing.T) {
	const most = 3 * time.Second
	var s silence
	require.NoError(t, s.tick(time.Hour, most), "a slow tree")
	s.asked()
	require.NoError(t, s.tick(time.Hour, most), "a client that slept")
	require.NoError(t, s.tick(time.Second, most))
	s.asked()
	s.answered()
	for range 2 {
		require.NoError(t, s.tick(time.Second, most))
	}
	s.here = true
	silent, ok := errors.AsType[*SilentError](s.tick(time.Second, most))
	require.True(t, ok)
	require.Equal(t, SilentError{Max: most, Here: true}, *silent)
	require.NoError(t, s.tick(time.Hour, 0), "no end is asked for")
	s.answered()
	require.NoError(t, s.tick(time.Hour, most))
	require.Zero(t, s.open)
}

// TestImportOutwaitsNoSilence: of a node that is there and does nothing, whether it says so
// or not, as of one that is away (I14).
func TestImportOutwaitsNoSilence(t *testing.T) {
	tree := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o600))
	stat := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"no such file","errno":"ENOENT"}`))
	}
	end := make(chan struct{})
	defer close(end)
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request){
		"at work on a question": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusProcessing)
			<-end
		},
		"appends wait": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				stat(w)
				return
			}
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			_ = rc.Flush()
			<-end
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(serve))
			t.Cleanup(server.CloseClientConnections)
			c := New(strings.TrimPrefix(server.URL, "http://"))
			defer c.Close()
			_, err := c.Import(t.Context(), tree, ImportOptions{ID: "1", SilenceMax: time.Second})
			silent, ok := errors.AsType[*SilentError](err)
			require.True(t, ok, "%v", err)
			require.True(t, silent.Here)
			require.NoError(t, silent.Cause)
		})
	}
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := New(strings.TrimPrefix(server.URL, "http://"))
	_, err := c.Import(t.Context(), tree, ImportOptions{ID: "1", SilenceMax: time.Second})
	silent, ok := errors.AsType[*SilentError](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, silent, ErrUnreachable)
	require.NotErrorIs(t, silent, context.Canceled)
}
