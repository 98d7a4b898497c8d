package cli

import (
	"bufio"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsnode"
)

// service is a server as systemd starts one: what it tells, and its end.
type service struct {
	*exec.Cmd
	t      *testing.T
	stderr *bufio.Reader
	pipe   io.Closer
	told   *net.UnixConn
}

func startService(t *testing.T, dir string, more ...string) *service {
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = told.Close() })
	s := &service{t: t, told: told}
	args := []string{"server", "--cluster", "try", "--site", "site-a", "--data", dir, "--admin", "127.0.0.1:0"}
	s.Cmd = exec.Command("cfs", append(args, more...)...)
	s.Env = append(os.Environ(), "NOTIFY_SOCKET="+told.LocalAddr().String())
	pipe, err := s.StderrPipe()
	require.NoError(t, err)
	s.stderr, s.pipe = bufio.NewReader(pipe), pipe
	require.NoError(t, s.Start())
	t.Cleanup(func() { _ = s.Process.Kill() })
	return s
}

// says waits for a line of stderr that begins like this.
func (s *service) says(begin string) string {
	s.t.Helper()
	for {
		line, err := s.stderr.ReadString('\n')
		require.NoError(s.t, err, "it ended without saying %q", begin)
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
}

// tells waits for a message to systemd that has this in it.
func (s *service) tells(text string) {
	s.t.Helper()
	require.NoError(s.t, s.told.SetReadDeadline(time.Now().Add(scriptWait)))
	for b := make([]byte, 4096); ; {
		n, err := s.told.Read(b)
		require.NoError(s.t, err, "it did not tell %q", text)
		if strings.Contains(string(b[:n]), text) {
			return
		}
	}
}

// ends waits for the end of the process.
func (s *service) ends(code int) {
	s.t.Helper()
	watchdog := time.AfterFunc(scriptWait, func() { _ = s.Process.Kill() })
	defer watchdog.Stop()
	err := s.Wait()
	if exit := new(exec.ExitError); code != 0 && errors.As(err, &exit) {
		require.Equal(s.t, code, exit.ExitCode())
		return
	}
	require.NoError(s.t, err)
}

func TestServerOutlivesWhoReadsItsLog(t *testing.T) {
	s := startService(t, t.TempDir())
	s.says("ready: ")
	s.tells("READY=1")
	require.NoError(t, s.pipe.Close())
	require.NoError(t, s.Process.Signal(syscall.SIGHUP))
	require.NoError(t, s.Process.Signal(syscall.SIGPIPE))
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	s.tells("STOPPING=1") // in good order, whatever it had to say
	s.ends(0)
}

// A segment of 64 GiB, a hole nearly all of it, is read for minutes.
func TestServerThatOpensSaysSoAndEndsWhenTold(t *testing.T) {
	dir := t.TempDir()
	s := startService(t, dir, "--segment-bytes", "64GiB", "--io", "portable")
	s.says("ready: ")
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	s.ends(0)
	s = startService(t, dir, "--io", "portable")
	s.says("opening for ")
	s.tells("STATUS=opening for ")
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	s.says("stopped while opening")
	s.ends(0)
}

func TestServerThatLosesItsDirectoryEndsWithFact(t *testing.T) {
	dir := t.TempDir()
	s := startService(t, dir, "--segment-bytes", "4MiB")
	_, at, _ := strings.Cut(s.says("ready: "), "  admin ")
	at, _, _ = strings.Cut(at, " ")
	tree := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.Mkdir(tree, 0o755))
	for _, name := range []string{"a", "b", "c", "d"} {
		data := make([]byte, 16<<20) // no zeros: holes are not sent
		_, _ = rand.NewChaCha8([32]byte{name[0]}).Read(data)
		require.NoError(t, os.WriteFile(filepath.Join(tree, name), data, 0o644))
	}
	for _, name := range []string{"store", "repl"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	writer := exec.CommandContext(t.Context(), "cfs", "fs", "import", tree, "--admin", at, "--retry-for", "1h")
	require.NoError(t, writer.Start()) // it goes on until the server has ended, however slow both are
	s.says("error: ")
	s.ends(ExitFailed)
	require.NoError(t, writer.Process.Kill())
	require.Error(t, writer.Wait())
}

func TestServerFitsItsMemory(t *testing.T) {
	var o fsnode.Options
	require.NoError(t, fitMemory(&o, 0, ""))
	require.NoError(t, fitMemory(&o, memoryWanted, "memory.max"))
	require.Zero(t, o.CacheBytes)
	require.NoError(t, fitMemory(&o, memoryLeast, "memory.max"))
	require.NotZero(t, o.CacheBytes)
	err := fitMemory(&o, 64<<20, "memory.max")
	debug.SetMemoryLimit(math.MaxInt64) // this process has none
	require.ErrorContains(t, err, "cannot work with 64 MiB of memory (memory.max), need 128 MiB")
}
