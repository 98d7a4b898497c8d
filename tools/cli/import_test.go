package cli

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/tools/fsclient"
)

// What is not as it was at the source makes the import a partial one.
func TestImportThatLeftSomethingOutIsPartly(t *testing.T) {
	var stdout, stderr bytes.Buffer
	a := &app{stdout: tty.New(&stdout), stderr: tty.New(&stderr)}
	r := &importReport{Schema: 1, Kind: "import", Report: fsclient.Report{
		Progress: fsclient.Progress{Files: 9, Dirs: 1, Bytes: 2048, Entries: 20, Unreadable: 1, Skipped: 3, Seconds: 2},
	}}
	err := a.showImport(&output{format: FormatTable, stdout: &stdout}, r)
	require.Equal(t, ExitPartly, classify(err).Code)
	require.Equal(t, "imported 10 names, 2.0 KiB in 2.0s: 20 entries, 10/s\n"+
		"  3 skipped: devices, sockets, fifos\n  1 unreadable\n", stdout.String())
}

// TestSilentImportSaysWhichSilence: a server that is there does not want to be started.
func TestSilentImportSaysWhichSilence(t *testing.T) {
	for code, silent := range map[int]*fsclient.SilentError{
		ExitUnreachable: {Max: time.Minute, Cause: errors.New("connection refused")},
		ExitTimeout:     {Max: time.Minute, Here: true},
	} {
		f := classify(importFailure(silent, "again"))
		require.Equal(t, code, f.Code)
		require.Contains(t, f.Next, "again")
		require.Contains(t, f.Error(), "within 1m0s")
	}
}
