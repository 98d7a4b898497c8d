package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
)

// fullDisk is a file on a disk without room.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

// A script that keeps what a verb prints must learn that nothing was kept.
func TestOutputThatIsLostIsAFailure(t *testing.T) {
	t.Setenv(adminEnv, hostileNode(t))
	frames := filepath.Join(t.TempDir(), "link.frames")
	require.NoError(t, os.WriteFile(frames, nil, 0o600))
	for _, line := range []string{
		"version", "version -o wide", "version -o json", "--version", "commands", "commands -o jsonl", "",
		"--help", "help exit-codes", "fs --help", "fs ls --help",
		"dump frame " + frames, "dump frame -o json " + frames,
		"sim run --seeds 1", "sim plan 1",
		"admin replication status", "admin replication status -o json",
		"admin replication lag", "admin replication lag -o jsonl", "fs ls", "fs ls -o wide", "fs ls -o json",
		"fs stat /x", "fs stat /x -o json", "fs cat /x", "fs digest", "fs digest -o json",
	} {
		var stderr strings.Builder
		code := Main(strings.Fields(line), strings.NewReader(""), fullDisk{}, &stderr)
		require.Equal(t, ExitFailed, code, "%s: %s", line, stderr.String())
		require.True(t, strings.HasSuffix(stderr.String(),
			"error: cannot write to standard output: no space left on device\n"+
				"next: send the output to a file or pipe that takes it, then run it again\n"), "%s: %s", line, &stderr)
	}
}

const hostile = "report\x1b]0;pwned\x07\x1b[2J\u202e\u009b31m.txt\nsecond\tline\r\xe9"

// hostileNode is a node all of whose names are hostile.
func hostileNode(t *testing.T) (addr string) {
	status := silentStatus()
	status.Site, status.Reason, status.Peers[0].Reason = hostile, hostile, hostile
	status.Peers[0].StoppedLogs = []engine.StoppedLog{{Site: hostile, Code: hostile, Reason: hostile}}
	answers := map[string]any{
		"/v1/status": status,
		"/v1/fs/ls": fsapi.Listing{Schema: 1, Names: []fsapi.Name{
			fsapi.EntryOf(&namespace.Entry{Name: hostile}), fsapi.EntryOf(&namespace.Entry{Name: "second"}),
		}},
		"/v1/fs/stat":   fsapi.StatOf("", &namespace.Attr{Type: namespace.TypeSymlink, Target: hostile}),
		"/v1/fs/cat":    hostile,
		"/v1/fs/digest": fsapi.Digest{Schema: 1, Hash: hostile},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusConflict)
			answer = fsapi.Error{Text: hostile, Next: hostile}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
