package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
)

// statusNode answers with a status, and refuses everything else.
func statusNode(t *testing.T, status *engine.Status) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			_ = json.NewEncoder(w).Encode(status)
			return
		}
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(fsapi.Error{Text: "no"})
	}))
	t.Cleanup(server.Close)
	t.Setenv(adminEnv, strings.TrimPrefix(server.URL, "http://"))
}

// verbsBelow are the leaves of c with that impact.
func verbsBelow(c *cobra.Command, impact Impact) (paths []string) {
	if c.Annotations[impactKey] == string(impact) {
		paths = append(paths, c.CommandPath())
	}
	for _, sub := range c.Commands() {
		paths = append(paths, verbsBelow(sub, impact)...)
	}
	return paths
}

// Who writes into a cluster that is FAILED learns it from the verb that writes.
func TestWritingVerbsWarnWhenFailed(t *testing.T) {
	arguments := map[string][]string{
		"import": {t.TempDir(), "--to", "/x", "--retry-for", "1ms"}, "put": {"-", "/x"}, "mkdir": {"/x"},
		"rmdir": {"/x"}, "ln": {"/x", "/y"}, "mv": {"/x", "/y"}, "rm": {"/x"}, "chmod": {"0640", "/x"},
		"chown": {"1", "/x"}, "touch": {"/x"}, "truncate": {"/x", "1"}, "xattr set": {"/x", "a", "b"},
		"xattr rm": {"/x", "a"},
	}
	failed := healthyStatus()
	failed.Health, failed.Reason = "FAILED", "site site-b: refused"
	verbs := verbsBelow((&app{}).fs(), Change)
	require.Len(t, verbs, len(arguments))
	for _, verb := range verbs {
		line := append(strings.Fields(verb), arguments[strings.TrimPrefix(verb, "fs ")]...)
		statusNode(t, failed)
		_, stdout, stderr := run(line...)
		require.True(t, strings.HasPrefix(stderr,
			"warning: site-a is FAILED: site site-b: refused; what is written now may be at this site alone\n"),
			"%s: %s", line, stderr)
		require.NotContains(t, stdout, "warning")
		statusNode(t, healthyStatus())
		_, _, stderr = run(line...)
		require.NotContains(t, stderr, "warning", line)
	}
	statusNode(t, failed)
	_, _, stderr := run("fs", "ls", "/")
	require.NotContains(t, stderr, "warning", "it writes nothing")
}

// Monitoring that got no text knows nothing, whatever was found.
func TestCheckWithoutOutputIsUnknown(t *testing.T) {
	failed := healthyStatus()
	failed.Health = "FAILED"
	for _, status := range []*engine.Status{healthyStatus(), silentStatus(), failed} {
		for _, format := range []string{"text", "json", "nagios", "prometheus"} {
			statusNode(t, status)
			var stderr strings.Builder
			line := []string{"admin", "replication", "check", "-o", format}
			code := Main(line, strings.NewReader(""), fullDisk{}, &stderr)
			require.Equal(t, checkUnknown, code, stderr.String())
			require.Contains(t, stderr.String(), "error: cannot write to standard output: no space left on device\n")
		}
	}
}
