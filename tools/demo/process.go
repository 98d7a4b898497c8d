package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrDied: a server ended although nobody killed it.
var ErrDied = errors.New("server ended by itself")

const (
	// stopWait is how long a server may take to end in good order.
	stopWait = 10 * time.Second
	// logTail is how many bytes of a log a message is made of.
	logTail = 2048
	// ExitFailpoint is the exit code of a server that reached its failpoint.
	ExitFailpoint = 86
	// portRetriesMax is how often a server is started again in a row because its
	// port was taken: by a short-lived connection that got the number while the
	// server was down.
	portRetriesMax = 100
)

// process is one server process and what it takes to start it again. Its
// methods are called by one goroutine.
type process struct {
	name    string   // for messages
	path    string   // of the binary
	args    []string // without the program's name
	logPath string
	died    chan<- error // gets the reason if the process ends by itself; must have room

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd was waited for

	portRetries int // since the last kill

	mu      sync.Mutex
	stopped bool // somebody asked for the end
}

// start starts the process. It does not wait for it to answer.
func (p *process) start() error { return p.startWith() }

// startAt starts it so that it ends by itself at a failpoint, which is not told as
// a death.
func (p *process) startAt(failpoint string) error { return p.startWith("--failpoint", failpoint) }

func (p *process) startWith(more ...string) error {
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.path, slices.Concat(p.args, more)...)
	// A test binary that stands in for cfs tells by this name what it is to be.
	cmd.Args[0] = "cfs"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	p.mu.Lock()
	p.stopped = false
	p.mu.Unlock()
	go p.wait(cmd, p.exited) // ends with the process
	return nil
}

// wait collects the process and tells if it ended by itself.
func (p *process) wait(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if !stopped && cmd.ProcessState.ExitCode() != ExitFailpoint {
		p.died <- fmt.Errorf("%s (%v): %w: %s", p.name, err, ErrDied, p.lastWords())
	}
	close(exited)
}

// kill sends SIGKILL and waits for the end.
func (p *process) kill() error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	err := p.cmd.Process.Kill()
	<-p.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// ended waits until the process has ended, by itself or at its failpoint, or ctx
// ends; it says whether it was the failpoint.
func (p *process) ended(ctx context.Context) bool {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode() == ExitFailpoint
	case <-ctx.Done():
		return false
	}
}

// stop ends the process in good order, or not, and waits for the end.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopWait):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// lastWords is the end of the process's log, on one line.
func (p *process) lastWords() string {
	f, err := os.Open(p.logPath)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-logTail), io.SeekStart)
	}
	tail, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.FieldsFunc(string(bytes.TrimSpace(tail)), func(r rune) bool { return r == '\n' })
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	return strings.Join(lines, " | ")
}

// portTaken says whether the process ended because its port was in use.
func (p *process) portTaken(err error) bool {
	return errors.Is(err, ErrDied) && strings.Contains(p.lastWords(), "address already in use")
}

// poll calls done every few milliseconds until it says yes, fails, or ctx ends.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
