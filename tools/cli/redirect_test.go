package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
)

// twoSites starts two servers as processes, which know each other's admin addresses, and returns
// these once the first takes appends.
func twoSites(t *testing.T) (admins []string) {
	t.Helper()
	ports := freePorts(t, 4)
	names, listen, admins := []string{"site-a", "site-b"}, ports[:2], ports[2:]
	for i, site := range names {
		other := 1 - i
		dir := filepath.Join(t.TempDir(), site)
		c := exec.Command("cfs", "server", "--cluster", "try", "--site", site, "--data", dir, "--primary", "site-a",
			"--listen", listen[i], "--admin", admins[i], "--insecure",
			"--peer", names[other]+"="+listen[other], "--peer-admin", names[other]+"="+admins[other])
		c.Stderr = os.Stderr
		require.NoError(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	soonTrue(t, "the first site takes appends, and the second is there", func() bool {
		s, err := remote.Status(t.Context(), admins[0])
		_, other := remote.Status(t.Context(), admins[1])
		return err == nil && other == nil && s.Appends.State == engine.AppendsOpen && len(s.Peers) == 1 &&
			s.Peers[0].Health == engine.HealthOK
	})
	return admins
}

// soonTrue polls within scriptWait.
func soonTrue(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, scriptWait, 20*time.Millisecond, what)
}

// oddJob moves the writer when so many operations were acknowledged, and holds the client up at
// twice as many until that is done: so it is done while the client has much left to do.
type oddJob struct {
	move func() error
	acks int
	at   int
	done chan error // of a move under way
}

func (j *oddJob) acknowledged() (err error) {
	j.acks++
	switch {
	case j.acks%j.at != 0:
	case j.acks/j.at%2 == 1:
		go func() { j.done <- j.move() }() // ends with the move
	default:
		err = <-j.done
	}
	return err
}

// TestImportGoesOnOverSwitchovers: the client knows one address, follows the writer there and back,
// and each operation is done once (I2), at both sites.
func TestImportGoesOnOverSwitchovers(t *testing.T) {
	admins := twoSites(t)
	tree := t.TempDir()
	for i := range 3000 {
		dir := filepath.Join(tree, fmt.Sprint("top", i%8))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), fmt.Appendf(nil, "file %d", i), 0o644))
	}
	sites, writer, moves, stalls := []string{"site-a", "site-b"}, 0, 0, 0.0
	job := &oddJob{at: 500, done: make(chan error, 1)}
	job.move = func() error {
		o := engine.FailoverOptions{Lossless: true, Timeout: scriptWait}
		r, err := remote.Failover(context.Background(), admins[writer], sites[1-writer], o)
		if err != nil {
			return err
		}
		writer, moves, stalls = 1-writer, moves+1, max(stalls, r.StallMs)
		role, err := parseCondition("role=primary")
		if err == nil {
			_, err = awaitConditions(context.Background(), admins[writer], []awaited{role}, scriptWait)
		}
		return err
	}
	acked := map[string]bool{}
	client := fsclient.New(admins[0])
	defer client.Close()
	report, err := client.Import(t.Context(), tree, fsclient.ImportOptions{
		ID: "moves", SilenceMax: scriptWait,
		AckLog: func(a fsclient.Ack) error {
			acked[fmt.Sprintf("%x", a.Request[:])] = true
			return job.acknowledged()
		},
	})
	require.NoError(t, err)
	if job.acks/job.at%2 == 1 {
		require.NoError(t, <-job.done)
	}
	require.False(t, report.Partly(), report.Errors)
	require.Greater(t, moves, 2, "of %d operations", job.acks)
	var digest fsapi.Digest
	soonTrue(t, "the sites are equal", func() bool {
		a, errA := fsclient.New(admins[0]).Digest(t.Context())
		b, errB := fsclient.New(admins[1]).Digest(t.Context())
		digest = a
		return errA == nil && errB == nil && a.Hash == b.Hash
	})
	require.EqualValues(t, 3000, digest.Names-8, "every file, in 8 directories")
	for i, admin := range admins {
		done := map[string]int{}
		require.NoError(t, fsclient.New(admin).Decided(t.Context(), 0, func(r fsapi.DecidedRow) error {
			done[r.Request]++
			return nil
		}))
		for request := range acked {
			require.Equal(t, 1, done[request], "%s: request %s", sites[i], request)
		}
	}
	t.Logf("%d operations, %d switchovers, %d connections lost, appends waited %.0f ms at most", job.acks, moves,
		report.Reconnects, stalls)
}

// TestVerbsGoToTheWriter: a verb that is given a standby's address does its work at the site that
// writes, and one that has several addresses goes on where a site is gone.
func TestVerbsGoToTheWriter(t *testing.T) {
	admins := twoSites(t)
	code, _, stderr := run("fs", "mkdir", "/one", "--admin", admins[1])
	require.Zero(t, code, stderr)
	gone := freePorts(t, 1)[0]
	code, _, stderr = run("fs", "mkdir", "/two", "--admin", gone, "--admin", admins[1])
	require.Zero(t, code, stderr)
	t.Setenv(adminEnv, gone+","+admins[1])
	code, stdout, stderr := run("fs", "ls")
	require.Zero(t, code, stderr)
	require.Equal(t, "one\ntwo\n", stdout)
	code, _, stderr = run("fs", "put", os.Args[0], "/one/put", "--admin", admins[1])
	require.Zero(t, code, stderr)
	code, _, stderr = run("fs", "rm", "/one/put", "--admin", admins[1])
	require.Zero(t, code, stderr)

	// One address of a site that is gone is nobody's, at once.
	code, _, stderr = run("fs", "mkdir", "/three", "--admin", gone)
	require.Equal(t, ExitUnreachable, code, stderr)
}
