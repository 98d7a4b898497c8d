package demo

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
)

const (
	// someAcks make a phase of a scenario: enough for every client and shard.
	someAcks = 150
	// aloneAcks are what a site acknowledges that nobody hears.
	aloneAcks = 60
	// largeWrite makes segments end soon.
	largeWrite = 64 << 10
)

// acks waits until a site has acknowledged n more operations.
func (s *drillScene) acks(ctx context.Context, site int, n int64) error {
	want := s.load.count(site) + n
	return s.await(ctx, drillNames[site]+" acknowledges nothing more", func() (bool, error) {
		return s.load.count(site) >= want, s.load.failed()
	})
}

// disaster lets the load run and begins to measure.
func (s *drillScene) disaster(ctx context.Context, what string) error {
	s.say("loading")
	if err := s.acks(ctx, s.writer, someAcks); err != nil {
		return err
	}
	s.say("%s", what)
	s.load.measure()
	return nil
}

// takeOver promotes a site while the load looks for a writer, and notes how long none took an
// append.
func (s *drillScene) takeOver(ctx context.Context, site int) error {
	s.say("failover to %s", drillNames[site])
	s.load.leave()
	if err := s.promote(ctx, site); err != nil {
		return err
	}
	s.writer = site
	if err := s.acks(ctx, site, someAcks); err != nil {
		return err
	}
	s.result.RTOMs = max(s.result.RTOMs, s.load.stall().Milliseconds())
	return nil
}

// comeBack starts a site that was down, and waits until it follows the writer.
func (s *drillScene) comeBack(ctx context.Context, site int) error {
	s.say("%s comes back", drillNames[site])
	if err := s.scan(site); err != nil {
		return err
	}
	if err := s.start(ctx, site); err != nil {
		return err
	}
	return s.follows(ctx, site, s.writer, false)
}

// switchover hands the writing over and back under load. Nothing at all may be lost.
func (s *drillScene) switchover(ctx context.Context) error {
	if err := s.disaster(ctx, "switchover to site-b, and back"); err != nil {
		return err
	}
	for _, to := range []int{1, 0} {
		if err := s.handOver(ctx, s.writer, to); err != nil {
			return err
		}
		s.writer = to
		if err := s.acks(ctx, to, someAcks); err != nil {
			return err
		}
	}
	stall := s.load.stall()
	s.result.RTOMs = stall.Milliseconds()
	if limit := s.o.StallMax; limit > 0 && stall > limit {
		s.result.note("appends stood still for %s, allowed are %s", stall, limit)
	}
	s.load.gate.Lock()
	defer s.load.gate.Unlock()
	s.load.kept()
	return nil
}

// writerKilled kills the writer, and it comes back after the failover.
func (s *drillScene) writerKilled(ctx context.Context) error {
	if err := s.disaster(ctx, "SIGKILL site-a"); err != nil {
		return err
	}
	if err := s.kill(0); err != nil {
		return err
	}
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	return s.comeBack(ctx, 0)
}

// writerFrozen stops the writer where it is, and lets it go on after the failover. Nothing that
// it takes then is applied anywhere, and its clients go to the new writer.
func (s *drillScene) writerFrozen(ctx context.Context) error {
	if err := s.disaster(ctx, "SIGSTOP site-a"); err != nil {
		return err
	}
	if err := s.freeze(0); err != nil {
		return err
	}
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	if err := s.close(ctx, 1); err != nil {
		return err
	}
	s.say("SIGCONT site-a")
	if err := s.thaw(0); err != nil {
		return err
	}
	return s.follows(ctx, 0, 1, false)
}

// alone cuts the writer off and lets it acknowledge what no other site gets.
func (s *drillScene) alone(ctx context.Context, cut ...int) error {
	if err := s.disaster(ctx, "the link is cut"); err != nil {
		return err
	}
	for _, other := range cut {
		s.cut(s.writer, other)
	}
	return s.acks(ctx, s.writer, aloneAcks)
}

// linkCut cuts the link; both sites write, and meet again.
func (s *drillScene) linkCut(ctx context.Context) error {
	if err := s.alone(ctx, 1); err != nil {
		return err
	}
	s.load.pin(0, 1)
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	if err := s.acks(ctx, 0, aloneAcks); err != nil {
		return err
	}
	if err := s.scan(0); err != nil {
		return err
	}
	s.say("the link is back")
	s.load.free()
	s.heal()
	return s.follows(ctx, 0, 1, false)
}

// writerWithTail kills a writer that has something alone, and it comes back after the failover.
func (s *drillScene) writerWithTail(ctx context.Context) error {
	if err := s.alone(ctx, 1); err != nil {
		return err
	}
	if err := s.kill(0); err != nil {
		return err
	}
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	s.heal()
	return s.comeBack(ctx, 0)
}

// writerWiped takes the writer's disk away.
func (s *drillScene) writerWiped(ctx context.Context) error {
	if err := s.disaster(ctx, "site-a loses its disk"); err != nil {
		return err
	}
	if err := s.kill(0); err != nil {
		return err
	}
	if err := s.scan(0); err != nil { // what was acknowledged there alone is gone with it
		return err
	}
	if err := s.wipe(0); err != nil {
		return err
	}
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	return s.comeBack(ctx, 0)
}

// standbyWiped takes the standby's disk away, once the writer has given segments back.
func (s *drillScene) standbyWiped(ctx context.Context) error {
	s.say("loading until segments are given back")
	if err := s.await(ctx, "site-a gives no segment back", func() (bool, error) {
		status, err := remote.Status(ctx, s.admins[0])
		if err != nil {
			return false, hard(err)
		}
		for _, j := range status.Journals {
			if j.Name == "own" && int64(status.Appends.Bytes) > 2*j.Bytes {
				return true, s.load.failed()
			}
		}
		return false, s.load.failed()
	}); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.disaster(ctx, "site-b loses its disk"); err != nil {
		return err
	}
	if err := s.kill(1); err != nil {
		return err
	}
	if err := s.wipe(1); err != nil {
		return err
	}
	return s.comeBack(ctx, 1)
}

// oldCopy restores each site from a copy of its whole directory, from before the switchover:
// the former writer first, whose copy says that it writes, then the writer.
func (s *drillScene) oldCopy(ctx context.Context) error {
	for _, i := range s.all() {
		if err := s.restore(ctx, i, "cp", "-r", s.w.data(drillNames[i]), s.w.data(drillNames[i])+".old"); err != nil {
			return err
		}
	}
	if err := s.disaster(ctx, "switchover to site-b"); err != nil {
		return err
	}
	if err := s.handOver(ctx, 0, 1); err != nil {
		return err
	}
	s.writer = 1
	for _, i := range s.all() {
		if err := s.acks(ctx, s.writer, someAcks); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		s.say("%s comes back from its old copy", drillNames[i])
		if err := s.restore(ctx, i, "mv", s.w.data(drillNames[i])+".old", s.w.data(drillNames[i])); err != nil {
			return err
		}
	}
	return nil
}

// restore holds the load while a site is down and a command works on its directory: "mv" onto
// it replaces it. The site is up and level again when it returns.
func (s *drillScene) restore(ctx context.Context, site int, command ...string) error {
	s.load.gate.Lock()
	defer s.load.gate.Unlock()
	if err := s.level(ctx); err != nil {
		return err
	}
	if err := s.kill(site); err != nil {
		return err
	}
	if command[0] == "mv" {
		if err := s.wipe(site); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, out)
	}
	if err := s.start(ctx, site); err != nil {
		return err
	}
	return s.level(ctx)
}

// thirdPastEnd has the third site hear what the new writer does not: it is past the end of the
// epoch when it meets that.
func (s *drillScene) thirdPastEnd(ctx context.Context) error {
	s.cut(1, 2)
	if err := s.alone(ctx, 1); err != nil {
		return err
	}
	if err := s.kill(0); err != nil {
		return err
	}
	if err := s.takeOver(ctx, 1); err != nil {
		return err
	}
	if err := s.scan(2); err != nil {
		return err
	}
	s.heal()
	s.say("site-c meets site-b")
	if err := s.follows(ctx, 2, 1, false); err != nil {
		return err
	}
	return s.comeBack(ctx, 0)
}

// thirdAdded has a third site join under load.
func (s *drillScene) thirdAdded(ctx context.Context) error {
	if err := s.disaster(ctx, "site-c joins"); err != nil {
		return err
	}
	for _, i := range []int{1, 0} { // the writer last: it begins to send
		peer := engine.Peer{Site: drillNames[2], Addrs: []string{s.ways[[2]int{i, 2}].Addr()}}
		if _, err := remote.AddSite(ctx, s.admins[i], peer); err != nil {
			return err
		}
	}
	if err := s.start(ctx, 2); err != nil {
		return err
	}
	if err := s.follows(ctx, 2, 0, false); err != nil {
		return err
	}
	return s.acks(ctx, 0, someAcks)
}

// renamedWait bounds how long a server may take to refuse a directory of another name.
const renamedWait = time.Minute

// siteRenamed starts the standby under another name, which it refuses, and then under its own.
func (s *drillScene) siteRenamed(ctx context.Context) error {
	if err := s.disaster(ctx, "site-b is renamed"); err != nil {
		return err
	}
	if err := s.kill(1); err != nil {
		return err
	}
	p := s.processes[1]
	said := make(chan error, 1)
	renamed := &process{name: "site-x", path: p.path, args: append([]string{}, p.args...), logPath: s.w.log("site-x"),
		died: said}
	renamed.args[2] = "site-x"
	if err := renamed.startWith(s.peers(1, s.all())...); err != nil {
		return err
	}
	defer renamed.stop()
	limit, cancel := context.WithTimeout(ctx, renamedWait)
	defer cancel()
	select {
	case err := <-said:
		<-renamed.exited
		if code := renamed.cmd.ProcessState.ExitCode(); code != 3 {
			s.result.note("site-x ended with %d instead of 3: %v", code, err)
		} else if words := renamed.lastWords(); !strings.Contains(words, drillNames[1]) {
			s.result.note("the refusal of site-x does not name %s: %s", drillNames[1], words)
		}
	case <-limit.Done():
		s.result.note("site-b runs as site-x on its directory")
	}
	return s.comeBack(ctx, 1)
}
