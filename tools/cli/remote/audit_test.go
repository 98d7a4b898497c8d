package remote_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
)

// TestUnfinishedTrailIsNotWhole: an answer without its last line, or with an error in it, was
// not read to its end, whatever came before.
func TestUnfinishedTrailIsNotWhole(t *testing.T) {
	const line = `{"seq":1,"kind":"refused"}` + "\n"
	for answer, want := range map[string]error{
		line: remote.ErrTrail,
		"":   remote.ErrTrail,
		line + `{"schema":1,"kind":"audit-end","error":"no disk"}` + "\n": remote.ErrTrail,
		line + `{"schema":1,"kind":"other"}` + "\n":                       remote.ErrAnswer,
		"<html>": remote.ErrAnswer,
		line + `{"schema":1,"kind":"audit-end","records":1}` + "\n": nil,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer)
		}))
		_, err := remote.AuditTrail(context.Background(), strings.TrimPrefix(server.URL, "http://"), time.Time{},
			func(*engine.AuditRecord) error { return nil })
		server.Close()
		if want == nil {
			require.NoError(t, err, answer)
			continue
		}
		require.ErrorIs(t, err, want, answer)
	}
}
