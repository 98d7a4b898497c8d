package demo

import (
	"context"
	"errors"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/tools/cli/remote"
)

// drillPoints are where killEachStep ends a site: first the one that is being promoted, then the
// former writer that is being mended.
var drillPoints = []vfs.Failpoint{
	{Op: vfs.OpCreate, Call: 1, After: true},
	{Op: vfs.OpSyncDir, Call: 1},
	{Op: vfs.OpWrite, Call: 2},
	{Op: vfs.OpSync, Call: 2},
	{Op: vfs.OpSync, Call: 3, After: true},
	{Op: vfs.OpWrite, Call: 4, After: true},
	{Op: vfs.OpRename, Call: 1},
	{Op: vfs.OpSync, Call: 6},
	{Op: vfs.OpWrite, Call: 8, After: true},
	{Op: vfs.OpSync, Call: 12, After: true},
}

// killEachStep ends servers at calls to their disks, one further in each round. Both sites go on
// where they were, and change places in the next round.
func (s *drillScene) killEachStep(ctx context.Context) error {
	for round, point := range drillPoints {
		if err := s.alone(ctx, 1-s.writer); err != nil {
			return err
		}
		former, next := s.writer, 1-s.writer
		if err := errors.Join(s.kill(former), s.kill(next), s.scan(former)); err != nil {
			return err
		}
		s.say("%d of %d: %s of the promotion of %s", round+1, len(drillPoints), point, drillNames[next])
		if err := s.endAt(ctx, next, point, s.promoted); err != nil {
			return err
		}
		if err := s.takeOver(ctx, next); err != nil {
			return err
		}
		s.heal()
		s.say("%d of %d: %s of the mending of %s", round+1, len(drillPoints), point, drillNames[former])
		if err := s.endAt(ctx, former, point, s.mendedNow); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	if s.result.Failpoints == 0 {
		return errUnwalked
	}
	return nil
}

// promoted asks a site to take over, and says whether it has, and takes appends.
func (s *drillScene) promoted(ctx context.Context, site int) bool {
	status, err := remote.Status(ctx, s.admins[site])
	if err == nil && status.Role == "primary" {
		return status.Appends.State == engine.AppendsOpen
	}
	_, _ = remote.Failover(ctx, s.admins[site], drillNames[site], engine.FailoverOptions{}) // asked again
	return false
}

// mendedNow asks a site that follows to be mended, and says whether it is.
func (s *drillScene) mendedNow(ctx context.Context, site int) bool {
	status, err := remote.Status(ctx, s.admins[site])
	if err != nil || status.Role == "primary" || len(status.StoppedLogs) == 0 {
		return false
	}
	before := s.mended
	return s.mend(ctx, site, s.writer) == nil && s.mended > before
}

// endAt starts a site that ends at a failpoint, and asks it again and again until it has ended,
// has done all that it was asked, or did not reach the point in time. Then it starts the site
// again without.
func (s *drillScene) endAt(ctx context.Context, site int, point vfs.Failpoint,
	done func(context.Context, int) bool) error {
	p := s.processes[site]
	if err := p.startWith(append(s.peers(site, s.all()), "--failpoint", point.String())...); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	_ = poll(limit, pollEvery, func() (bool, error) { // it ends with limit at the latest
		select {
		case <-p.exited:
			return true, nil
		default:
		}
		return done(limit, site), nil
	})
	if err := errors.Join(ctx.Err(), s.kill(site)); err != nil {
		return err
	}
	if p.cmd.ProcessState.ExitCode() == ExitFailpoint {
		s.result.Failpoints++
	}
	return s.start(ctx, site)
}
