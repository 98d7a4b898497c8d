package fsclient

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsapi"
)

// What cannot be read is either no answer of a node or an answer that broke off, and
// only the second may be better the next time.
func TestWhatCannotBeReadIsToldApart(t *testing.T) {
	for text, want := range map[string]error{
		"<html>":                          ErrAnswer,
		`[1]`:                             ErrAnswer,
		`{"names": 1, "schema": 1}`:       ErrAnswer,
		`{"schema": 2}`:                   ErrAnswer,
		`{}`:                              ErrAnswer,
		`{"schema": 1, "names": [{"name"`: ErrUnreachable,
		``:                                ErrUnreachable,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, text)
		}))
		defer server.Close()
		c := New(strings.TrimPrefix(server.URL, "http://"))
		defer c.Close()
		require.ErrorIs(t, c.Ls(t.Context(), "/", false, func(fsapi.Name) error { return nil }), want, text)
	}
}

// A node that hangs accepts connections, because its kernel does. One that is at work
// says so, and is given its time.
func TestNodeThatSaysNothingIsGivenUp(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer hung.Close()
	c := New(hung.Addr().String())
	defer c.Close()
	c.silenceMax = 100 * time.Millisecond
	for name, ask := range map[string]func() error{
		"stat": func() error { _, err := c.Stat(t.Context(), "/"); return err },
		"mv":   func() error { return c.Mv(t.Context(), "/a", "/b") },
	} {
		err := ask()
		require.ErrorIs(t, err, ErrUnreachable, name)
		require.ErrorContains(t, err, "nothing came for 100ms", name)
	}

	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		<-time.After(5 * c.silenceMax) // the client has been told that it may take this long
		fmt.Fprint(w, `{"schema": 1, "path": "/"}`)
	}))
	defer slow.Close()
	c.addr = strings.TrimPrefix(slow.URL, "http://")
	_, err = c.Stat(t.Context(), "/")
	require.NoError(t, err)
}
