package tcp

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/wire/link"
)

// openPair returns both ends of a link with these options.
func openPair(t *testing.T, o Options) (dialed, accepted *Conn) {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tr.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := tr.Dial(t.Context(), l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(); _ = a.Close() })
	return d.(*Conn), a.(*Conn)
}

func option(t *testing.T, c *Conn, level, name int) int {
	t.Helper()
	raw, err := c.socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var optErr error
	if err := raw.Control(func(fd uintptr) { value, optErr = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
		t.Fatal(err)
	}
	if optErr != nil {
		t.Fatal(optErr)
	}
	return value
}

func TestBothEndsAreTuned(t *testing.T) {
	dialed, accepted := openPair(t, Options{DeadAfter: 9 * time.Second})
	for _, c := range []*Conn{dialed, accepted} {
		for _, o := range []struct {
			name               string
			level, key, wanted int
		}{
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 3},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 3},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 2},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 9000},
		} {
			if got := option(t, c, o.level, o.key); got != o.wanted {
				t.Errorf("%s is %d, want %d", o.name, got, o.wanted)
			}
		}
	}
}

func TestCongestionControlIsSetAtBothEndsAndTold(t *testing.T) {
	// reno is the one that every kernel has and lets everyone use.
	dialed, accepted := openPair(t, Options{Congestion: "reno"})
	for _, c := range []*Conn{dialed, accepted} {
		info := c.Info()
		if info.Transport != "tcp" || info.Congestion != "reno" {
			t.Fatalf("got %+v", info)
		}
		if info.RTT <= 0 || info.RTT > time.Minute {
			t.Fatalf("got %+v", info)
		}
	}
	_ = dialed.Close()
	if info := dialed.Info(); info != (link.Info{Transport: "tcp"}) {
		t.Fatalf("after Close: %+v", info)
	}
}

func TestUnknownCongestionControlIsNamed(t *testing.T) {
	tr, err := New(Options{Congestion: "nosuch"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tr.Listen("127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Fatalf("listen: %v", err)
	}
	_, err = tr.Dial(t.Context(), "127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Fatalf("dial: %v", err)
	}
}

// A full backlog drops connection requests: the nearest thing to an address
// where nobody answers that a machine has by itself.
func TestDialToASilentAddressEndsWithItsContext(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()
	tr := open(t)
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		c, err := tr.Dial(ctx, addr)
		cancel()
		if err == nil { // the backlog had room yet
			defer c.Close()
			continue
		}
		wantError(t, err, link.ErrUnreachable)
		wantError(t, err, context.DeadlineExceeded)
		return
	}
	t.Skip("skipped: this system's backlog of 0 takes 8 connections and more")
}

// DeadAfter bounds a Send that the peer takes nothing of.
func TestPeerThatTakesNothingIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: waits 3 s for the kernel's timeout")
	}
	dialed, _ := openPair(t, Options{DeadAfter: 3 * time.Second})
	frame := [][]byte{make([]byte, 1<<20)}
	var err error
	for end := time.Now().Add(time.Minute); err == nil && time.Now().Before(end); {
		err = dialed.Send(frame)
	}
	wantError(t, err, link.ErrLost)
	wantError(t, err, syscall.ETIMEDOUT)
	_, err = dialed.Recv()
	wantError(t, err, link.ErrLost)
}
