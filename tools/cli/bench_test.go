package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchPatience bounds what should come at once.
const benchPatience = 30 * time.Second

// keysOf lists the paths of all keys in v; the elements of a list are alike.
func keysOf(v any, path string, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, sub := range v {
			keys[path+"."+key] = true
			keysOf(sub, path+"."+key, keys)
		}
	case []any:
		for _, sub := range v {
			keysOf(sub, path+"[]", keys)
		}
	}
}

func jsonKeys(t *testing.T, text []byte) []string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(text, &v), string(text))
	keys := map[string]bool{}
	keysOf(v, "", keys)
	return slices.Sorted(maps.Keys(keys))
}

// A real run prints the keys of the golden file, every one of them.
func TestBenchPrintsTheKeysOfItsContract(t *testing.T) {
	code, stdout, stderr := run("bench", "--level", "local", "--rate", "200", "--shards", "4", "--duration", "200ms",
		"--warm", "50ms", "--memory", "--json", "--fail-if", "errors>0")
	require.Zero(t, code, stderr)
	want, err := os.ReadFile("testdata/json/bench.json")
	require.NoError(t, err)
	got := jsonKeys(t, []byte(stdout))
	for _, key := range jsonKeys(t, want) {
		if strings.HasPrefix(key, ".schedule_delay.buckets[]") {
			continue // kept for the latencies only
		}
		require.Contains(t, got, key)
	}
	for _, key := range got {
		require.Contains(t, jsonKeys(t, want), key)
	}
}

// bench is a "cfs bench" of an hour in a process of its own, measuring.
type benchProcess struct {
	cmd      *exec.Cmd
	dir      string
	children []int
	stdout   bytes.Buffer
	stderr   *watched
}

// watched is a stderr that tells when a word has come.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func startBench(t *testing.T, args ...string) *benchProcess {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	b := &benchProcess{dir: t.TempDir(), stderr: &watched{}}
	b.cmd = exec.Command(binary, append([]string{"bench", "--clients", "2", "--shards", "4", "--duration", "1h",
		"--warm", "10ms", "--link", "portable", "--dir", b.dir}, args...)...)
	b.cmd.Args[0] = "cfs"
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, b.stderr
	require.NoError(t, b.cmd.Start())
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	require.Eventually(t, func() bool { return strings.Contains(b.stderr.String(), " p99 ") }, benchPatience,
		5*time.Millisecond, "it measures")
	b.children = childrenOf(t, b.cmd.Process.Pid)
	return b
}

// childrenOf finds a process's children by their parent.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if parent, _ := strconv.Atoi(fields[1]); parent == pid {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			children = append(children, child)
		}
	}
	return children
}

// gone waits until the children have ended and the directory is empty.
func (b *benchProcess) gone(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, pid := range b.children {
			if running(pid) {
				return false
			}
		}
		names, err := os.ReadDir(b.dir)
		return err == nil && len(names) == 0
	}, benchPatience, 5*time.Millisecond, "something was left behind")
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if state, ok := strings.CutPrefix(scan.Text(), "State:"); ok {
			return !strings.Contains(state, "Z")
		}
	}
	return false
}

// An interrupt prints what was measured so far, marked invalid.
func TestInterruptedBenchTellsWhatItHas(t *testing.T) {
	b := startBench(t, "--json", "--rtt", "2ms")
	require.Len(t, b.children, 2, "the far end and the proxy")
	require.NoError(t, b.cmd.Process.Signal(os.Interrupt))
	require.Error(t, b.cmd.Wait())
	require.Equal(t, ExitFailed, b.cmd.ProcessState.ExitCode())
	require.Contains(t, b.stderr.String(), "error: interrupted\n")
	var r struct {
		Invalid bool
		Reasons []struct{ Code string } `json:"invalid_reasons"`
		Entries int64                   `json:"entries_count"`
	}
	require.NoError(t, json.Unmarshal(b.stdout.Bytes(), &r), b.stdout.String())
	require.True(t, r.Invalid)
	require.Equal(t, "interrupted", r.Reasons[0].Code)
	require.Positive(t, r.Entries)
	b.gone(t)
}

// A far end that is killed is told, and its directory is removed for it.
func TestBenchOutlivesItsFarEnd(t *testing.T) {
	b := startBench(t)
	require.Len(t, b.children, 1)
	require.NoError(t, syscall.Kill(b.children[0], syscall.SIGKILL))
	require.Error(t, b.cmd.Wait())
	require.Equal(t, ExitFailed, b.cmd.ProcessState.ExitCode())
	require.Contains(t, b.stderr.String(), "error: the far end is gone: ")
	require.Contains(t, b.stderr.String(), "next: look at the far end, then run again\n")
	require.Contains(t, b.stdout.String(), "INVALID   the far end is gone")
	b.gone(t)
}

// A near end that is killed can do nothing any more: its children do it.
func TestKilledBenchLeavesNothingBehind(t *testing.T) {
	b := startBench(t, "--rtt", "2ms")
	require.NoError(t, b.cmd.Process.Kill())
	require.Error(t, b.cmd.Wait())
	b.gone(t)
}
