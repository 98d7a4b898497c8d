package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/uring"
)

// ServeOptions are a far end's.
type ServeOptions struct {
	Listen string // HOST:PORT for control connections
	Data   string // HOST:PORT for the load; "" = the host of Listen, any port
	Dir    string // where the runs' directories are made; "" = a temporary one
	// Listening is called with the address of Listen, port 0 resolved; nil = not called.
	Listening func(addr string) error
	// Said is called with what happens, for people; nil = not called. Any goroutine calls it.
	Said func(format string, args ...any)
}

// server is a far end.
type server struct {
	options ServeOptions
	data    string
	running sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when the server ends
	busy  bool                  // somebody's run is open
}

// Serve is the far end of runs, one at a time, until ctx ends. It leaves nothing
// behind.
func Serve(ctx context.Context, o ServeOptions) error {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return err
	}
	s := &server{options: o, data: o.Data, conns: make(map[net.Conn]struct{})}
	if s.data == "" {
		host, _, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		s.data = net.JoinHostPort(host, "0")
	}
	if s.options.Said == nil {
		s.options.Said = func(string, ...any) {}
	}
	if o.Listening != nil {
		if err := o.Listening(l.Addr().String()); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	defer context.AfterFunc(ctx, func() { s.end(l) })()
	for {
		conn, err := l.Accept()
		if err != nil {
			s.end(l)
			s.running.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !s.admit(conn) {
			_ = conn.Close()
			continue
		}
		s.running.Go(func() { // ends with its connection, which end closes
			s.talk(ctx, newControl(conn))
			s.dismiss(conn)
		})
	}
}

// end closes everything that the server waits for.
func (s *server) end(l net.Listener) {
	_ = l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
}

// talkersMax bounds the connections; more than one is somebody who will be told
// that the server is busy.
const talkersMax = 16

func (s *server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= talkersMax {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *server) dismiss(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// farRun is one open run of the far end.
type farRun struct {
	end  farEnd
	dir  string
	host Host
}

// talk serves one near end until it hangs up.
func (s *server) talk(ctx context.Context, c *control) {
	var run *farRun
	defer func() {
		if run != nil {
			s.close(run)
			s.options.Said("%s hung up in mid-run", c.conn.RemoteAddr())
		}
	}()
	for {
		asked, err := c.hear()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				_ = c.say(failed(err))
			}
			return
		}
		answer := &message{}
		switch {
		case asked.Word == "open" && run == nil:
			run, answer = s.open(ctx, c, asked)
		case asked.Word == "begin" && run != nil:
			u := usageNow()
			answer = &message{Word: "begun", Usage: &u}
		case asked.Word == "end" && run != nil:
			u := usageNow()
			answer = &message{Word: "ended", Usage: &u}
		case asked.Word == "close" && run != nil:
			answer = &message{Word: "closed"}
			if err := s.close(run); err != nil {
				answer = failed(err)
			}
			run = nil
		default:
			answer = failed(fmt.Errorf("%w: nothing is known of %q now", ErrRelease, asked.Word))
		}
		if c.say(answer) != nil {
			return
		}
	}
}

// open opens the far end of a run, if nobody else has one.
func (s *server) open(ctx context.Context, c *control, asked *message) (*farRun, *message) {
	if asked.Version != controlVersion || asked.Config == nil {
		return nil, failed(fmt.Errorf("%w: version %d, this one speaks %d", ErrRelease, asked.Version, controlVersion))
	}
	if err := asked.Config.Validate(); err != nil {
		return nil, failed(err)
	}
	s.mu.Lock()
	busy := s.busy
	s.busy = true
	s.mu.Unlock()
	if busy {
		return nil, failed(ErrBusy)
	}
	run, err := s.begin(ctx, asked.Config)
	if err != nil {
		s.free()
		s.options.Said("%s: %v", c.conn.RemoteAddr(), err)
		return nil, failed(err)
	}
	s.options.Said("%s: %s loop, level %s, %d bytes, link %s", c.conn.RemoteAddr(), asked.Config.Loop(),
		asked.Config.Level, asked.Config.SizeBytes, run.host.Transport)
	return run, &message{
		Word: "ready", Version: controlVersion, Config: asked.Config, Addr: run.end.addr(), Host: &run.host,
	}
}

func (s *server) begin(ctx context.Context, c *Config) (*farRun, error) {
	if err := linkThere(c); err != nil {
		return nil, err
	}
	run := &farRun{}
	var err error
	if c.Level != LevelLink {
		if run.dir, err = workspace(s.options.Dir, c.Memory); err != nil {
			return nil, err
		}
	}
	if run.end, err = openFar(ctx, c, run.dir, s.data); err != nil {
		return nil, errors.Join(err, os.RemoveAll(run.dir))
	}
	run.host = hostNow(run.dir, run.end.carrier())
	return run, nil
}

// close ends a run and removes what it made.
func (s *server) close(run *farRun) error {
	err := run.end.close()
	if run.dir != "" {
		err = errors.Join(err, os.RemoveAll(run.dir))
	}
	s.free()
	return err
}

func (s *server) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
}

// linkThere says why this machine, or this build, cannot carry what c asks for.
func linkThere(c *Config) (err error) {
	switch c.Link {
	case "io_uring":
		err = uring.Supported()
	case linkRDMA:
		var device rdma.Device
		if device, err = rdma.System().Open(rdma.DeviceName{}); err == nil {
			err = device.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLink, err)
	}
	return nil
}
