//go:build rdma && linux && cgo

package rdma_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Links between processes, and with RXE_ROLE and RXE_PEER between hosts:
//
//	test ── frames 1, 2, 3 … ══ rdma ══▶ far process   (verifies, acknowledges)
//	  └──── net/rpc: Start, Signal, End ──▶ host ──┘
//
// The host starts far processes, of this binary, and can signal them. It is this
// process, or the test of the same name on the server.

const (
	farEnv  = "CLAUDEFS_RDMA_FAR"  // where a far process listens
	nearEnv = "CLAUDEFS_RDMA_NEAR" // where a process that only sends dials
	hostAt  = "7400"               // the server's port for the client's calls
	// farPatience is for emulated hosts, on a machine that does other things, over a bad line.
	farPatience = 120 * time.Second
)

func TestMain(m *testing.M) {
	run := m.Run
	if addr := os.Getenv(farEnv); addr != "" {
		run = func() int { return exitCode(serveFar(addr)) }
	} else if addr := os.Getenv(nearEnv); addr != "" {
		run = func() int { return exitCode(sendToFar(addr)) }
	}
	os.Exit(run())
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// FarReport is what a far process says when it ends.
type FarReport struct {
	Stats  rdma.Stats
	Closed int // links whose peer said goodbye
	Lost   int // links that broke
	Frames uint64
}

// serveFar acknowledges frames until stdin ends, one link after the other.
func serveFar(addr string) error {
	tr, err := rdma.New(rdma.Options{Verbs: rdma.System()})
	if err != nil {
		return err
	}
	l, err := tr.Listen(addr)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() { // ends with stdin
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	report := FarReport{}
	for {
		c, err := l.Accept()
		if err != nil {
			break // the listener is closed
		}
		frames, err := acknowledge(c)
		report.Frames += frames
		switch err {
		case io.EOF:
			report.Closed++
		default:
			fmt.Fprintln(os.Stderr, "far:", err)
			report.Lost++
		}
		_ = c.Close()
	}
	report.Stats = tr.Stats()
	if err := tr.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// acknowledge takes frames 1, 2, 3 … unchanged, and answers each.
func acknowledge(c link.Conn) (frames uint64, err error) {
	var want, answer []byte
	for {
		f, err := c.Recv()
		if err != nil {
			return frames, err
		}
		frames++
		if f.Envelope.Number != frames {
			return frames, fmt.Errorf("frame %d, after %d", f.Envelope.Number, frames-1)
		}
		if frames%16 == 1 { // random bytes take long in a guest; link and wire check all of them
			want = append(want[:0], make([]byte, len(f.Bytes))...)
			fillFrame(want, frames)
			if string(want) != string(f.Bytes) {
				return frames, fmt.Errorf("frame %d changed on its way", frames)
			}
		}
		f.Release()
		answer = (&wire.Ack{Level: wire.LevelReceived, Number: frames}).AppendTo(answer[:0], 1)
		if err := c.Send([][]byte{answer}); err != nil {
			return frames, err
		}
	}
}

// sendToFar sends until it is killed.
func sendToFar(addr string) error {
	tr, err := rdma.New(rdma.Options{Verbs: rdma.System()})
	if err != nil {
		return err
	}
	ctx, cancel := contextWithin(farPatience)
	defer cancel()
	c, err := tr.Dial(ctx, addr)
	if err != nil {
		return err
	}
	go func() { _ = <-ended(c) }() // ends with the process
	for number := uint64(1); ; number++ {
		if err := c.Send([][]byte{newFrame(64<<10, number)}); err != nil {
			return err
		}
		if number == 64 {
			fmt.Println(number)
		}
	}
}

// process is one of this binary in another role.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startProcess(env string) (*process, string, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p := &process{cmd: exec.Command(binary)}
	p.cmd.Env = append(os.Environ(), env)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, "", err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return nil, "", fmt.Errorf("%s: it ended: %w", env, p.cmd.Wait())
	}
	return p, line[:len(line)-1], nil
}

// Host starts and ends far processes, one at a time, for a test on this host or another.
type Host struct {
	addr string // where far processes listen
	far  *process
}

// Start starts a far process and tells its address.
func (h *Host) Start(_ int, addr *string) (err error) {
	h.far, *addr, err = startProcess(farEnv + "=" + net.JoinHostPort(h.addr, "0"))
	return err
}

// Signal signals it, and with SIGKILL waits for its end.
func (h *Host) Signal(s int, _ *int) error {
	if err := h.far.cmd.Process.Signal(syscall.Signal(s)); err != nil {
		return err
	}
	if s == int(syscall.SIGKILL) {
		_ = h.far.cmd.Wait() // killed
	}
	return nil
}

// End asks it to end when its links have, and tells what it reports.
func (h *Host) End(_ int, report *FarReport) error {
	_ = h.far.stdin.Close() // it hears that, or is gone
	line, err := h.far.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the far process said nothing: %w, %w", err, h.far.cmd.Wait())
	}
	if err := json.Unmarshal(line, report); err != nil {
		return err
	}
	return h.far.cmd.Wait()
}

func (h *Host) stop() {
	if h.far != nil {
		_ = h.far.cmd.Process.Kill() // it may have ended
		_ = h.far.cmd.Wait()
	}
}

// far is the test's view of the far host.
type far struct {
	*rpc.Client
	t *testing.T
}

// openFar returns the far host, or nil on the server once the client's test has ended.
func openFar(t *testing.T) *far {
	t.Helper()
	needDevice(t)
	h := &Host{addr: "127.0.0.1"}
	if addr := os.Getenv("RXE_ADDR"); addr != "" {
		h.addr = addr
	}
	t.Cleanup(h.stop)
	server := rpc.NewServer()
	require.NoError(t, server.Register(h))
	switch os.Getenv("RXE_ROLE") {
	case "server":
		l, err := net.Listen("tcp", net.JoinHostPort(h.addr, hostAt))
		require.NoError(t, err)
		conn, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, l.Close())
		server.ServeConn(conn) // until the client has what it wants
		return nil
	case "client":
		conn := dialHost(t, net.JoinHostPort(os.Getenv("RXE_PEER"), hostAt))
		f := &far{rpc.NewClient(conn), t}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	here, there := net.Pipe()
	go server.ServeConn(there) // ends with the client
	f := &far{rpc.NewClient(here), t}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// dialHost dials until the server's test of this name listens.
func dialHost(t *testing.T, addr string) net.Conn {
	t.Helper()
	var conn net.Conn
	require.Eventually(t, func() (ok bool) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn = c
		}
		return err == nil
	}, farPatience, 100*time.Millisecond, "the server's test at %s", addr)
	return conn
}

func (f *far) start() (addr string) {
	f.t.Helper()
	require.NoError(f.t, f.Call("Host.Start", 0, &addr))
	return addr
}

func (f *far) signal(s syscall.Signal) {
	f.t.Helper()
	require.NoError(f.t, f.Call("Host.Signal", int(s), new(int)))
}

func (f *far) end() (r FarReport) {
	f.t.Helper()
	require.NoError(f.t, f.Call("Host.End", 0, &r))
	return r
}
