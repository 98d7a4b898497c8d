package mend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

const (
	// retryMin and retryMax are the pauses after the source was lost; they double.
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
	// roomEvery is how often a file that has no room is tried again.
	roomEvery = 2 * time.Second
	// proofsMax is how often a shard is fetched that is not equal after all pieces.
	proofsMax = 3
)

// Outcome is what became of a shard.
type Outcome struct {
	// Equal: nothing differed, and nothing was changed. Else the shard was made equal.
	Equal   bool
	Cursors []wire.Cursor // of the source's view, where the shard stands now
	Bytes   int64         // of rows that came
}

// Job makes one shard equal to that of a source. Its caller holds the shard: nothing else is
// applied to it until Run has returned.
type Job struct {
	FS    vfs.FS
	Dir   string // of the file
	Store store.Mender
	Shard wire.Shard
	From  string // name of the source
	// Ask asks the source. Lost says of its error that the source, or its view, may be back
	// later: the job goes on then.
	Ask  func(ctx context.Context, q *wire.Mend) (*wire.Rows, error)
	Lost func(err error) bool
	// Accept is called with the cursors of each view before anything of it is asked for. Its
	// error ends the job, and drops the file.
	Accept func(view []wire.Cursor) error
	// Act is called once the file is complete, and calls change, which alone changes the
	// Store. An error without a change drops the file.
	Act    func(view []wire.Cursor, change func() error) error
	Rate   int64 // bytes of rows a second; 0 = no limit
	Status *Status

	bytes int64
	paced time.Time // when the rate allows the next question
}

// Measure compares only: what would be fetched. It writes nothing.
func (j *Job) Measure(ctx context.Context) (Progress, []wire.Cursor, error) {
	own, err := j.Store.MendView(ctx, j.Shard)
	if err != nil {
		return Progress{}, nil, err
	}
	defer own.Close() // only read from
	g := NewGather(j.Shard, nil, Partial{}, nil)
	for !g.Compared() {
		if _, err := j.question(ctx, g, own); err != nil {
			return Progress{}, nil, err
		}
	}
	return g.Progress(), g.Cursors(), nil
}

// errRefused: the job's owner does not want what the view has.
var errRefused = errors.New("not accepted")

// Run mends the shard. ctx bounds what is asked for; what has begun to change the Store ends
// with life only. Where it ends with an error, the file stays and the next Run for the same
// shard and source goes on with it; a shard whose pieces began stays torn until then.
func (j *Job) Run(ctx, life context.Context) (*Outcome, error) {
	for tries := 1; ; tries++ {
		out, err := j.run(ctx, life)
		if !errors.Is(err, ErrNotEqual) || tries == proofsMax {
			return out, err
		}
	}
}

func (j *Job) run(ctx, life context.Context) (out *Outcome, err error) {
	s, err := j.open(ctx)
	if err != nil {
		return nil, err
	}
	if !s.Complete() {
		equal, err := j.gather(ctx, s)
		switch {
		case errors.Is(err, errFlush), errors.Is(err, errRefused), errors.Is(err, wire.ErrProtocol):
			return nil, errors.Join(err, s.Remove())
		case err != nil:
			return nil, errors.Join(err, s.Close())
		case equal != nil:
			return equal, s.Remove()
		}
	}
	changed := false
	err = j.Act(s.Cursors(), func() error {
		changed = true
		return Finish(life, s, j.Store, j.Status)
	})
	if err != nil && !changed {
		err = errors.Join(err, s.Remove())
	}
	if err != nil {
		return nil, err
	}
	return &Outcome{Cursors: s.Cursors(), Bytes: j.bytes}, nil
}

// Finish applies a complete file and removes it. It needs no other site. ErrNotEqual, or a
// piece that the Store refuses: the file is removed all the same, and its shard is torn.
func Finish(ctx context.Context, s *Spool, to store.Mender, status *Status) error {
	status.applies(s)
	err := s.Apply(ctx, to, status.applied)
	if err == nil || errors.Is(err, ErrNotEqual) || errors.Is(err, store.ErrMendPiece) {
		return errors.Join(err, s.Remove())
	}
	return errors.Join(err, s.Close())
}

// open takes the file of an earlier Run, or begins one.
func (j *Job) open(ctx context.Context) (*Spool, error) {
	s, err := OpenSpool(j.FS, j.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrSpool):
	case err != nil:
		return nil, err
	case s.Head().Shard == j.Shard && s.Head().From == j.From:
		return s, nil
	case s.Complete():
		err := fmt.Errorf("shard %d is not mended to its end: mend it first", s.Head().Shard)
		return nil, errors.Join(err, s.Close())
	default:
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	head := Head{Shard: j.Shard, From: j.From}
	rand.Read(head.Mend[:]) // Never fails: crypto/rand ends the program first.
	for {
		s, err := CreateSpool(j.FS, j.Dir, head)
		if !noRoom(err) {
			return s, err
		}
		if err := j.wait(ctx, roomEvery, err); err != nil {
			return nil, err
		}
	}
}

// gather fills the file until it is complete. An Outcome: nothing is to be done.
func (j *Job) gather(ctx context.Context, s *Spool) (*Outcome, error) {
	own, err := j.Store.MendView(ctx, j.Shard)
	if err != nil {
		return nil, err
	}
	defer own.Close() // only read from
	parts, partial, base := s.Held()
	g := NewGather(j.Shard, parts, partial, base)
	for g.Next() != nil {
		rec, err := j.question(ctx, g, own)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		if err := j.written(ctx, func() error { return s.Append(rec) }); err != nil {
			return nil, err
		}
		if err := s.FlushSome(); err != nil {
			return nil, err
		}
	}
	if !g.Differs() && !own.Torn() && slices.Equal(own.Cursors(), g.Cursors()) {
		return &Outcome{Equal: true, Cursors: g.Cursors(), Bytes: j.bytes}, nil
	}
	cover, err := g.Cover()
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return nil, j.written(ctx, func() error { return s.Finish(cover, g.Cursors()) })
}

// question asks the next one and takes its answer. A source that is lost is waited for.
func (j *Job) question(ctx context.Context, g *Gather, own Own) (*Record, error) {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		q := g.Next()
		if err := sleep(ctx, time.Until(j.paced)); err != nil {
			return nil, err
		}
		a, err := j.Ask(ctx, q)
		if err == nil {
			rec, err := g.Take(ctx, own, a)
			if err == nil && q.Kind == wire.MendOpen {
				if err = j.Accept(g.Cursors()); err != nil {
					err = fmt.Errorf("%w: %w", errRefused, err)
				}
			}
			j.came(len(a.Data))
			j.Status.gathers(g, j.bytes)
			return rec, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !j.Lost(err) {
			return nil, err
		}
		g.Lost()
		if err := j.wait(ctx, pause, err); err != nil {
			return nil, err
		}
	}
}

// came notes rows that came, and when the rate allows the next.
func (j *Job) came(bytes int) {
	j.bytes += int64(bytes)
	if j.Rate <= 0 || bytes == 0 {
		return
	}
	now := time.Now()
	if j.paced.Before(now) {
		j.paced = now
	}
	j.paced = j.paced.Add(time.Duration(float64(bytes) / float64(j.Rate) * float64(time.Second)))
}

// written does a write, and waits where there is no room for it.
func (j *Job) written(ctx context.Context, write func() error) error {
	for {
		err := write()
		if !noRoom(err) || errors.Is(err, errFlush) {
			return err
		}
		if err := j.wait(ctx, roomEvery, err); err != nil {
			return err
		}
	}
}

// noRoom says that a file cannot grow now.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// wait waits before the next try, and says for what.
func (j *Job) wait(ctx context.Context, d time.Duration, why error) error {
	j.Status.waits(why)
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
