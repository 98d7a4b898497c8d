package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/wire/link/faultproxy"
)

const (
	// drillShards are few, so that each has history of every client.
	drillShards = 16
	// drillWait bounds each wait of a drill: a restart, a promotion, a mending.
	drillWait = 2 * time.Minute
	// stoppedFor is how long a site must show a stopped log before the drill mends it:
	// one that has just met its peers may show states that pass.
	stoppedFor = time.Second
)

// drillNames are the sites of a drill; two or three of them run.
var drillNames = []string{"site-a", "site-b", "site-c"}

// drillSites are the server processes of one scenario. Each dials each other through a
// proxy of its own, which can be cut. Its methods are called by one goroutine.
type drillSites struct {
	w         workspace
	processes []*process
	listens   []string
	admins    []string
	clients   []*fsclient.Client
	ways      map[[2]int]*faultproxy.Proxy // by who dials, and whom
	died      chan error
	mended    int64 // entries that only a mended site had, as the reports of all mendings say
}

// newDrillSites prepares n sites in a workspace of their own.
func newDrillSites(exe string, w workspace, random *rand.Rand, n int, extra []string) (*drillSites, error) {
	addrs, err := reservePorts(random, 2*n)
	if err != nil {
		return nil, err
	}
	d := &drillSites{
		w: w, listens: addrs[:n], admins: addrs[n:], ways: map[[2]int]*faultproxy.Proxy{}, died: make(chan error, 64),
	}
	for i, name := range drillNames[:n] {
		d.clients = append(d.clients, fsclient.New(d.admins[i]))
		d.processes = append(d.processes, &process{
			name: name, path: exe, died: d.died, logPath: w.log(name),
			args: append([]string{"server", "--site", name, "--cluster", clusterName, "--data", w.data(name),
				"--listen", d.listens[i], "--admin", d.admins[i], "--insecure", "--shards", strconv.Itoa(drillShards),
				"--segment-bytes", shortSegments}, extra...),
		})
	}
	for i := range n {
		for j := range n {
			if i == j {
				continue
			}
			way, err := faultproxy.New(d.listens[j])
			if err != nil {
				d.stop()
				return nil, err
			}
			d.ways[[2]int{i, j}] = way
		}
	}
	return d, nil
}

// peers are the flags that name the other sites to one.
func (d *drillSites) peers(site int, of []int) []string {
	var flags []string
	for _, other := range of {
		if other != site {
			flags = append(flags, "--peer", drillNames[other]+"="+d.ways[[2]int{site, other}].Addr())
		}
	}
	return flags
}

// all are the numbers of all sites.
func (d *drillSites) all() []int {
	var all []int
	for i := range d.processes {
		all = append(all, i)
	}
	return all
}

// start starts a site that names all others, and waits until it answers.
func (d *drillSites) start(ctx context.Context, sites ...int) error {
	return d.startAmong(ctx, d.all(), sites...)
}

// startAmong is start for sites that name only some others.
func (d *drillSites) startAmong(ctx context.Context, among []int, sites ...int) error {
	for _, i := range sites {
		if err := d.processes[i].startWith(d.peers(i, among)...); err != nil {
			return err
		}
	}
	for _, i := range sites {
		if err := d.await(ctx, drillNames[i]+" does not answer", func() (bool, error) {
			_, err := remote.Status(ctx, d.admins[i])
			return err == nil, hard(err)
		}); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all processes and proxies.
func (d *drillSites) stop() {
	for i, p := range d.processes {
		d.clients[i].Close()
		p.stop()
	}
	for _, way := range d.ways {
		_ = way.Close() // what it carried is gone with the servers
	}
}

// kill sends SIGKILL and waits for the end.
func (d *drillSites) kill(site int) error { return d.processes[site].kill() }

// freeze stops a site where it is, and thaw lets it go on.
func (d *drillSites) freeze(site int) error {
	return d.processes[site].cmd.Process.Signal(syscall.SIGSTOP)
}

func (d *drillSites) thaw(site int) error {
	return d.processes[site].cmd.Process.Signal(syscall.SIGCONT)
}

// wipe removes all data of a site that does not run.
func (d *drillSites) wipe(site int) error { return os.RemoveAll(d.w.data(drillNames[site])) }

// cut breaks the links between two sites, and keeps them broken until heal.
func (d *drillSites) cut(a, b int) {
	d.ways[[2]int{a, b}].Refuse()
	d.ways[[2]int{b, a}].Refuse()
}

func (d *drillSites) heal() {
	for _, way := range d.ways {
		way.Heal()
	}
}

// await polls done, watching the servers; what: the complaint if it does not come.
func (d *drillSites) await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drillWait, fmt.Errorf("%s within %s", what, drillWait))
	defer cancel()
	return poll(ctx, pollEvery, func() (bool, error) {
		select {
		case err := <-d.died:
			return false, err
		default:
		}
		return done()
	})
}

// opened waits until a site writes and takes appends in all shards.
func (d *drillSites) opened(ctx context.Context, site int) error {
	return d.await(ctx, drillNames[site]+" does not take appends", func() (bool, error) {
		s, err := remote.Status(ctx, d.admins[site])
		if err != nil {
			return false, hard(err)
		}
		return s.Role == "primary" && s.Appends.State == engine.AppendsOpen, nil
	})
}

// promote makes a site the writer: the operator has said that the other is gone.
func (d *drillSites) promote(ctx context.Context, site int) error {
	err := d.move(ctx, site, site, engine.FailoverOptions{Timeout: settleWait})
	if err != nil {
		return err
	}
	return d.opened(ctx, site)
}

// handOver has the site that writes hand over to another.
func (d *drillSites) handOver(ctx context.Context, from, to int) error {
	err := d.move(ctx, from, to, engine.FailoverOptions{Lossless: true, Timeout: settleWait})
	if err != nil {
		return err
	}
	return d.opened(ctx, to)
}

// move asks a site until it is done. A site that was linked a moment ago may refuse for a
// moment, and one that is asked again may write already.
func (d *drillSites) move(ctx context.Context, ask, to int, o engine.FailoverOptions) error {
	var last error
	err := d.await(ctx, "failover to "+drillNames[to]+" is not done", func() (bool, error) {
		if s, err := remote.Status(ctx, d.admins[to]); err == nil && s.Role == "primary" {
			return true, nil
		}
		_, last = remote.Failover(ctx, d.admins[ask], drillNames[to], o)
		if errors.Is(last, remote.ErrRefused) || errors.Is(last, remote.ErrUnreachable) {
			return false, nil
		}
		return last == nil, last
	})
	return errors.Join(err, last)
}

// peerOf is what a site says of another; nil = it does not know it.
func peerOf(s *engine.Status, name string) *engine.PeerStatus {
	at := slices.IndexFunc(s.Peers, func(p engine.PeerStatus) bool { return p.Site == name })
	if at < 0 {
		return nil
	}
	return &s.Peers[at]
}

// follows waits until a site follows the writer; level: until it has applied everything, too,
// which a load may never let it. Where logs stay stopped it does what an operator would: it
// mends the site from the writer, giving up what only that site has.
func (d *drillSites) follows(ctx context.Context, site, writer int, level bool) error {
	var stopped time.Time
	what := fmt.Sprintf("%s does not follow %s", drillNames[site], drillNames[writer])
	state := ""
	err := d.await(ctx, what, func() (bool, error) {
		w, err := remote.Status(ctx, d.admins[writer])
		if err != nil {
			return false, hard(err)
		}
		s, err := remote.Status(ctx, d.admins[site])
		if err != nil {
			return false, hard(err)
		}
		p := peerOf(w, drillNames[site])
		if p == nil {
			return false, nil
		}
		state = fmt.Sprintf("%s %s %s; link %s, %s %s", s.Role, s.Health, s.Reason, p.Link, p.Health, p.Reason)
		if s.Epoch != w.Epoch || s.Role == "primary" || p.Link != "live" && p.Link != "catching up" {
			return false, nil
		}
		if s.Health == engine.HealthFailed || len(s.StoppedLogs)+len(p.StoppedLogs) > 0 {
			if stopped.IsZero() {
				stopped = time.Now()
			}
			if time.Since(stopped) < stoppedFor {
				return false, nil
			}
			stopped = time.Time{}
			return false, d.mend(ctx, site, writer)
		}
		stopped = time.Time{}
		if !level {
			return p.Durable.State == engine.LagKnown && !p.Learner, nil
		}
		return isZero(&p.Durable) && isZero(&p.Applied) &&
			s.Apply.BacklogEntries == 0 && w.Apply.BacklogEntries == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w; it is: %s", err, state)
	}
	return nil
}

// mend makes all shards of a site equal to the writer's. What cannot be done now is tried
// again by who waits.
func (d *drillSites) mend(ctx context.Context, site, writer int) error {
	o := engine.MendOptions{From: drillNames[writer], Lose: true}
	report, err := remote.Mend(ctx, d.admins[site], o)
	if err != nil {
		return hardMend(err)
	}
	d.mended += report.LostEntries
	return nil
}

// hardMend drops errors of a mending that pass: the node is not there, or busy.
func hardMend(err error) error {
	if errors.Is(err, remote.ErrRefused) || errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrFailed) {
		return nil
	}
	return err
}

// segments are the files of a site's journals.
func (d *drillSites) segments(site int) ([]string, error) {
	return filepath.Glob(filepath.Join(d.w.data(drillNames[site]), "repl", "*", "*.seg"))
}
