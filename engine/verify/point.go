package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Two sites work on while they are compared, so each takes its view of a shard at
// the same point of its history: the first end of a batch at or behind a seq.
// Batches are the same bytes at every site, and a shard's applier is serial, so
// between that batch and the next one both have the same state, if they ever have.
// Nothing is written and nobody waits for anybody: who is asked too late takes its
// view where it stands, the cursors then differ, and the next point lies further on.

// points are the places where views are wanted.
type points struct {
	armed atomic.Int32 // read by the appliers after every batch
	mu    sync.Mutex
	list  []*point
}

type point struct {
	log   wire.LogID
	seq   wire.Seq
	view  store.View // set before taken is closed
	err   error
	taken chan struct{}
}

// arm asks for a view at the first end of a batch of log at or behind seq.
func (p *points) arm(log wire.LogID, seq wire.Seq) *point {
	at := &point{log: log, seq: seq, taken: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, at)
	p.armed.Add(1)
	return at
}

// take removes the first point that fits; nil if there is none.
func (p *points) take(fits func(*point) bool) *point {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.list, fits)
	if i < 0 {
		return nil
	}
	at := p.list[i]
	p.list = slices.Delete(p.list, i, i+1)
	p.armed.Add(-1)
	return at
}

// Passed is called by a shard's applier with the batch it has just applied, before it
// applies the next one.
func (v *Verifier) Passed(ctx context.Context, h *wire.BatchHeader) {
	p := &v.points
	if p.armed.Load() == 0 {
		return
	}
	for {
		at := p.take(func(at *point) bool { return at.log == h.Log() && h.LastSeq() >= at.seq })
		if at == nil {
			return
		}
		at.view, at.err = store.ViewOf(ctx, v.Store, h.Shard)
		close(at.taken)
	}
}

// errPoint: the point was not reached in time.
var errPoint = errors.New("the point is not reached")

// viewAt returns a view of the log's shard from the point on: at it, if the
// shard's applier had not passed it yet. goOn says every now and then whether to
// wait on.
func (v *Verifier) viewAt(ctx context.Context, log wire.LogID, seq wire.Seq, goOn func() bool) (store.View, error) {
	if v.HostLog && log.Site == v.ID {
		return v.hostView(ctx, log, seq, goOn)
	}
	p := &v.points
	at := p.arm(log, seq)
	disarm := func() bool { return p.take(func(other *point) bool { return other == at }) != nil }
	cursors, err := v.Store.Cursors(log.Shard)
	if (err != nil || seqIn(cursors, log) >= seq) && disarm() {
		if err != nil {
			return nil, err
		}
		return store.ViewOf(ctx, v.Store, log.Shard)
	}
	ticker := time.NewTicker(pointLookEvery)
	defer ticker.Stop()
	for waits := (wait{v: v, log: log, seq: seq}); ; {
		err = waits.ended()
		if err != nil && disarm() {
			return nil, err
		}
		err = nil
		select {
		case <-at.taken:
			return at.view, at.err
		case <-ctx.Done():
			err = ctx.Err()
		case <-ticker.C:
			if !goOn() {
				err = errPoint
			}
		}
		if err == nil {
			continue
		}
		if !disarm() {
			<-at.taken // the applier is at it
			if at.err == nil {
				at.err = at.view.Close()
			}
		}
		if at.err != nil {
			err = errors.Join(err, at.err)
		}
		return nil, err
	}
}

// errHostApplies: the host applies the log by itself, and its Store does not name a
// position of it. No view of it can be put beside one of another site.
var errHostApplies = errors.New("the host applies its own log, and its Store has no cursor of it")

// hostView is viewAt for a log that the host applies: no applier passes its points, so
// the Store's cursor is looked at until it is there.
func (v *Verifier) hostView(ctx context.Context, log wire.LogID, seq wire.Seq, goOn func() bool) (store.View, error) {
	ticker := time.NewTicker(pointLookEvery)
	defer ticker.Stop()
	for {
		cursors, err := v.Store.Cursors(log.Shard)
		switch at := seqIn(cursors, log); {
		case err != nil:
			return nil, err
		case at >= seq:
			return store.ViewOf(ctx, v.Store, log.Shard)
		case at == 0:
			return nil, fmt.Errorf("log of site %s: %w", v.Site.Name(log.Site), errHostApplies)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !goOn() {
			return nil, errPoint
		}
	}
}

// pointLookEvery is how often who waits for a point looks whether it still moves.
const pointLookEvery = 200 * time.Millisecond

// positionIn is a log's position among cursors.
func positionIn(cursors []store.Cursor, log wire.LogID) wire.Position {
	for _, c := range cursors {
		if c.Log == log {
			return c.Position
		}
	}
	return wire.Position{}
}

// seqIn is a log's seq among cursors.
func seqIn(cursors []store.Cursor, log wire.LogID) wire.Seq { return positionIn(cursors, log).Seq }
