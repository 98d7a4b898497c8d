package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFourSitesOfOneUser: their rings and locked memory are counted together where the
// user is not root (ci/ordinary), and the sites get along all the same.
func TestFourSitesOfOneUser(t *testing.T) {
	names := []string{"site-a", "site-b", "site-c", "site-d"}
	listen, admin := make([]string, len(names)), make([]string, len(names))
	for i, l := range freePorts(t, 2*len(names)) {
		if i < len(names) {
			listen[i] = l
		} else {
			admin[i-len(names)] = l
		}
	}
	for i, site := range names {
		args := []string{
			"server", "--cluster", "try", "--site", site, "--data", filepath.Join(t.TempDir(), site),
			"--primary", "site-a",
			"--listen", listen[i], "--admin", admin[i], "--insecure", "--segment-bytes", "8MiB",
		}
		for j, peer := range names {
			if j != i {
				args = append(args, "--peer", peer+"="+listen[j])
			}
		}
		c := exec.Command("cfs", args...)
		c.Stderr = os.Stderr
		require.NoError(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	tree := t.TempDir()
	for i := range 40 {
		require.NoError(t, os.WriteFile(filepath.Join(tree, fmt.Sprint(i)), make([]byte, 64<<10), 0o644))
	}
	run := func(args ...string) (string, error) {
		text, err := exec.Command("cfs", args...).Output()
		return string(text), err
	}
	deadline := time.Now().Add(scriptWait)
	await := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			require.True(t, time.Now().Before(deadline), "%s: not in time", what)
		}
	}
	await("import", func() bool {
		_, err := run("fs", "import", tree, "--admin", admin[0], "--import-id", "four")
		return err == nil
	})
	want, err := run("fs", "digest", "--admin", admin[0])
	require.NoError(t, err)
	for i := range names {
		await(names[i], func() bool {
			got, err := run("fs", "digest", "--admin", admin[i])
			return err == nil && got == want
		})
		status, err := run("admin", "replication", "status", "--admin", admin[i], "-o", "json")
		require.NoError(t, err)
		require.NotContains(t, status, "journal stopped")
	}
}

// freePorts are loopback addresses where nobody listens.
func freePorts(t *testing.T, count int) (all []string) {
	t.Helper()
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}
