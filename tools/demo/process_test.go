package demo

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func shell(t *testing.T, script string) (*process, chan error) {
	died := make(chan error, 1)
	p := &process{
		name: "site-a", path: "/bin/sh", args: []string{"-c", script}, died: died,
		logPath: filepath.Join(t.TempDir(), "log"),
	}
	require.NoError(t, p.start())
	t.Cleanup(p.stop)
	return p, died
}

func TestEndedServerIsReportedWithLastWords(t *testing.T) {
	p, died := shell(t, "echo one; echo error: listen: address already in use >&2; exit 3")
	err := <-died
	require.ErrorIs(t, err, ErrDied)
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "one | error: listen: address already in use")
	<-p.exited
	require.True(t, p.portTaken(err))
}

func TestServerThatReachesItsFailpointIsNoDeath(t *testing.T) {
	p, died := shell(t, "read wait; exit 86 # $@")
	p.stop()
	require.NoError(t, p.startAt("flush:1:before"))
	require.True(t, p.ended(t.Context()), "its input is empty, so it ends")
	require.Empty(t, died)
	require.Contains(t, p.cmd.Args, "--failpoint")
	require.NoError(t, p.start())
	require.NotContains(t, p.cmd.Args, "--failpoint")
}

func TestKilledServerIsNotToldAndStartsAgain(t *testing.T) {
	p, died := shell(t, "exec sleep 1000")
	for range 3 {
		require.NoError(t, p.kill())
		require.NoError(t, p.kill(), "a second kill finds nobody")
		require.NoError(t, p.start())
	}
	p.stop()
	require.Empty(t, died)
}
