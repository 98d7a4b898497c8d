package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gatherBytesMin is the frame from which header and record are written with
	// one writev instead of being copied together.
	gatherBytesMin = 32 << 10
	readBytes      = 1 << 20
	spinFor        = 50 * time.Microsecond
)

// netReceiver is the tuned end of a raw connection: large reads, frames checked
// where they lie, one answer per read.
type netReceiver struct {
	s        *spec
	listener *net.TCPListener
	over     chan struct{}

	mu   sync.Mutex
	last uint64
	err  error
	conn net.Conn
}

func receiveNet(_ context.Context, s *spec) (receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &netReceiver{s: s, listener: l.(*net.TCPListener), over: make(chan struct{})}
	go r.run() // Ends with its one connection, or with close.
	return r, nil
}

func (r *netReceiver) addr() string { return r.listener.Addr().String() }

func (r *netReceiver) records() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.err
}

func (r *netReceiver) note(last uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, last)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && r.err == nil {
		r.err = err
	}
}

func (r *netReceiver) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	if r.conn != nil {
		r.conn.Close()
	}
	r.mu.Unlock()
	<-r.over
	return err
}

func (r *netReceiver) run() {
	defer close(r.over)
	conn, err := r.listener.AcceptTCP()
	if err != nil {
		r.note(0, err)
		return
	}
	r.mu.Lock()
	r.conn = conn
	r.mu.Unlock()
	defer conn.Close()
	var log *wal
	if r.s.Log {
		log, err = newWAL(filepath.Join(r.s.Dir, "wal"), func(record uint64, err error) {
			if err == nil {
				err = answer(conn, record)
			}
			r.note(0, err)
		})
		if err != nil {
			r.note(0, err)
			return
		}
		defer log.close()
	}
	r.note(0, r.serve(conn, log))
}

// serve reads until the connection ends. Its buffer holds a frame and a read.
func (r *netReceiver) serve(conn *net.TCPConn, log *wal) error {
	read := conn.Read
	if r.s.Contender == "net-spin" {
		spinning, err := newSpinner(conn)
		if err != nil {
			return err
		}
		read = spinning.read
	}
	buf := make([]byte, 2*(headBytes+r.s.FrameBytes)+readBytes)
	check := checker{recordBytes: r.s.RecordBytes}
	have := 0
	for {
		n, err := read(buf[have:])
		have += n
		at, before := 0, check.last
		for have-at >= headBytes {
			h := readHead(buf[at:])
			end := at + headBytes + h.bytes
			if h.bytes > r.s.FrameBytes {
				return fmt.Errorf("a frame of %d bytes", h.bytes)
			}
			if end > have {
				break
			}
			if err := check.take(h, buf[at+headBytes:end]); err != nil {
				return err
			}
			if log != nil {
				if err := log.append(check.last, buf[at:end]); err != nil {
					return err
				}
			}
			at = end
		}
		if at > 0 {
			have = copy(buf, buf[at:have])
		}
		if check.last > before {
			r.note(check.last, nil)
			if log == nil {
				if err := answer(conn, check.last); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

func answer(w io.Writer, record uint64) error {
	var b [answerBytes]byte
	binary.LittleEndian.PutUint64(b[:], record)
	_, err := w.Write(b[:])
	return err
}

// netSender gathers records into frames.
type netSender struct {
	s      *spec
	conn   *net.TCPConn
	read   func([]byte) (int, error)
	frame  []byte // room for the head, then the records so far
	count  int
	next   uint64 // number of the frame's first record
	parts  [2][]byte
	vector net.Buffers
	log    *wal
	marks  *answers
	answer [answerBytes]byte
}

// answers joins what the receiver answered with what the own log has flushed.
type answers struct {
	both   *watermark
	mu     sync.Mutex
	remote uint64
	local  uint64
	log    bool
}

func (a *answers) raise(remote, local uint64) {
	a.mu.Lock()
	a.remote, a.local = max(a.remote, remote), max(a.local, local)
	least := a.remote
	if a.log {
		least = min(least, a.local)
	}
	a.mu.Unlock()
	a.both.raise(least)
}

// openLog is the log of a sender that keeps one; nil for the others.
func (a *answers) openLog(s *spec) (*wal, error) {
	if !s.Log {
		return nil, nil
	}
	a.log = true
	return newWAL(filepath.Join(s.Dir, "wal"), func(record uint64, err error) {
		if err != nil {
			a.both.fail(err)
			return
		}
		a.raise(0, record)
	})
}

func sendNet(ctx context.Context, s *spec) (sender, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.TCPConn)
	n := &netSender{s: s, conn: conn, read: conn.Read, next: 1, marks: &answers{both: newWatermark()}}
	n.frame = make([]byte, headBytes, headBytes+s.FrameBytes)
	if n.log, err = n.marks.openLog(s); err != nil {
		conn.Close()
		return nil, err
	}
	if s.Contender == "net-spin" {
		spinning, err := newSpinner(conn)
		if err != nil {
			return nil, err
		}
		n.read = spinning.read
	}
	if s.Mode != modeTrip {
		go n.listen() // Ends with the connection.
	}
	return n, nil
}

func (n *netSender) listen() {
	for {
		if err := n.readAnswer(); err != nil {
			n.marks.both.fail(err)
			return
		}
	}
}

// readAnswer takes one answer. Answers are small and come whole on loopback, but
// several may have come together.
func (n *netSender) readAnswer() error {
	for have := 0; have < answerBytes; {
		got, err := n.read(n.answer[have:])
		if err != nil {
			return err
		}
		have += got
	}
	n.marks.raise(binary.LittleEndian.Uint64(n.answer[:]), 0)
	return nil
}

func (n *netSender) put(record []byte) error {
	if len(record) >= gatherBytesMin {
		n.count = 1
		putHead(n.frame[:headBytes], 1, n.next, record)
		return n.write(record)
	}
	n.frame = append(n.frame, record...)
	n.count++
	if len(n.frame)+len(record) > headBytes+n.s.FrameBytes {
		return n.flush()
	}
	return nil
}

func (n *netSender) flush() error {
	if n.count == 0 {
		return nil
	}
	putHead(n.frame, n.count, n.next, n.frame[headBytes:])
	return n.write(nil)
}

// write sends the frame, whose records lie in n.frame or in record.
func (n *netSender) write(record []byte) (err error) {
	n.next += uint64(n.count)
	n.count = 0
	if n.log != nil {
		if err := n.log.append(n.next-1, n.frame, record); err != nil {
			return err
		}
	}
	if record == nil {
		_, err = n.conn.Write(n.frame)
	} else {
		n.parts = [2][]byte{n.frame, record}
		n.vector = n.parts[:]
		_, err = n.vector.WriteTo(n.conn)
	}
	n.frame = n.frame[:headBytes]
	return err
}

func (n *netSender) answered() *watermark { return n.marks.both }

func (n *netSender) drain(sent uint64) error {
	if err := n.flush(); err != nil {
		return err
	}
	return n.marks.both.wait(sent)
}

func (n *netSender) trip(record []byte) error {
	if err := n.put(record); err != nil {
		return err
	}
	if err := n.flush(); err != nil {
		return err
	}
	if err := n.readAnswer(); err != nil {
		return err
	}
	return n.marks.both.wait(n.next - 1) // the own log
}

func (n *netSender) close() error {
	err := n.conn.Close()
	if n.log != nil {
		err = errors.Join(err, n.log.close())
	}
	return err
}

// spinner reads a socket by asking again and again before it lets the runtime
// wait for it.
type spinner struct {
	conn net.Conn
	raw  interface {
		Read(func(fd uintptr) bool) error
	}
}

func newSpinner(conn *net.TCPConn) (*spinner, error) {
	raw, err := conn.SyscallConn()
	return &spinner{conn: conn, raw: raw}, err
}

func (s *spinner) read(p []byte) (n int, err error) {
	var again bool
	waited := s.raw.Read(func(fd uintptr) bool {
		for start := time.Now(); ; {
			n, err = unix.Read(int(fd), p)
			again = err == unix.EAGAIN || err == unix.EINTR
			if !again || time.Since(start) > spinFor {
				return true
			}
		}
	})
	switch {
	case waited != nil:
		return 0, waited
	case again:
		return s.conn.Read(p)
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
