package powerloss

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// resumeTime bounds how long two sites may take until they replicate again.
const resumeTime = 60 * time.Second

// resume opens both sites on the disk that a cut left, which v is the verdict of,
// appends to every shard until the other site has it durably, and checks once more:
// recovery left nothing behind that only the journals' own opening would pass.
func resume(v *verdict, dir, io string, notes []note) (*verdict, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resumeTime)
	defer cancel()
	if err := appendAgain(ctx, loadOptions{Dir: dir, IO: io}, v.own, v.mirror); err != nil {
		v.fault("the sites do not go on: %v", err)
		return v, nil
	}
	notes = slices.Clip(notes)
	for site, b := range map[string]*book{source: v.own, mirror: v.mirror} {
		for log, tail := range b.tails {
			notes = append(notes, note{floor: &floor{site, log, tail.Incarnation, tail.Seq}})
		}
	}
	return check(dir, notes)
}

func appendAgain(ctx context.Context, o loadOptions, own, mirrored *book) error {
	b, err := openSite(ctx, o, mirror, "127.0.0.1:0", "", storeAt(mirrored))
	if err != nil {
		return err
	}
	defer b.Close(context.Background())
	a, err := openSite(ctx, o, source, "", b.Addr(), storeAt(own))
	if err != nil {
		return err
	}
	defer a.Close(context.Background())
	for shard := range wire.Shard(shards) {
		entry := engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("again")}, Payload: make([]byte, payloadHead)}
		owner{writers + uint32(shard), 1}.put(entry.Payload)
		if _, err := a.Append(ctx, shard, &entry, engine.Durable(1)); err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
	}
	return nil
}

// reached is a Store that had applied, durably, all that a journal has when it was
// opened.
type reached struct {
	*store.Mem
	base []store.Cursor
}

func storeAt(b *book) *reached {
	s := &reached{Mem: store.NewMem()}
	for log, tail := range b.tails {
		s.base = append(s.base, store.Cursor{Log: log, Position: tail})
	}
	slices.SortFunc(s.base, func(a, b store.Cursor) int { return a.Log.Compare(b.Log) })
	return s
}

// Cursors implements store.Store.
func (s *reached) Cursors(shard wire.Shard) ([]store.Cursor, error) {
	cursors, err := s.Mem.Cursors(shard)
	return s.above(shard, cursors), err
}

// Durable implements store.Store.
func (s *reached) Durable(shard wire.Shard) ([]store.Cursor, error) {
	cursors, err := s.Mem.Durable(shard)
	return s.above(shard, cursors), err
}

// above adds where the Store began for logs that nothing was applied of since.
func (s *reached) above(shard wire.Shard, cursors []store.Cursor) []store.Cursor {
	for _, c := range s.base {
		has := func(o store.Cursor) bool { return o.Log == c.Log }
		if c.Log.Shard == shard && !slices.ContainsFunc(cursors, has) {
			cursors = append(cursors, c)
		}
	}
	slices.SortFunc(cursors, func(a, b store.Cursor) int { return a.Log.Compare(b.Log) })
	return cursors
}
