package cli

import (
	"bufio"
	"context"
	"fmt"
	stdio "io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// What a flood of strangers may cost a server, and a peer that comes meanwhile.
const (
	strangersDialMax    = 2 * time.Second
	strangersMemoryMax  = 64 << 20
	strangersThreadsMax = 8
)

// flood is a crowd at a port: silent connections that stay, and as many new ones each
// second, of which some send a hello of another cluster with 4 MiB to follow, some garbage.
type flood struct {
	silent, rate int
	opened       atomic.Int64
}

// run floods addr until ctx ends.
func (f *flood) run(ctx context.Context, addr string) {
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	hello := (&wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, Cluster: 1, Site: 2, Peer: 3, Term: 1, Counter: 1,
		Shards: 4, DigestKind: wire.DigestXXH3, ClusterName: "another", SiteName: "site-a", PeerName: "site-b",
	}).AppendTo(nil, 0)
	hello = wire.AppendBatchesEnvelope(hello, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 4, WireBytes: wire.FrameBytesMax - wire.EnvelopeBytes,
		PlainBytes: wire.FrameBytesMax - wire.EnvelopeBytes, Session: 1, Number: 1,
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for range f.rate / 100 {
			n++
			// Several addresses, so that ports do not run out.
			d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%8))}}
			c, err := d.Dial("tcp", addr)
			if err != nil {
				continue
			}
			f.opened.Add(1)
			switch n % 20 {
			case 0:
				_, _ = c.Write(hello) // whoever hangs up on it is right
			case 1:
				_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
			}
			if held = append(held, c); len(held) > f.silent {
				_ = held[0].Close()
				held = held[1:]
			}
		}
	}
}

// costs is what a process has: memory that is its own, and threads.
func costs(t *testing.T, pid int) (rssBytes, threads int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		switch name {
		case "VmRSS":
			rssBytes, err = strconv.Atoi(fields[0])
			rssBytes <<= 10
		case "Threads":
			threads, err = strconv.Atoi(fields[0])
		}
		require.NoError(t, err)
	}
	return rssBytes, threads
}

// startSite starts a server of a pair, and returns it with its address when it is ready
// and has said as well what says has in it, in any order.
func startSite(t *testing.T, says, site, listen, peer string, more ...string) (*exec.Cmd, string, *bufio.Reader) {
	t.Helper()
	args := []string{
		"server", "--cluster", "try", "--site", site, "--data", filepath.Join(t.TempDir(), "data"), "--shards", "16",
		"--listen", listen, "--peer", peer, "--primary", "site-a", "--insecure",
	}
	c := exec.Command("cfs", append(args, more...)...)
	pipe, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	log := bufio.NewReader(pipe)
	at, said := "", says == ""
	for at == "" || !said {
		line, err := log.ReadString('\n')
		require.NoError(t, err)
		said = said || strings.Contains(line, says)
		if strings.Contains(line, "ready: ") {
			_, at, _ = strings.Cut(line, "  listen ")
			at, _, _ = strings.Cut(at, " ")
		}
	}
	return c, at, log
}

// TestStrangersCostLittle floods the standby's port; the primary comes again and again
// meanwhile. CLAUDEFS_STRANGERS says how long, at full strength: make strangers.
func TestStrangersCostLittle(t *testing.T) {
	crowd, last := flood{silent: 1500, rate: 1000}, 3*time.Second
	if text := os.Getenv("CLAUDEFS_STRANGERS"); text != "" {
		var err error
		last, err = time.ParseDuration(text)
		require.NoError(t, err)
		crowd = flood{silent: 10000, rate: 2000}
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	crowd.silent = int(min(uint64(crowd.silent), files.Cur-200))
	for _, io := range []string{"auto", "portable"} {
		t.Run(io, func(t *testing.T) { f := flood{silent: crowd.silent, rate: crowd.rate}; f.judge(t, io, last) })
	}
}

func (f *flood) judge(t *testing.T, io string, last time.Duration) {
	b, at, log := startSite(t, "", "site-b", "127.0.0.1:0", "site-a=127.0.0.1:1", "--io", io)
	go func() { _, _ = stdio.Copy(stdio.Discard, log) }() // ends with the server
	// A peer has been there before: what that costs is no stranger's.
	dial := func() time.Duration {
		begin := time.Now()
		a, _, _ := startSite(t, "answered, session", "site-a", "127.0.0.1:0", "site-b="+at, "--io", io)
		took := time.Since(begin)
		_ = a.Process.Kill()
		_ = a.Wait() // killed
		return took
	}
	dial()
	memory, threads := costs(t, b.Process.Pid)
	ctx, stop := context.WithTimeout(t.Context(), last)
	defer stop()
	over := make(chan struct{})
	go func() { // ends with ctx
		defer close(over)
		f.run(ctx, at)
	}()
	memoryMost, threadsMost, dialMost, dials := memory, threads, time.Duration(0), 0
	for ctx.Err() == nil || dials == 0 {
		dialMost = max(dialMost, dial())
		dials++
		m, n := costs(t, b.Process.Pid)
		memoryMost, threadsMost = max(memoryMost, m), max(threadsMost, n)
	}
	<-over
	fmt.Printf("strangers: io=%s silent=%d rate=%d/s time=%s opened=%d peer_starts=%d dial_max=%.2fs "+
		"memory=+%.1fMiB threads=%+d\n", io, f.silent, f.rate, last, f.opened.Load(), dials, dialMost.Seconds(),
		float64(memoryMost-memory)/(1<<20), threadsMost-threads)
	require.Less(t, memoryMost-memory, strangersMemoryMax)
	require.LessOrEqual(t, threadsMost-threads, strangersThreadsMax)
	require.Less(t, dialMost, f.patience())
}

// patience is what a peer may take: its start, too, and in the short form on a machine
// that has other things to do.
func (f *flood) patience() time.Duration {
	if os.Getenv("CLAUDEFS_STRANGERS") == "" {
		return scriptWait
	}
	return strangersDialMax
}
