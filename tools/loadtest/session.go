package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Options are those of a near end.
type Options struct {
	To     string // the far end's control address; "" = a process that is started for it
	Dir    string // where the directory of the journals is made; "" = a temporary one
	Memory bool   // on a memory file system, if Dir is ""
	// Binary is the program that is the far end and the proxy, by its verbs "bench
	// serve" and "bench path".
	Binary string
	// Progress is called about twice a second; nil = no progress. It is
	// called by the goroutine that called Run.
	Progress func(Progress)
}

// Session is a near end and its hold of a far end. Its methods are called by one
// goroutine.
type Session struct {
	options Options
	dir     string // of this session; both ends' journals, if the far end is ours
	child   *child // nil = the far end is not ours
	control *control
	heard   chan *message
	lost    chan struct{} // closed when the far end is gone
	lostBy  error         // why; to be read after lost
	runs    int
}

// OpenSession starts or dials the far end. Errors wrap ErrUnreachable where
// nobody answers.
func OpenSession(ctx context.Context, o Options) (*Session, error) {
	s := &Session{options: o, heard: make(chan *message, 1), lost: make(chan struct{})}
	if s.options.Progress == nil {
		s.options.Progress = func(Progress) {}
	}
	var err error
	if s.dir, err = workspace(o.Dir, o.Memory); err != nil {
		return nil, err
	}
	addr := o.To
	if addr == "" {
		s.child, err = startChild(o.Binary, "bench", "serve", "--listen", "127.0.0.1:0",
			"--dir", filepath.Join(s.dir, siteFar), "--child-of", s.dir)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		addr = s.child.addr
	}
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %w", addr, ErrUnreachable, err), s.Close())
	}
	s.control = newControl(conn)
	go s.listen() // ends with the connection
	return s, nil
}

// listen hears the far end, and notices when it goes.
func (s *Session) listen() {
	for {
		m, err := s.control.hear()
		if err != nil {
			s.lostBy = err
			close(s.lost)
			return
		}
		s.heard <- m
	}
}

// Close ends the session and removes what it made, at the far end too if that
// was started for it.
func (s *Session) Close() error {
	if s.control != nil {
		_ = s.control.conn.Close()
	}
	if s.child != nil {
		s.child.stop()
	}
	return os.RemoveAll(s.dir)
}

// ask says m to the far end and waits for its answer.
func (s *Session) ask(ctx context.Context, m *message, want string) (*message, error) {
	if err := s.control.say(m); err != nil {
		return nil, s.gone(err)
	}
	timer := time.NewTimer(wordWait)
	defer timer.Stop()
	select {
	case answer := <-s.heard:
		if err := answer.reason(); err != nil {
			return nil, err
		}
		if answer.Word != want {
			return nil, fmt.Errorf("%w: it said %q, %q was due", ErrRelease, answer.Word, want)
		}
		return answer, nil
	case <-s.lost:
		return nil, s.gone(s.lostBy)
	case <-timer.C:
		return nil, fmt.Errorf("%w: no %q within %s", ErrLost, want, wordWait)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gone is the error of a lost far end, with its last words if there are any.
func (s *Session) gone(err error) error {
	if s.child != nil {
		s.child.stop() // it is gone, or has to go; then its words are complete
		if words := s.child.words.String(); words != "" {
			return fmt.Errorf("%w: %w: %s", ErrLost, err, words)
		}
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// rig is what one run stands on.
type rig struct {
	near   nearEnd
	path   *child // nil = the direct way
	dir    string
	host   Host
	far    Host
	closed bool
}

// open opens both ends of a run.
func (s *Session) open(ctx context.Context, c *Config) (*rig, error) {
	if err := linkThere(c); err != nil {
		return nil, err
	}
	ready, err := s.ask(ctx, &message{Word: "open", Version: controlVersion, Config: c}, "ready")
	if err != nil {
		return nil, err
	}
	r := &rig{}
	if ready.Config == nil || *ready.Config != *c || ready.Host == nil || ready.Version != controlVersion {
		return nil, errors.Join(fmt.Errorf("%w: it understood another configuration", ErrRelease), s.close(r))
	}
	r.far = *ready.Host
	addr, err := s.dataAddr(ready.Addr)
	if err == nil && c.distant() {
		r.path, err = startChild(s.options.Binary, "bench", "path", "--target", addr,
			"--rtt", c.RTT.D().String(), "--bandwidth", strconv.FormatInt(c.Bandwidth, 10)+"bit")
		if err == nil {
			addr = r.path.addr
		}
	}
	if err == nil && c.Level != LevelLink {
		s.runs++
		r.dir = filepath.Join(s.dir, siteNear+strconv.Itoa(s.runs))
	}
	if err == nil {
		r.near, err = openNear(ctx, c, r.dir, addr)
	}
	if err != nil {
		return nil, errors.Join(err, s.close(r))
	}
	r.host = hostNow(r.dir, r.near.carrier())
	return r, nil
}

// dataAddr is where the far end takes the load: on all its addresses means, on
// the one that reached it.
func (s *Session) dataAddr(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRelease, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return addr, nil
	}
	host, _, err = net.SplitHostPort(s.control.conn.RemoteAddr().String())
	return net.JoinHostPort(host, port), err
}

// closeNear closes the near end only, once.
func (r *rig) closeNear() error {
	if r.near == nil || r.closed {
		return nil
	}
	r.closed = true
	return r.near.close()
}

// close closes what a run stands on, and the far end's half unless that is lost.
func (s *Session) close(r *rig) error {
	err := r.closeNear()
	if r.path != nil {
		r.path.stop()
	}
	if r.dir != "" {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	select {
	case <-s.lost:
		return err
	default:
	}
	_, closed := s.ask(context.Background(), &message{Word: "close"}, "closed")
	return errors.Join(err, closed)
}
