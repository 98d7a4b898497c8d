package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// settlePrimary says which site writes: the one that the directory has on record, or
// whose logs lie in it; else the one that the options name. founded: the directory says
// so. An option that contradicts it is refused, because a writer moves by a failover
// only; what no option says, the directory does.
func (e *Engine) settlePrimary(control *journal.Control, cursors []wire.Cursor) (founded bool, err error) {
	primary := wire.SiteIDOf(e.o.Cluster, e.o.Primary)
	if e.named != "" && primary != e.id.site && e.routeTo(primary) == nil {
		return false, fmt.Errorf("%w: Primary is %q: neither this site, %q, nor a peer has that name",
			ErrOptions, e.named, e.id.siteName)
	}
	directory := e.directory(control, cursors)
	writer := directory.Writer()
	if directory.Stale() {
		if _, err := e.record(role.First, 0); err != nil {
			return false, fmt.Errorf("own journal of site %s: %w", e.id.siteName, err)
		}
	}
	if writer == 0 {
		e.epoch.Store(&epochHeld{role.First, primary, e.o.Primary})
		return false, nil
	}
	name := e.writerName(writer, control)
	if e.named != "" && writer != primary {
		return true, fmt.Errorf("%s: site %s writes this cluster, as this directory has it, and the options name %s "+
			"as the primary: name %s, or none; to move the writer: cfs admin replication failover --to %s: %w",
			e.o.Dir, name, e.named, name, e.named, ErrOptions)
	}
	e.epoch.Store(&epochHeld{max(control.Epoch(0), role.First), writer, name})
	return true, nil
}

// directory is what this site's directory and Store show of who writes.
func (e *Engine) directory(control *journal.Control, cursors []wire.Cursor) role.Directory {
	d := role.Directory{
		Site: e.id.site, Record: control.Writer(0), Epoch: control.Epoch(0), Peers: len(control.Peers) > 0,
	}
	for _, f := range e.journals() {
		for _, log := range logsOf(f.j) {
			d.Logs = append(d.Logs, log.ID)
		}
	}
	for _, c := range cursors {
		d.Logs = append(d.Logs, c.Log)
	}
	return d
}

// writerName is how people call a site that is not a peer of this start, perhaps.
func (e *Engine) writerName(site wire.SiteID, control *journal.Control) string {
	for _, p := range control.Peers {
		if p.Site == site {
			return p.Name
		}
	}
	return e.siteName(site)
}

// found puts on record which site writes. The next flush takes the record along, and
// nothing that follows from it is acknowledged before.
func (e *Engine) found(effects *node.Effects) {
	if !effects.Found {
		return
	}
	held := e.epoch.Load()
	if _, err := e.record(held.at, held.primary); err != nil {
		// A journal that takes nothing any more says so itself; nothing is acknowledged in it.
		e.tell(&event.PersistFailed{Writer: true, Err: err})
		return
	}
	e.own.wakeUp()
}

// record stages which site writes in an epoch; 0 = that is not known.
func (e *Engine) record(epoch wire.Epoch, writer wire.SiteID) (journal.UnitNumber, error) {
	r := journal.DomainEpoch{Epoch: epoch, Writer: writer}
	return e.own.j.StageControl([]journal.ControlRecord{{Epoch: &r}}, wire.StampOf(time.Now()))
}

// withheld is why a shard that waits does.
func (e *Engine) withheld() string {
	e.heart.mu.Lock()
	defer e.heart.mu.Unlock()
	return cmp.Or(e.heart.node.Status(e.now()).Withheld, "for a peer to confirm where its log ends")
}
