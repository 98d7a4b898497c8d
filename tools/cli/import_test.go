package cli

import (
	"bytes"
	"context"
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

// Silence is counted from the last answer, and only while connections fail: an
// import that waits for a slow disk of its own is not given up.
func TestImportEndsAtSilenceOnly(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := silence{limit: time.Minute, cancel: cancel}
	s.look(&fsclient.Progress{Answers: 1})
	s.since = s.since.Add(-time.Hour)
	s.look(&fsclient.Progress{Answers: 1})
	require.NoError(t, ctx.Err())

	s.look(&fsclient.Progress{Answers: 2, Reconnects: 3})
	require.WithinDuration(t, time.Now(), s.since, time.Minute)
	s.since = s.since.Add(-time.Hour)
	lost := errors.New("connection refused")
	s.look(&fsclient.Progress{Answers: 2, Reconnects: 4, LastError: lost})
	require.ErrorIs(t, context.Cause(ctx), errSilent)
	require.ErrorIs(t, context.Cause(ctx), lost)
	require.Equal(t, ExitUnreachable, classify(importFailure(context.Cause(ctx), "again")).Code)
}
