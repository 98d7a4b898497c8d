package namespace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

var (
	// ErrOptions: Open was asked for something that cannot be.
	ErrOptions = errors.New("bad namespace options")
	// ErrClosed is what every call answers after Close.
	ErrClosed = errors.New("namespace closed")
	// ErrBroken: Pebble met an error that it cannot go on from. Every later call
	// fails with it; what is durable is safe, and a restart reads it again.
	ErrBroken = errors.New("namespace store stopped")
	// ErrMended: a shard was made equal to another site's while it was read. Nothing was done.
	ErrMended = errors.New("mended meanwhile: ask again")
)

// Options of a Store. Dir and Shards are required.
type Options struct {
	Dir    string // created if absent; one Store at a time
	Shards int    // 1 to wire.ShardCountMax; fixed when Dir is created

	CacheBytes    int64            // of blocks and memtables together; default 96 MiB
	MemTableBytes int              // of one of at most 4 memtables; default 16 MiB
	FS            vfs.FS           // nil = the operating system's
	Logger        *slog.Logger     // nil = silent
	Now           func() time.Time // of the operations that Submit validates; nil = time.Now
}

const (
	cacheBytesDefault    = 96 << 20 // Pebble counts memtables in: up to 64 MiB of it are theirs
	memTableBytesDefault = 16 << 20
	memTableCountMax     = 4
)

// Store is an open namespace: a store.Store, the validating side that feeds a
// log (Submit), and readers. Its methods may be called by any goroutine.
type Store struct {
	db     *pebble.DB
	shards int
	now    func() time.Time
	log    *fatalLog

	rows    rowNumbers
	commits chan commit // to the committer

	payloads sync.Pool // of *[]byte, for validators

	mu      sync.Mutex
	closed  bool
	users   sync.WaitGroup // calls inside; Close waits for them
	cursors map[wire.Shard]*cursors
	dirty   map[wire.Shard]struct{} // shards whose cursors moved since the last Sync began
	desks   map[wire.Shard]*desk
}

// cursors of one shard; slices are replaced, never changed.
type cursors struct {
	applied, durable []store.Cursor

	torn store.TornMark
	turn uint64 // how often the shard was torn and mended since the Store was opened
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Mender = (*Store)(nil)
)

// Open opens or creates the namespace in o.Dir. What it finds there is durable
// when it returns.
func Open(o Options) (*Store, error) {
	if o.Dir == "" || o.Shards < 1 || o.Shards > wire.ShardCountMax {
		return nil, fmt.Errorf("namespace %q with %d shards, allowed 1 to %d: %w",
			o.Dir, o.Shards, wire.ShardCountMax, ErrOptions)
	}
	s := &Store{
		shards: o.Shards, now: o.Now, log: newFatalLog(o.Dir, o.Logger),
		commits: make(chan commit), payloads: sync.Pool{New: func() any { return new([]byte) }},
		cursors: map[wire.Shard]*cursors{}, dirty: map[wire.Shard]struct{}{}, desks: map[wire.Shard]*desk{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.FS == nil {
		files, err := privateDir(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", o.Dir, err)
		}
		o.FS = files
	}
	if err := flushCopied(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", o.Dir, err)
	}
	cache := pebble.NewCache(orDefault(o.CacheBytes, cacheBytesDefault))
	defer cache.Unref()
	opened := make(chan error, 1)
	go func() { opened <- s.open(&o, cache) }() // Ends with it; never if Pebble cannot write what it replays.
	var err error
	select {
	case err = <-opened:
	case <-s.log.broken:
		err = s.log.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", o.Dir, err)
	}
	s.log.opened.Store(true)
	go s.committer() // Ends with Close; never if Pebble does not let go of it.
	return s, nil
}

func (s *Store) open(o *Options, cache *pebble.Cache) error {
	db, err := pebble.Open(o.Dir, pebbleOptions(o, cache, s.log))
	if err != nil {
		return err
	}
	s.db = db
	if err := errors.Join(s.load(), s.log.Err()); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// pebbleOptions keeps Pebble small. Upper levels are not compressed: content is
// written twice on its way down, and two cores have better things to do.
func pebbleOptions(o *Options, cache *pebble.Cache, log *fatalLog) *pebble.Options {
	p := &pebble.Options{
		Cache:                       cache,
		FormatMajorVersion:          pebble.FormatWALSyncChunks,
		FS:                          logGuard{vfs.OnDiskFull(o.FS, log.diskFull), log},
		Logger:                      log,
		EventListener:               &pebble.EventListener{BackgroundError: log.backgroundError},
		MemTableSize:                uint64(orDefault(o.MemTableBytes, memTableBytesDefault)),
		MemTableStopWritesThreshold: memTableCountMax,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                500,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = 8 << 10 // many look-ups of small rows; a chunk is a block of its own
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	p.Levels[len(p.Levels)-1].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	return p
}

// scan visits all rows whose key begins with prefix.
func (s *Store) scan(prefix []byte, visit func(key, value []byte) error) error {
	return scan(context.Background(), s.db, prefix, successor(prefix), visit)
}

// scan visits the rows of [lo, hi) in order. Keys and values are borrowed.
func scan(ctx context.Context, r pebble.Reader, lo, hi []byte, visit func(key, value []byte) error) error {
	it, err := r.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		value, verr := it.ValueAndErr()
		if err = errors.Join(verr, ctx.Err()); err == nil {
			err = visit(it.Key(), value)
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}

// enter counts a call in, or refuses it.
func (s *Store) enter() (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if err := s.log.Err(); err != nil {
		return nil, err
	}
	s.users.Add(1)
	return s.users.Done, nil
}

// Shards returns the shard count.
func (s *Store) Shards() int { return s.shards }

// Broken is closed when the Store stopped for good; Err then says why. What it
// had applied is redone from the journal by the next process.
func (s *Store) Broken() <-chan struct{} { return s.log.broken }

// Err is why the Store stopped for good, nil while it runs.
func (s *Store) Err() error { return s.log.Err() }

// Close waits for the calls inside and closes Pebble. Any number of calls. A
// Store that broke is left as it is: Pebble does not close any more, and the
// next process will read what is durable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	if err := s.log.Err(); err != nil {
		return err // calls inside may wait for a lock of Pebble's that nobody gives back
	}
	s.users.Wait()
	for _, d := range s.desks {
		d.reset()
	}
	if err := s.log.Err(); err != nil {
		return err
	}
	err := s.syncLog()
	close(s.commits)
	if err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	return errors.Join(s.db.Close(), s.log.Err())
}

// fatalLog is Pebble's Logger: where Pebble would exit the process, it notes
// the reason.
type fatalLog struct {
	dir    string
	logger *slog.Logger
	fatal  atomic.Pointer[error]
	broken chan struct{} // closed when fatal is set
	opened atomic.Bool
}

func newFatalLog(dir string, logger *slog.Logger) *fatalLog {
	return &fatalLog{dir: dir, logger: logger, broken: make(chan struct{})}
}

func (l *fatalLog) Infof(format string, args ...any) {
	if l.logger != nil && l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.logger.Debug("pebble", "text", fmt.Sprintf(format, args...))
	}
}

func (l *fatalLog) Errorf(format string, args ...any) {
	if l.logger != nil {
		l.logger.Error("pebble", "text", fmt.Sprintf(format, args...))
	}
}

// Fatalf is called by Pebble where it cannot go on: it expects no return, and would
// panic. Of its text the first line says what happened, the others where.
func (l *fatalLog) Fatalf(format string, args ...any) {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	l.stop(errors.New(text))
	select {}
}

func (l *fatalLog) stop(err error) {
	err = fmt.Errorf("%w: %w", ErrBroken, err)
	if l.fatal.CompareAndSwap(nil, &err) {
		close(l.broken)
		l.Errorf("%v", err)
	}
}

// backgroundError is called by Pebble when a flush or compaction failed, which it
// then tries again, at once and always. While it is being opened nobody else could
// give up: it stays where it is, and Open returns the error.
func (l *fatalLog) backgroundError(err error) {
	if l.opened.Load() {
		l.Errorf("background error: %v", err)
		return
	}
	l.stop(err)
	select {}
}

// diskFull is called by Pebble's writers when there is no space left. Pebble
// would panic, with locks that end the process held. So they stay where they
// are, and the Store is broken; while it is being opened, the error is returned.
func (l *fatalLog) diskFull() {
	if !l.opened.Load() {
		return
	}
	l.stop(fmt.Errorf("%s: %w", l.dir, syscall.ENOSPC))
	select {}
}

// Err is why Pebble stopped, nil while it runs.
func (l *fatalLog) Err() error {
	if p := l.fatal.Load(); p != nil {
		return *p
	}
	return nil
}
