package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	senderProcessor   = 0
	receiverProcessor = 1

	envRole = "BENCH_PEERS_ROLE"
	envSpec = "BENCH_PEERS_SPEC"
)

// process is a child and its end of the conversation.
type process struct {
	*talk
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *tail
}

// tail keeps the beginning of what a child printed to complain.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.Len() < 4096 {
		t.Buffer.Write(p)
	}
	return len(p), nil
}

// start runs this program again in a role, on a processor or (-1) anywhere.
func (r *runner) start(ctx context.Context, role string, s spec, cpu int) (*process, error) {
	arguments, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, r.self)
	cmd.WaitDelay = patience / 12 // for what it started and left behind
	cmd.Env = append(os.Environ(), envRole+"="+role, envSpec+"="+string(arguments),
		"GOMAXPROCS="+strconv.Itoa(r.procs))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &process{talk: newTalk(out, in), cmd: cmd, stdin: in, stderr: new(tail)}
	cmd.Stderr = p.stderr
	return p, onCPU(cpu, cmd.Start)
}

// end takes the child's leave; a child that does not go is killed with its
// context.
func (p *process) end() error {
	p.stdin.Close()
	err := p.cmd.Wait()
	if err != nil && p.stderr.Len() > 0 {
		return fmt.Errorf("%w: %s", err, p.stderr.Bytes())
	}
	return err
}

// pair runs one contender once and returns what both processes did together.
func (r *runner) pair(ctx context.Context, pin pinning, s spec) (*measure, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience+4*s.Duration)
	defer cancel()
	dir, err := os.MkdirTemp(r.base(&s), "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	from, to := -1, -1
	if pin == pinned {
		from, to = senderProcessor, receiverProcessor
	}
	c, err := contenderNamed(s.Contender)
	if err != nil {
		return nil, err
	}
	if c.solo != nil {
		s.Dir = dir
		return r.alone(ctx, s, from)
	}
	s.Dir = filepath.Join(dir, "receiver")
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return nil, err
	}
	receiving, err := r.start(ctx, "receive", s, to)
	if err != nil {
		return nil, err
	}
	s.Dir = filepath.Join(dir, "sender")
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return nil, err
	}
	m, err := r.converse(ctx, receiving, s, from)
	if err != nil {
		cancel() // Nobody listens to a receiver any more.
	}
	if ended := receiving.end(); err == nil {
		err = ended
	}
	return m, err
}

// converse starts the sender and leads both through the run.
func (r *runner) converse(ctx context.Context, receiving *process, s spec, cpu int) (*measure, error) {
	ready, err := receiving.hear("ready")
	if err != nil {
		return nil, fmt.Errorf("receiver: %w: %s", err, receiving.stderr.Bytes())
	}
	s.Addr = ready.Addr
	sending, err := r.start(ctx, "send", s, cpu)
	if err != nil {
		return nil, err
	}
	m, err := lead(sending, receiving)
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, sending.stderr.Bytes(), receiving.stderr.Bytes())
		_ = sending.cmd.Process.Kill()
	}
	if ended := sending.end(); err == nil {
		err = ended
	}
	return m, err
}

func lead(sending, receiving *process) (*measure, error) {
	warm, err := sending.hear("warm")
	if err != nil {
		return nil, err
	}
	if err := receiving.say(said{Word: "begin", Total: warm.Total}); err != nil {
		return nil, err
	}
	if _, err := receiving.hear("begun"); err != nil {
		return nil, err
	}
	if err := sending.say(said{Word: "begin"}); err != nil {
		return nil, err
	}
	sent, err := sending.hear("done")
	if err != nil {
		return nil, err
	}
	if err := receiving.say(said{Word: "end", Total: sent.Total}); err != nil {
		return nil, err
	}
	taken, err := receiving.hear("done")
	if err != nil {
		return nil, err
	}
	m := sent.Measure
	if taken.Measure.Records != m.Records {
		return nil, fmt.Errorf("%d records were sent while the clock ran, %d arrived", m.Records, taken.Measure.Records)
	}
	m.CPU += taken.Measure.CPU
	m.Mallocs += taken.Measure.Mallocs
	m.Switches += taken.Measure.Switches
	m.FarRing = taken.Measure.Ring
	return &m, nil
}

// alone runs a contender that needs no other process.
func (r *runner) alone(ctx context.Context, s spec, cpu int) (*measure, error) {
	p, err := r.start(ctx, "solo", s, cpu)
	if err != nil {
		return nil, err
	}
	done, err := p.hear("done")
	if ended := p.end(); err == nil {
		err = ended
	}
	return &done.Measure, err
}

// base is where a run's files go: the disk in durable rows, else memory.
func (r *runner) base(s *spec) string {
	if s.Durable || s.Row == "limits" {
		return r.disk
	}
	return r.memory
}

// often retries a run once: a machine may hiccup, a contender must not.
func (r *runner) often(ctx context.Context, pin pinning, s spec) (m *measure, retried bool, err error) {
	m, err = r.pair(ctx, pin, s)
	if err == nil || ctx.Err() != nil || strings.Contains(err.Error(), errMissing.Error()) {
		return m, false, err
	}
	time.Sleep(100 * time.Millisecond)
	again, second := r.pair(ctx, pin, s)
	if second != nil {
		return nil, true, fmt.Errorf("%w; before: %w", second, err)
	}
	return again, true, nil
}
