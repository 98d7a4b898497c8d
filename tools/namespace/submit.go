package namespace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/wire"
)

// Log is where the entries of Submit go: an engine, which brings them back
// through Apply.
type Log interface {
	// Append gives e the next place in the shard's log; e is the caller's again
	// when it returns.
	Append(ctx context.Context, shard wire.Shard, e *wire.Entry) (wire.Ref, error)
	// Wait returns when the Store shows the effect of ref, or never will.
	Wait(ctx context.Context, ref wire.Ref) error
}

// Result is what became of an Operation.
type Result struct {
	Ref      wire.Ref // zero if nothing was to be done, and after an error
	Repeated bool     // the request was known: Ref is the first one's
	Err      error    // *fs.PathError with a syscall.Errno: refused, nothing done
}

// Receipt is what Submit's caller waits for before it tells the results to
// anyone: until then they may be lost in a crash.
type Receipt struct {
	last    wire.Ref
	waiting bool
	log     Log
}

// Wait returns when all results of the Submit are applied here, which includes
// that their journal is flushed. An error leaves the outcome unknown.
func (r Receipt) Wait(ctx context.Context) error {
	if !r.waiting {
		return nil
	}
	return r.log.Wait(ctx, r.last)
}

// desk is the validating side of one shard.
type desk struct {
	lock    chan struct{} // holds one token: ctx bounds the wait, as no mutex does
	batch   *pebble.Batch // the overlay; nil = empty
	dirs    map[string]Inode
	last    wire.Ref // the last appended entry
	waiting bool     // last may not be applied yet
	spoiled bool     // the overlay has an effect whose entry was not appended
	turn    uint64   // of the shard's cursors, when the overlay began
}

// overlayBytesMax bounds a shard's overlay; beyond it Submit waits until what is
// pending is applied.
const overlayBytesMax = 32 << 20

func (d *desk) reset() {
	if d.batch != nil {
		d.batch.Close() // of memory only
	}
	d.batch, d.waiting, d.spoiled = nil, false, false
	clear(d.dirs)
}

// DropPending forgets, in every shard, the effects of what was appended and is not applied: of an
// epoch that ended. It waits for Submits that are under way.
func (s *Store) DropPending() {
	s.mu.Lock()
	desks := slices.Collect(maps.Values(s.desks))
	s.mu.Unlock()
	for _, d := range desks {
		<-d.lock
		d.reset()
		d.lock <- struct{}{}
	}
}

func (s *Store) desk(shard wire.Shard) *desk {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.desks[shard]
	if d == nil {
		d = &desk{lock: make(chan struct{}, 1), dirs: map[string]Inode{}}
		d.lock <- struct{}{}
		s.desks[shard] = d
	}
	return d
}

// Submit validates ops, all of one shard, one after another under the shard's
// lock, each against the state that those before it will have made, and appends
// their entries to log. It fills results[i] for ops[i] and returns how many it
// decided; those are good even when there is an error, which says why ops[n] was
// not appended. Whether ops[n] was done is as the log's error has it; those
// behind it were not.
func (s *Store) Submit(ctx context.Context, log Log, ops []Operation, results []Result) (n int, r Receipt, err error) {
	if len(ops) == 0 {
		return 0, Receipt{}, nil
	}
	leave, err := s.enter()
	if err != nil {
		return 0, Receipt{}, err
	}
	defer leave()
	shard := ShardOf(ops[0].Path, s.shards)
	d := s.desk(shard)
	select {
	case <-d.lock:
	case <-ctx.Done():
		return 0, Receipt{}, ctx.Err()
	}
	defer func() { d.lock <- struct{}{} }()
	turn, err := s.turn(shard)
	if err != nil {
		return 0, Receipt{}, err
	}
	if d.turn != turn { // mended: nothing is pending on what there was
		d.reset()
		d.turn = turn
	}
	if err := s.settle(ctx, log, shard, d); err != nil {
		return 0, Receipt{}, err
	}
	x := newEffects(d.batch, shard, false)
	v := &validator{effects: x, shards: s.shards, dirs: d.dirs}
	scratch := s.payloads.Get().(*[]byte)
	v.payload = *scratch
	defer func() {
		*scratch = v.payload
		s.payloads.Put(scratch)
	}()
	for n < len(ops) && err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		v.now = s.now().UnixNano()
		if results[n], err = s.submitOne(ctx, log, d, v, &ops[n]); err == nil {
			n++
		}
	}
	return n, Receipt{last: d.last, waiting: d.waiting, log: log}, err
}

// settle readies the overlay: it starts again when everything appended is
// applied, and waits for that when the overlay is too large or spoiled.
func (s *Store) settle(ctx context.Context, log Log, shard wire.Shard, d *desk) error {
	if d.waiting && !s.applied(d.last) && (d.spoiled || d.batch.Len() > overlayBytesMax) {
		if err := log.Wait(ctx, d.last); err != nil {
			return fmt.Errorf("shard %d: what is pending: %w", shard, err)
		}
	}
	if d.batch == nil || !d.waiting || s.applied(d.last) {
		d.reset()
		d.batch = s.db.NewIndexedBatch()
	}
	return nil
}

// applied says whether the state covers ref.
func (s *Store) applied(ref wire.Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cursorsOf(ref.Log.Shard).applied {
		if c.Log == ref.Log {
			return c.Position.Incarnation == ref.Incarnation && c.Position.Seq >= ref.Seq
		}
	}
	return false
}

// submitOne decides one operation. An error is the log's or the Store's; what
// POSIX refuses is in the result.
func (s *Store) submitOne(ctx context.Context, log Log, d *desk, v *validator, op *Operation) (Result, error) {
	var e wire.Entry
	same := false
	ref, known, err := v.known(op.Request)
	if err == nil && !known && ShardOf(op.Path, s.shards) != v.shard {
		return Result{Err: opError(op, syscall.EXDEV)}, nil
	}
	if err == nil && !known {
		same, err = v.entry(op, &e)
	}
	if turn, torn := s.turn(v.shard); torn != nil || turn != d.turn { // what was read is of no moment
		return Result{}, cmp.Or(torn, fmt.Errorf("shard %d: %w", v.shard, ErrMended))
	}
	if known {
		return Result{Ref: ref, Repeated: true}, nil
	}
	if _, refused := err.(syscall.Errno); refused {
		return Result{Err: opError(op, err)}, nil
	}
	if err != nil || same {
		return Result{}, err
	}
	if err := wire.CheckEntry(&e); err != nil {
		return Result{}, err
	}
	// Half an effect in the overlay would be worse than none: it counts as
	// spoiled until the entry has its place.
	d.spoiled = true
	if err := v.apply(); err != nil {
		return Result{}, err
	}
	// An append that has begun is not abandoned, so that its outcome is known to
	// the overlay whenever the log knows it.
	ref, err = log.Append(context.WithoutCancel(ctx), v.shard, &e)
	if err != nil {
		return Result{}, err
	}
	d.last, d.waiting, d.spoiled = ref, true, false
	if op.Request != (wire.RequestID{}) {
		err = v.b.Set(requestKey(nil, v.shard, op.Request), encodeRef(nil, ref), nil)
	}
	return Result{Ref: ref}, err
}

// known looks a request up.
func (v *view) known(id wire.RequestID) (ref wire.Ref, known bool, err error) {
	if id == (wire.RequestID{}) {
		return ref, false, nil
	}
	known, err = v.get(requestKey(nil, v.shard, id), func(b []byte) (err error) {
		ref, err = decodeRef(b)
		return err
	})
	return ref, known, err
}

// Errno returns the POSIX error of a Result or a reader's error, 0 if it is
// none.
func Errno(err error) syscall.Errno {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return 0
}
