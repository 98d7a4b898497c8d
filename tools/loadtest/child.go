package loadtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a process of ours: the far end, or the proxy. It ends when its stdin
// does, so it ends with this process too, however that goes.
type child struct {
	addr   string // where it listens
	cmd    *exec.Cmd
	stdin  io.Closer
	words  *lastWords
	exited chan struct{} // closed when cmd was waited for
}

// childWait bounds what a child may take to listen, and to end.
const childWait = 20 * time.Second

// startChild starts the program at path and reads, from its first line, where it
// listens: {"listen": ADDR, …}.
func startChild(path string, args ...string) (*child, error) {
	cmd := exec.Command(path, args...)
	// A test binary that stands in for cfs tells by this name what it is to be.
	cmd.Args[0] = "cfs"
	// A group of its own: an interrupt at the terminal reaches only the parent.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c := &child{cmd: cmd, words: &lastWords{}, exited: make(chan struct{})}
	cmd.Stderr = c.words
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	watchdog := time.AfterFunc(childWait, func() { _ = cmd.Process.Kill() }) // fails if it has ended
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	watchdog.Stop()
	go func() { // ends with the process
		_ = cmd.Wait() // how it ended is nobody's business: what it said is in words
		close(c.exited)
	}()
	var said struct {
		Listen string `json:"listen"`
	}
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if c.addr = said.Listen; err == nil && c.addr == "" {
		err = errors.New("no address")
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, c.words)
	}
	return c, nil
}

// stop ends the process, in good order if it will, and waits for the end.
func (c *child) stop() {
	_ = c.stdin.Close()
	select {
	case <-c.exited:
	case <-time.After(childWait):
		_ = c.cmd.Process.Kill() // fails if it has ended
		<-c.exited
	}
}

func (c *child) cpu() time.Duration { return childCPU(c.cmd.Process.Pid) }

// lastWords keeps the beginning of what a child says on stderr.
type lastWords struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const lastWordsMax = 4096

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p[:min(len(p), lastWordsMax-w.text.Len())])
	return len(p), nil
}

// String is what was said, on one line.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(strings.FieldsFunc(w.text.String(), func(r rune) bool { return r == '\n' }), " | ")
}
