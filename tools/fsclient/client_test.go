package fsclient

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
		require.ErrorIs(t, c.Ls(t.Context(), "/", func(fsapi.Name) error { return nil }), want, text)
	}
}
