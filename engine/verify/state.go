package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

const (
	// Keys of a part: first, and then a 64th of it, until a part is one key.
	partKeysFirst = 4096
	partKeysShare = 64
	// pointTriesMax is how many points of a shard are tried before it is given up: the
	// distance doubles each time, so the last one lies beyond any window.
	pointTriesMax = 16
	// pointStillMax is how long a log may stand still before its point: then the point
	// may never come. What the log has already is waited for as at the asked site.
	pointStillMax = 500 * time.Millisecond
)

// Why a try at a point did not compare: the next one may.
var (
	errApart = errors.New("the views of both sites do not stand at the same place")
	errStill = errors.New("the log stands still before the point")
	errMoved = errors.New("the peer's view has gone")
)

// shard compares the state of one shard at a point that both sites pass: first where
// the log ends, and then further ahead by twice as much as the views missed each other.
func (v *verification) shard(ctx context.Context, shard wire.Shard) (err error) {
	log := wire.LogID{Site: v.here.Primary(), Shard: shard}
	if v.forks[log] {
		return v.standing(ctx, log, fmt.Errorf(
			"the histories of the log of site %s differ, and with them what was applied", v.here.Site.Name(log.Site)))
	}
	if halt, ok := v.here.halts().Towards[v.peer.site][log]; ok {
		return v.standing(ctx, log, halt.Why)
	}
	ahead, lost := wire.Seq(0), 0
	for range pointTriesMax {
		c := &comparison{v: v, log: log, seq: v.tail(log).Seq + ahead}
		err = c.try(ctx)
		switch {
		case err == nil:
			v.out.ShardsCompared++
			return nil
		case errors.Is(err, errApart):
			ahead = max(1, 2*ahead, 2*c.apart)
		case errors.Is(err, errStill):
			ahead = 0
		case errors.Is(err, errMoved):
		case errors.Is(err, node.ErrNoLink) && lost < linkTriesMax:
			lost++
			if err := v.linkBack(ctx, err); err != nil {
				return err
			}
		case fatal(err) || errors.Is(err, errPoint):
			return err
		case errors.Is(err, errHostApplies):
			return &lasting{err}
		default:
			return v.standing(ctx, log, err)
		}
	}
	return err
}

// lasting is why something was not compared that will be so the next time as well.
type lasting struct{ error }

func (l *lasting) Unwrap() error { return l.error }

// standing compares a shard whose log is stopped, so that there is no point that both
// sites pass: each as it stands. It names what differs; what is alike proves little, so
// the shard counts as not compared, because of why.
func (v *verification) standing(ctx context.Context, log wire.LogID, why error) error {
	c := &comparison{v: v, log: log, standing: true}
	err := c.try(ctx)
	switch {
	case fatal(err):
		return err
	case err == nil && len(c.found) == 0:
		why = fmt.Errorf("%w; as they stand, both sites have the same state", why)
	}
	return &lasting{why}
}

// tail is where a log ends here, durably.
func (v *verification) tail(log wire.LogID) wire.Position {
	t, _ := v.here.Site.Journal(log).Tail(log)
	return t.Position
}

// comparison is one shard at one point.
type comparison struct {
	v     *verification
	log   wire.LogID
	seq   wire.Seq
	view  store.View
	there []wire.VerifiedLog // the peer's cursors
	first exchange           // what both sites reported at the beginning
	apart wire.Seq           // by how many entries the views missed each other
	keys  uint64
	found []Difference

	standing bool // each site as it stands: the cursors need not be equal
}

// exchange is what both sites digested of one range.
type exchange struct {
	mine   []wire.VerifiedPart
	theirs *wire.Verified
}

// try compares at the point, if both sites meet there.
func (c *comparison) try(ctx context.Context) error {
	defer func() {
		if c.view != nil {
			_ = c.view.Close() // only read from
		}
	}()
	if err := c.meet(ctx); err != nil {
		return err
	}
	switch {
	case c.standing || sameCursors(c.view.Cursors(), c.there):
		return c.compare(ctx)
	case c.histories():
		return nil
	}
	return c.miss()
}

// meet has both sites take their view at the point, and digest the first keys.
func (c *comparison) meet(ctx context.Context) (err error) {
	q := c.v.ask(c.about(nil, nil, c.partKeys()))
	defer q.drop()
	end, since := c.v.tail(c.log).Seq, time.Now()
	still, until := false, since.Add(pointWaitMax)
	c.view, err = c.v.here.viewAt(ctx, c.log, c.seq, func() bool {
		now := time.Now()
		if at := c.v.tail(c.log).Seq; at != end {
			end, since = at, now
		}
		still = end < c.seq && now.Sub(since) >= pointStillMax
		return !still && now.Before(until)
	})
	switch {
	case still && err == errPoint:
		if err := q.refused(ctx); err != nil {
			return err // the peer knows why
		}
		return errStill
	case err == errPoint:
		return fmt.Errorf("shard %d, seq %d: %w here within %s", c.log.Shard, c.seq, err, pointWaitMax)
	}
	if err == nil {
		c.first, err = c.digests(ctx, q, nil, nil, c.partKeys())
	}
	if err == nil {
		c.there = c.first.theirs.Rows
	}
	return err
}

// partKeys is how many keys a part has at first: all, if the Store here knows no less.
func (c *comparison) partKeys() uint32 {
	if _, ok := c.v.here.Store.(store.Viewer); !ok {
		return math.MaxUint32
	}
	return partKeysFirst
}

// about is the question about the keys [lo, hi) in parts of so many.
func (c *comparison) about(lo, hi []byte, keys uint32) wire.Verify {
	return wire.Verify{Kind: wire.VerifyState, Count: keys, Log: c.log, Seq: c.seq, Lo: lo, Hi: hi}
}

// digests works out here what the peer was asked about while it does the same there.
func (c *comparison) digests(ctx context.Context, q *question, lo, hi []byte, keys uint32) (x exchange, err error) {
	if x.mine, err = partsOf(ctx, c.view, lo, hi, keys, &c.v.pace); err != nil {
		return x, err
	}
	if x.theirs, err = q.await(ctx); err == nil && len(x.theirs.Parts) == 0 {
		err = fmt.Errorf("site %s answered without a digest: %w", c.v.peer.name, wire.ErrProtocol)
	}
	return x, err
}

// sameCursors says whether both views stand at the same place of every log.
func sameCursors(here []store.Cursor, there []wire.VerifiedLog) bool {
	if len(here) != len(there) {
		return false
	}
	for i := range here {
		if here[i].Log != there[i].Log || here[i].Position != there[i].At {
			return false
		}
	}
	return true
}

// both visits the logs that both sites have applied.
func (c *comparison) both(visit func(log wire.LogID, here, there wire.Position)) {
	for _, h := range c.view.Cursors() {
		for i := range c.there {
			if c.there[i].Log == h.Log {
				visit(h.Log, h.Position, c.there[i].At)
			}
		}
	}
}

// histories reports logs that were applied to the same seq from other histories. Of
// different incarnations one may just not have come yet.
func (c *comparison) histories() (found bool) {
	c.both(func(log wire.LogID, here, there wire.Position) {
		if here.Seq == there.Seq && here.Incarnation == there.Incarnation && here.Chain != there.Chain {
			c.v.out.differ(c.v.history(log, here, there))
			found = true
		}
	})
	return found
}

// history words two positions of one seq that are not the same (I4).
func (v *verification) history(log wire.LogID, here, there wire.Position) Difference {
	return Difference{
		What: "history", Shard: int(log.Shard), Site: v.here.Site.Name(log.Site), Seq: uint64(here.Seq),
		Detail: fmt.Sprintf("the log of site %s has %s here, %s at site %s", v.here.Site.Name(log.Site), here, there,
			v.peer.name),
	}
}

// miss notes by how many entries the two views missed each other, and words it.
func (c *comparison) miss() error {
	text := ""
	c.both(func(log wire.LogID, here, there wire.Position) {
		c.apart = max(c.apart, wire.Seq(here.EntriesAfter(there)+there.EntriesAfter(here)))
		text += fmt.Sprintf("log %s at seq %d here, %d there; ", log, here.Seq, there.Seq)
	})
	return fmt.Errorf("%w: %s%d logs here, %d there", errApart, text, len(c.view.Cursors()), len(c.there))
}

// compare goes through the whole shard; what it finds counts only if the peer had
// its view to the end.
func (c *comparison) compare(ctx context.Context) error {
	err := c.span(ctx, nil, nil, c.partKeys(), &c.first)
	if errors.Is(err, errEnough) {
		c.v.out.More, err = true, nil
	}
	if err != nil {
		return err
	}
	for _, d := range c.found {
		c.v.out.differ(d)
	}
	if !c.standing {
		c.v.out.Keys += c.keys
	}
	return nil
}

// span compares the keys [lo, hi) in parts of so many keys of the peer's, and narrows
// those that differ. told is what both have said of its beginning; nil = nothing yet.
func (c *comparison) span(ctx context.Context, lo, hi []byte, keys uint32, told *exchange) error {
	for {
		if told == nil {
			x, err := c.digests(ctx, c.v.ask(c.about(lo, hi, keys)), lo, hi, keys)
			if err != nil {
				return err
			}
			if !slices.Equal(c.there, x.theirs.Rows) {
				return errMoved
			}
			told = &x
		}
		alike := true // cut so far
		for i := range told.theirs.Parts {
			var own *wire.VerifiedPart
			part := &told.theirs.Parts[i]
			if alike = alike && i < len(told.mine) && bytes.Equal(told.mine[i].Hi, part.Hi); alike {
				own = &told.mine[i]
			}
			if err := c.part(ctx, lo, hi, part, own, keys); err != nil {
				return err
			}
			lo = part.Hi
		}
		told = nil
		if len(lo) == 0 || bytes.Equal(lo, hi) {
			return nil
		}
	}
}

// part compares one part of the peer's that begins at lo, within a range that ends at
// hi. own is the same part here; nil = not digested yet.
func (c *comparison) part(ctx context.Context, lo, hi []byte, part, own *wire.VerifiedPart, keys uint32) error {
	end := part.Hi
	if len(end) == 0 {
		end = nil
	}
	whole := part.Keys == wire.VerifyKeysUnknown || keys == math.MaxUint32
	if whole {
		lo, hi, end = nil, nil, nil
	}
	beyond := hi != nil && (end == nil || bytes.Compare(end, hi) > 0)
	if beyond || end != nil && bytes.Compare(end, lo) <= 0 {
		return fmt.Errorf("site %s: a part from %x to %x of %x to %x: %w",
			c.v.peer.name, lo, end, lo, hi, wire.ErrProtocol)
	}
	if keys == partKeysFirst && !whole {
		c.keys += uint64(part.Keys)
	}
	if own == nil {
		own = new(wire.VerifiedPart)
		err := c.v.pace.work(ctx, func() (err error) {
			own.Digest, err = c.view.Digest(ctx, lo, end)
			return err
		})
		if err != nil {
			return err
		}
	}
	switch {
	case own.Digest == part.Digest:
		return nil
	case len(c.v.out.Differences)+len(c.found) >= listMax:
		return errEnough
	case whole:
		c.add(ctx, nil, "the state of the shard differs; its Store cannot say at which key")
		return nil
	case keys > 1:
		return c.span(ctx, lo, end, max(1, keys/partKeysShare), nil)
	}
	return c.single(ctx, lo, end, int(part.Keys))
}

// single names what differs in a part that has at most one key at the peer: then
// it begins with that key.
func (c *comparison) single(ctx context.Context, lo, hi []byte, keys int) error {
	var mine [][]byte
	err := c.view.Keys(ctx, lo, hi, func(key []byte) error {
		mine = append(mine, bytes.Clone(key))
		if len(mine) > listMax {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	peer := c.v.peer.name
	switch {
	case keys == 0 && len(mine) == 0:
		c.add(ctx, lo, "rows that belong to no key differ behind it")
		return nil
	case keys == 1 && (len(mine) == 0 || !bytes.Equal(mine[0], lo)):
		c.add(ctx, lo, fmt.Sprintf("is at site %s, not at site %s", peer, c.v.here.name))
	case keys == 1 && len(mine) == 1:
		c.add(ctx, lo, fmt.Sprintf("differs between site %s and site %s", c.v.here.name, peer))
		return nil
	case keys == 1:
		if err := c.span(ctx, lo, mine[1], 1, nil); err != nil {
			return err
		}
		mine = mine[1:]
	}
	for _, key := range mine {
		c.add(ctx, key, fmt.Sprintf("is at site %s, not at site %s", c.v.here.name, peer))
	}
	return nil
}

// add notes a difference at a key; nil = at none.
func (c *comparison) add(ctx context.Context, key []byte, detail string) {
	if c.standing {
		detail += "; the log is stopped: each site as it stands"
	}
	d := Difference{
		What: "state", Shard: int(c.log.Shard), Site: c.v.here.Site.Name(c.log.Site),
		Seq: uint64(seqIn(c.view.Cursors(), c.log)), Detail: detail,
	}
	if key != nil {
		d.Key, d.Path = fmt.Sprintf("%x", key), c.v.here.nameOf(ctx, c.log.Shard, key)
	}
	c.found = append(c.found, d)
}
