package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsclient"
)

const (
	clusterName = "demo"
	// pollEvery is how often a server is asked while something is awaited.
	pollEvery = 25 * time.Millisecond
	// answerWait is how long a started server may take until it answers:
	// recovery reads every retained segment.
	answerWait = 60 * time.Second
)

var siteNames = [2]string{"site-a", "site-b"}

// pair is two server processes that replicate to each other. Its methods are
// called by one goroutine, except where they say otherwise.
type pair struct {
	processes [2]*process
	listens   [2]string
	admins    [2]string
	clients   [2]*fsclient.Client
	died      chan error
	kills     [2]int
}

// newPair prepares two sites in a workspace. exe is the cfs binary.
func newPair(exe string, w workspace, random *rand.Rand, extra ...string) (*pair, error) {
	addrs, err := reservePorts(random, 4)
	if err != nil {
		return nil, err
	}
	p := &pair{
		listens: [2]string{addrs[0], addrs[1]},
		admins:  [2]string{addrs[2], addrs[3]},
		died:    make(chan error, 64),
	}
	for i, name := range siteNames {
		other := 1 - i
		p.clients[i] = fsclient.New(p.admins[i])
		p.processes[i] = &process{
			name: name, path: exe, died: p.died, logPath: w.log(name),
			args: append([]string{"server", "--site", name, "--cluster", clusterName, "--data", w.data(name),
				"--listen", p.listens[i], "--admin", p.admins[i], "--insecure",
				"--primary", siteNames[0], "--peer", siteNames[other] + "=" + p.listens[other]}, extra...),
		}
	}
	return p, nil
}

// ioFlag is the servers' --io; "" leaves it to them.
func ioFlag(io string) []string {
	if io == "" {
		return nil
	}
	return []string{"--io", io}
}

// start starts both servers and waits until they answer.
func (p *pair) start(ctx context.Context) error {
	for _, process := range p.processes {
		if err := process.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	for i := range p.processes {
		if err := p.await(ctx, func() (bool, error) {
			_, err := p.status(ctx, i)
			return err == nil, hard(err)
		}); err != nil {
			return fmt.Errorf("%s does not answer: %w", siteNames[i], err)
		}
	}
	return nil
}

// restart kills a server and starts it again at once.
func (p *pair) restart(i int) error {
	if err := p.kill(i); err != nil {
		return err
	}
	return p.processes[i].start()
}

func (p *pair) kill(i int) error {
	p.kills[i]++
	p.processes[i].portRetries = 0
	return p.processes[i].kill()
}

// stop ends both servers.
func (p *pair) stop() {
	for _, client := range p.clients {
		client.Close()
	}
	for _, process := range p.processes {
		process.stop()
	}
}

// check tells whether a server ended by itself. One whose port was taken by a
// passing connection is started again.
func (p *pair) check() error {
	select {
	case err := <-p.died:
		return p.revive(err)
	default:
		return nil
	}
}

func (p *pair) revive(died error) error {
	for _, process := range p.processes {
		select {
		case <-process.exited:
		default:
			continue
		}
		if process.portTaken(died) && process.portRetries < portRetriesMax {
			process.portRetries++
			return process.start()
		}
	}
	return died
}

// await polls done, watching the servers.
func (p *pair) await(ctx context.Context, done func() (bool, error)) error {
	return poll(ctx, pollEvery, func() (bool, error) {
		if err := p.check(); err != nil {
			return false, err
		}
		return done()
	})
}

// status asks a server; any goroutine may call it.
func (p *pair) status(ctx context.Context, i int) (*engine.Status, error) {
	return remote.Status(ctx, p.admins[i])
}

// settled waits until site-b has applied everything that site-a wrote, and says so.
func (p *pair) settled(ctx context.Context, wait time.Duration, show func(*engine.Status)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errors.New("lag did not return to 0 in time"))
	defer cancel()
	err := p.await(ctx, func() (bool, error) {
		a, err := p.status(ctx, 0)
		if err != nil {
			return false, hard(err)
		}
		if show != nil {
			show(a)
		}
		b, err := p.status(ctx, 1)
		if err != nil {
			return false, hard(err)
		}
		return caughtUp(a, b), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for lag 0: %w", err)
	}
	return nil
}

// caughtUp says whether a knows, over a live link, that its only peer has
// applied everything, and neither Store has a backlog.
func caughtUp(a, b *engine.Status) bool {
	if len(a.Peers) != 1 || a.Peers[0].Link != "live" {
		return false
	}
	return isZero(&a.Peers[0].Durable) && isZero(&a.Peers[0].Applied) &&
		a.Apply.BacklogEntries == 0 && b.Apply.BacklogEntries == 0
}

// isZero is true for a lag that is known to be 0.
func isZero(l *engine.LagStatus) bool {
	return l.State == "known" && l.Entries != nil && *l.Entries == 0
}

// hard drops errors of a server that is not there, or not yet: those pass.
func hard(err error) error {
	if errors.Is(err, remote.ErrUnreachable) {
		return nil
	}
	return err
}
