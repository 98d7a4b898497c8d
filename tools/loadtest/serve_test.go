package loadtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serveHere runs a far end in this process until end is called.
func serveHere(t *testing.T, dir string) (addr string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listening, over := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx
		over <- Serve(ctx, ServeOptions{Listen: "127.0.0.1:0", Dir: dir, Listening: func(addr string) error {
			listening <- addr
			return nil
		}})
	}()
	ended := false
	end = func() {
		if !ended {
			ended = true
			cancel()
			require.NoError(t, <-over)
		}
	}
	t.Cleanup(end)
	select {
	case addr = <-listening:
	case err := <-over:
		require.NoError(t, err)
	}
	return addr, end
}

func openHere(t *testing.T, o Options) *Session {
	t.Helper()
	s, err := OpenSession(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// small is a run that takes no time.
func small(level string) Config {
	return Config{Level: level, Clients: 2, SizeBytes: 100, Shards: 4, Duration: Seconds(150 * time.Millisecond),
		Warm: Seconds(50 * time.Millisecond), Link: "portable"}
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, names)
}

// Every level in both loops, one session: the figures are there, and both ends
// leave nothing behind.
func TestEveryLevelIsMeasuredAndNothingStays(t *testing.T) {
	near, far := t.TempDir(), t.TempDir()
	addr, _ := serveHere(t, far)
	s := openHere(t, Options{To: addr, Dir: near})
	for _, level := range Levels {
		for _, rate := range []float64{0, 500} {
			c := small(level)
			if rate > 0 {
				c.Clients, c.Rate = 0, rate
			}
			r, err := s.Run(t.Context(), c)
			require.NoError(t, err, level)
			require.Empty(t, r.ErrorTexts, level)
			require.Positive(t, r.Entries, level)
			require.Equal(t, r.Entries*100, r.Bytes)
			require.Positive(t, r.Latency.Samples, level)
			require.LessOrEqual(t, *r.Latency.P50, *r.Latency.P99)
			require.LessOrEqual(t, *r.Latency.P99, *r.Latency.Max)
			var sum int64
			for _, bin := range r.Latency.Bins {
				sum += bin.Count
			}
			require.Equal(t, r.Latency.Samples, sum, "the bins have every sample")
			require.Equal(t, rate > 0, r.Late != nil)
			require.NotNil(t, r.Near.CPU)
			require.NotNil(t, r.Far.CPU)
			require.Equal(t, "tcp", r.Far.Transport)
			if level != LevelLink {
				require.NotEmpty(t, r.Far.FileSystem)
			}
			requireEmpty(t, far)
		}
	}
	require.NoError(t, s.Close())
	requireEmpty(t, near)
}

func TestFarEndServesOneRunAtATime(t *testing.T) {
	addr, _ := serveHere(t, t.TempDir())
	first, second := openHere(t, Options{To: addr}), openHere(t, Options{To: addr})
	c := small(LevelLink)
	r, err := first.open(t.Context(), &c)
	require.NoError(t, err)
	_, err = second.Run(t.Context(), c)
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, first.close(r))
	_, err = second.Run(t.Context(), c)
	require.NoError(t, err)
}

// A near end that vanishes in mid-run leaves nothing at the far end, which then
// serves the next one.
func TestFarEndOutlivesNearEndsThatVanish(t *testing.T) {
	far := t.TempDir()
	addr, _ := serveHere(t, far)
	c := small(LevelDurable)
	for range 3 {
		s := openHere(t, Options{To: addr})
		require.Eventually(t, func() bool { // Its directory is gone a moment before the far end is free.
			_, err := s.ask(t.Context(), &message{Word: "open", Version: controlVersion, Config: &c}, "ready")
			return err == nil
		}, time.Minute, 5*time.Millisecond)
		require.NoError(t, s.control.conn.Close())
		require.Eventually(t, func() bool {
			names, err := os.ReadDir(far)
			return err == nil && len(names) == 0
		}, 10*time.Second, 5*time.Millisecond)
	}
	s := openHere(t, Options{To: addr})
	require.Eventually(t, func() bool {
		_, err := s.Run(t.Context(), c)
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
}

// What was measured before the far end went is told, and void.
func TestFarEndThatGoesInMidRunVoidsIt(t *testing.T) {
	for _, level := range []string{LevelDurable, LevelLink} {
		t.Run(level, func(t *testing.T) {
			near, far := t.TempDir(), t.TempDir()
			addr, end := serveHere(t, far)
			gone := make(chan struct{})
			s := openHere(t, Options{To: addr, Dir: near, Progress: func(p Progress) {
				if !p.Warming && gone != nil {
					end()
					close(gone)
					gone = nil
				}
			}})
			c := small(level)
			c.Duration = Seconds(time.Hour)
			r, err := s.Run(t.Context(), c)
			require.ErrorIs(t, err, ErrLost)
			require.True(t, r.Invalid)
			require.Equal(t, "far_end", r.Reasons[0].Code)
			require.Positive(t, r.Latency.Samples)
			require.NoError(t, s.Close())
			requireEmpty(t, near)
			requireEmpty(t, far)
		})
	}
}

func TestInterruptedRunTellsWhatItMeasured(t *testing.T) {
	near, far := t.TempDir(), t.TempDir()
	addr, _ := serveHere(t, far)
	ctx, interrupt := context.WithCancel(t.Context())
	s := openHere(t, Options{To: addr, Dir: near, Progress: func(p Progress) {
		if !p.Warming {
			interrupt()
		}
	}})
	c := small(LevelDurable)
	c.Duration = Seconds(time.Hour)
	r, err := s.Run(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "interrupted", r.Reasons[0].Code)
	require.Positive(t, r.Latency.Samples)
	require.NotNil(t, r.Far.CPU, "the far end was still there to tell")
	require.Less(t, r.Elapsed.D(), time.Minute)
	require.NoError(t, s.Close())
	requireEmpty(t, near)
	requireEmpty(t, far)
}

func TestNobodyThereIsUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	dir := filepath.Join(t.TempDir(), "new")
	_, err = OpenSession(t.Context(), Options{To: l.Addr().String(), Dir: dir})
	require.ErrorIs(t, err, ErrUnreachable)
	requireEmpty(t, dir)
}

// Whatever is said to a far end, it answers, and lives.
func TestFarEndRefusesWhatItDoesNotUnderstand(t *testing.T) {
	far := t.TempDir()
	addr, _ := serveHere(t, far)
	bad := small("often")
	badText, err := json.Marshal(message{Word: "open", Version: controlVersion, Config: &bad})
	require.NoError(t, err)
	for line, want := range map[string]error{
		"GET / HTTP/1.1":                 ErrRelease,
		`{"word":"begin"}`:               ErrRelease,
		`{"word":"end"}`:                 ErrRelease,
		`{"word":"close"}`:               ErrRelease,
		`{"word":"open"}`:                ErrRelease,
		`{"word":"open","version":2}`:    ErrRelease,
		`{"word":"open","colour":"red"}`: ErrRelease,
		string(badText):                  ErrConfig,
	} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_, err = io.WriteString(conn, line+"\n")
		require.NoError(t, err)
		answer, err := newControl(conn).hear()
		require.NoError(t, err, line)
		require.ErrorIs(t, answer.reason(), want, line)
		require.NoError(t, conn.Close())
	}
	requireEmpty(t, far)
}

// A near end refuses a far end that has understood something else.
func TestBothEndsHaveTheSameConfiguration(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() { // ends with its one connection
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		c := newControl(conn)
		m, err := c.hear()
		if err != nil {
			return
		}
		m.Config.SizeBytes++
		addr := l.Addr().String()
		_ = c.say(&message{Word: "ready", Version: controlVersion, Config: m.Config, Addr: addr, Host: &Host{}})
		if _, err := c.hear(); err == nil {
			_ = c.say(&message{Word: "closed"})
		}
	}()
	s := openHere(t, Options{To: l.Addr().String()})
	_, err = s.Run(t.Context(), small(LevelLink))
	require.ErrorIs(t, err, ErrRelease)
	require.ErrorContains(t, err, "another configuration")
}

func TestLineHasALimit(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() { // ends with the pipe
		_, _ = far.Write(make([]byte, lineBytesMax+1))
		_ = far.Close()
	}()
	_, err := newControl(near).hear()
	require.ErrorIs(t, err, bufio.ErrBufferFull)
}

func TestDataGoesToTheHostThatAnswers(t *testing.T) {
	addr, _ := serveHere(t, t.TempDir())
	s := openHere(t, Options{To: addr})
	for said, want := range map[string]string{
		"[::]:7":     "127.0.0.1:7",
		"0.0.0.0:7":  "127.0.0.1:7",
		"10.0.0.9:7": "10.0.0.9:7",
		"far:7":      "far:7",
	} {
		got, err := s.dataAddr(said)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := s.dataAddr("nonsense")
	require.ErrorIs(t, err, ErrRelease)
}

// The far end removes the session's directory when its parent is gone: no other one,
// whatever it is told.
func TestWorkspaceIsKnownFromOtherDirectories(t *testing.T) {
	dir, err := workspace(t.TempDir(), false)
	require.NoError(t, err)
	require.True(t, IsWorkspace(dir))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, siteFar, "own"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, siteNear+"1"), 0o700))
	require.True(t, IsWorkspace(dir))
	for _, other := range []string{
		"", "/", ".", "../..", t.TempDir(), filepath.Dir(dir), dir + "/", filepath.Join(dir, siteFar),
		filepath.Base(dir),
	} {
		require.False(t, IsWorkspace(other), other)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	require.False(t, IsWorkspace(dir), "somebody else keeps something in it")
}
