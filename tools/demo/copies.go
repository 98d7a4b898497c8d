package demo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
)

const (
	// copyWait is how long a server on a copied directory may take until its Store has
	// redone what its journals hold, or it has ended.
	copyWait = 30 * time.Second
)

// copies are directories copied with cp -r while their servers run, and opened by a
// server of their own that reaches no peer. What such a server has decided must be a
// prefix of each log of the site it was copied from, under the same request ids, or it
// must refuse to start and say why.
type copies struct {
	pair    *pair
	dir     string // of the copy; one at a time
	server  *process
	client  *fsclient.Client
	died    chan error
	admin   string
	data    [2]string // of the sites
	site    int       // that the copy was taken from
	opened  int
	refused int

	// rows that copies had and site-a was not yet known to have.
	pending map[seqKey]string
	first   string // the first copy's difference; "" = none
}

// newCopies prepares a server for copies; addrs are its two addresses and a peer's
// that nobody listens at.
func newCopies(p *pair, w workspace, addrs []string) *copies {
	died := make(chan error, 1)
	return &copies{
		pair: p, dir: w.data("copy"), died: died, admin: addrs[1], client: fsclient.New(addrs[1]),
		pending: map[seqKey]string{}, data: [2]string{w.data(siteNames[0]), w.data(siteNames[1])},
		server: &process{name: "the copy", path: p.processes[0].path, died: died, logPath: w.log("copy"),
			args: []string{"server", "--listen", addrs[0], "--admin", addrs[1], "--cluster", clusterName, "--insecure",
				"--data", w.data("copy"), "--primary", siteNames[0]}},
	}
}

// take copies the directory of a running site. cp meets files that go while it reads
// the directory, as anybody's does, and copies the rest.
func (c *copies) take(ctx context.Context, site int) error {
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	c.site = site
	from := c.data[site]
	out, err := exec.CommandContext(ctx, "cp", "-r", from, c.dir).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && bytes.Contains(out, []byte("No such file")) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cp -r %s: %w: %s", from, err, out)
	}
	return nil
}

// open starts a server on the copy, reads what it has decided, and ends it. A
// difference is kept in first; an error means that it could not be found out.
func (c *copies) open(ctx context.Context, peer string) error {
	if err := os.Remove(c.server.logPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := c.server.startWith(c.arguments(peer)...); err != nil {
		return err
	}
	defer c.server.stop()
	limit, cancel := context.WithTimeoutCause(ctx, copyWait, errors.New("it neither answers nor ends"))
	defer cancel()
	err := poll(limit, pollEvery, func() (bool, error) {
		select {
		case err := <-c.died:
			return false, err
		default:
		}
		return c.redone(limit)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrDied):
		c.refusal()
		return nil
	case err != nil:
		c.note("a copy of %s: %v", siteNames[c.site], err)
		return nil
	}
	c.opened++
	return c.read(ctx)
}

// arguments name the site that was copied and the peer it is not to reach.
func (c *copies) arguments(peer string) []string {
	return []string{"--site", siteNames[c.site], "--peer", siteNames[1-c.site] + "=" + peer}
}

// redone says whether the copy's Store has what its journals hold, or it has been told
// that it never will: damage is an answer.
func (c *copies) redone(ctx context.Context) (bool, error) {
	s, err := remote.Status(ctx, c.admin)
	if err != nil {
		return false, hard(err)
	}
	return s.Apply.BacklogEntries == 0 || s.Apply.State == "stopped" || s.Health == "FAILED", nil
}

// refusal judges what a server that did not start has said: a reason, no crash.
func (c *copies) refusal() {
	c.refused++
	text, err := os.ReadFile(c.server.logPath)
	switch {
	case err != nil:
		c.note("a copy of %s: %v", siteNames[c.site], err)
	case len(bytes.TrimSpace(text)) == 0:
		c.note("a copy of %s ended without a word", siteNames[c.site])
	case bytes.Contains(text, []byte("goroutine ")):
		c.note("a copy of %s crashed: %.300s", siteNames[c.site], text)
	}
}

// read takes the rows that the copy has decided: a prefix of each log, and nothing
// that the site it was copied from does not have.
func (c *copies) read(ctx context.Context) error {
	audit := newSiteAudit()
	err := c.client.Decided(ctx, 0, func(row fsapi.DecidedRow) error {
		ref, err := refOf(&row)
		if err != nil {
			return err
		}
		audit.add(ref)
		c.pending[seqKey{ref.Incarnation, ref.Log.Shard, ref.Seq}] = row.Request
		return nil
	})
	if err != nil {
		return fmt.Errorf("rows of a copy of %s: %w", siteNames[c.site], err)
	}
	if gap := audit.gap(); gap != nil {
		c.note("a copy of %s: %v", siteNames[c.site], gap)
	}
	if n := audit.duplicated(); n > 0 {
		c.note("a copy of %s repeats %d entries", siteNames[c.site], n)
	}
	return nil
}

// settle compares the rows of all copies with those of site-a, which has settled.
func (c *copies) settle(ctx context.Context) error {
	err := c.pair.clients[0].Decided(ctx, 0, func(row fsapi.DecidedRow) error {
		ref, err := refOf(&row)
		if err != nil {
			return err
		}
		key := seqKey{ref.Incarnation, ref.Log.Shard, ref.Seq}
		if request, ok := c.pending[key]; ok && request == row.Request {
			delete(c.pending, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, request := range c.pending {
		c.note("a copy has decided shard %d, seq %d as request %s, its site has not", key.shard, key.seq, request)
	}
	clear(c.pending)
	return nil
}

// note keeps the first difference.
func (c *copies) note(format string, args ...any) {
	c.first = cmp.Or(c.first, fmt.Sprintf(format, args...))
}
