package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/orphan"
	"github.com/claudefs/repl/engine/store/arena"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/engine/store/writer"
	"github.com/claudefs/repl/wire"
)

// arenaBytesMax bounds the region that an engine maps; what needs more has it
// from the heap. Only touched pages take memory.
const arenaBytesMax = 1 << 30

// Open validates o, opens the journals, redoes what the Store lacks, starts
// replication, and returns when appends may begin or are being verified. The
// redoing goes on behind it: wait for AppliedHere to see its end.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	named := o.Primary
	o = o.withDefaults()
	e := &Engine{
		o: o, named: named, id: identityOf(&o),
		opened: time.Now().Add(-time.Second), // the heart's clock never shows zero
		shards: make([]shardState, o.Shards), done: make(chan struct{}), ended: make(chan struct{}),
	}
	e.heart.recorded = sync.NewCond(&e.heart.mu)
	e.waiters.New = newWaiter
	e.life, e.endLife = context.WithCancelCause(context.Background())
	if err := e.open(ctx); err != nil {
		e.endLife(err)
		return nil, err
	}
	return e, nil
}

// open takes the directory, then everything in it; what it took it gives back
// when a later step fails.
func (e *Engine) open(ctx context.Context) (err error) {
	if err := e.openDataPath(); err != nil {
		return err
	}
	if err := e.takeDir(); err != nil {
		return errors.Join(err, e.path.close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeFiles())
		}
	}()
	if err := e.openMemory(); err != nil {
		return err
	}
	if err := e.openJournals(ctx); err != nil {
		return err
	}
	if e.orphans, err = orphan.Open(e.o.FS, e.o.Dir+"/"+orphansName, e.own.j, e.mirror.j); err != nil {
		return fmt.Errorf("site %s: %w", e.id.siteName, err)
	}
	// What the Store shows it must also keep: its cursors become the floor of what
	// the journals keep for it.
	if err := e.o.Store.Sync(ctx); err != nil {
		return fmt.Errorf("store of site %s: sync: %w", e.id.siteName, err)
	}
	if e.appliers, err = newAppliers(e); err != nil {
		return err
	}
	cursors := e.appliers.cursors()
	held, left, err := e.halfMended()
	if err != nil {
		return err
	}
	control := e.own.j.Control()
	e.appliers.raise(control.Epoch(0))
	if control.Sites, err = e.openRoutes(&control); err != nil {
		return err
	}
	founded, err := e.settlePrimary(&control, cursors)
	if err != nil {
		return err
	}
	boot := e.boot(&control, cursors)
	boot.Founded = founded
	e.bootShards(&boot)
	config := e.nodeConfig(randomSeed())
	if err := node.Check(&config, &boot); err != nil {
		return fmt.Errorf("%w: start with fewer peers and have those forgotten that never answered: "+
			"cfs admin replication forget SITE", err)
	}
	e.heart.node = node.New(config, boot)
	e.verifier = e.newVerifier()
	e.writer.Store(e.newWriter(control.ClockBound))
	if e.o.Listen != "" {
		if e.listener, err = e.listen(); err != nil {
			return fmt.Errorf("site %s: listening at %s: %w", e.id.siteName, e.o.Listen, err)
		}
	}
	if err := ctx.Err(); err != nil {
		if e.listener != nil {
			e.listener.Close()
		}
		return err
	}
	e.start(cursors, held, left)
	return nil
}

// takeDir creates and locks the directory, and checks that it is this site's.
func (e *Engine) takeDir() error {
	o := &e.o
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return fmt.Errorf("directory of site %s: %w: make it a writable directory", o.Site, err)
	}
	lockFile := o.Dir + "/" + lockName
	lock, err := o.FS.Lock(lockFile)
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("directory %s is in use by another engine (%s): "+
			"stop that one, or give this one a directory of its own: %w", o.Dir, lockHolder(o.FS, lockFile), err)
	}
	if err != nil {
		return fmt.Errorf("directory of site %s: %w: make it a writable directory", o.Site, err)
	}
	e.lock = lock
	if t, ok := o.FS.(vfs.Tightener); ok { // an earlier release left it readable
		if err := t.Tighten(o.Dir); err != nil {
			return errors.Join(fmt.Errorf("directory of site %s: %w", o.Site, err), lock.Close())
		}
	}
	if err := signLock(o.FS, lockFile); err != nil {
		return errors.Join(err, lock.Close())
	}
	if err := bindDir(o.FS, o.Dir, &e.id); err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

// openMemory maps what batches and received frames live in, and makes the
// transport, if the host named none, with frames there. A system that maps no
// region leaves both on the heap.
func (e *Engine) openMemory() (err error) {
	// Pending batches in buffers that grew, unused ones, recent ones of both
	// journals, and frames on their way.
	bytes := min(3*e.o.PendingBytesMax+2*e.o.RecentBytesMax+64<<20, arenaBytesMax)
	if e.memory, err = arena.New(bytes); err != nil {
		if e.memory, err = arena.New(0); err != nil {
			return err
		}
	}
	return e.openLinks()
}

func (e *Engine) openJournals(ctx context.Context) error {
	for i, kind := range []journal.Kind{journal.Own, journal.Mirror} {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := []string{ownName, mirrorName}[i]
		existed, err := e.hadJournal(kind)
		if err != nil {
			return fmt.Errorf("journals of site %s: %w", e.id.siteName, err)
		}
		j, recovery, err := e.openJournal(ctx, kind, name, existed)
		if err != nil {
			return fmt.Errorf("%s journal of site %s: %w", name, e.id.siteName, err)
		}
		e.recovered[i] = *recovery
		if kind == journal.Own {
			e.own = newFlusher(e, node.Own, name, j)
		} else {
			e.mirror = newFlusher(e, node.Mirror, name, j)
		}
	}
	return nil
}

// hadJournal says whether the other journal shows that one was there before: the mirror
// is created after the own journal, and before anything is flushed to that.
func (e *Engine) hadJournal(kind journal.Kind) (bool, error) {
	if kind == journal.Mirror {
		return e.own.j.Durable() > 0, nil
	}
	return journal.Exists(e.o.FS, e.o.Dir+"/"+mirrorName)
}

// boot is what the heart finds when it starts.
func (e *Engine) boot(control *journal.Control, cursors []wire.Cursor) node.Boot {
	b := node.Boot{
		Term: e.own.j.Term(), Own: logsOf(e.own.j), Mirror: logsOf(e.mirror.j),
		OwnSuspect: e.own.j.Suspects(), MirrorSuspect: e.mirror.j.Suspects(), Applied: cursors,
		Starts: append(e.own.j.Starts(), e.mirror.j.Starts()...),
		Peers:  control.Peers, Sites: control.Sites, Removed: control.Removed,
		Backlogs: make(map[wire.SiteID]int64),
	}
	for i := range b.Peers {
		if bytes, known := e.measure(&b.Peers[i]); known {
			b.Backlogs[b.Peers[i].Site] = bytes
		}
	}
	return b
}

func logsOf(j *journal.Journal) []node.Log {
	var logs []node.Log
	for _, end := range j.Tails() {
		logs = append(logs, node.Log{
			ID: end.Log, Tail: end.Position, LastStamp: end.LastStamp, LastIndex: end.LastIndex, Epoch: end.Epoch,
		})
	}
	return logs
}

// bootShards sets the watermarks to what is known, so that Wait can answer for
// entries of an earlier life.
func (e *Engine) bootShards(b *node.Boot) {
	count := len(e.routes())
	marks := make([]peerMark, len(e.shards)*count)
	for i := range e.shards {
		e.shards[i].peers = marks[i*count : (i+1)*count : (i+1)*count]
	}
	for _, log := range b.Own {
		if int64(log.ID.Shard) < int64(len(e.shards)) {
			s := &e.shards[log.ID.Shard]
			s.incarnation, s.local = log.Tail.Incarnation, log.Tail.Seq
			s.index.Store(log.LastIndex)
		}
	}
	for _, c := range b.Applied {
		if c.Log.Site != e.id.site {
			continue
		}
		s := &e.shards[c.Log.Shard]
		if s.incarnation == (wire.Incarnation{}) { // the journal was lost: what the Store shows, it shows
			s.incarnation = c.Position.Incarnation
		}
		if s.incarnation == c.Position.Incarnation {
			s.applied = c.Position.Seq
		}
	}
	for i := range b.Peers {
		site := b.Peers[i].Site
		if slices.ContainsFunc(b.Sites, func(s wire.SiteRecord) bool { return s.Site == site && s.Learner }) {
			continue // it counts for nothing yet
		}
		for _, c := range b.Peers[i].Cursors {
			e.progress(&node.Progress{Peer: site, Level: wire.LevelDurable, Log: c.Log, Position: c.Position})
		}
	}
}

func (e *Engine) nodeConfig(seed uint64) node.Config {
	held := e.epoch.Load()
	c := node.Config{
		Cluster: e.id.cluster, ClusterName: e.id.clusterName, Site: e.id.site, SiteName: e.id.siteName,
		Shards: uint32(e.o.Shards), Primary: held.primary, Epoch: held.at, PrimaryNamed: e.named != "",
		WindowBytesMax: e.o.WindowBytesMax, HeartbeatTimeout: e.o.HeartbeatTimeout, VerifyWait: e.o.VerifyWait,
		Seed: seed,
	}
	for _, p := range e.namedPeers() {
		if e.routeTo(p.Site) != nil { // else it was given up in this life
			c.Peers = append(c.Peers, p)
		}
	}
	return c
}

// start starts the goroutines, and the heart with its first tick. held shards are applied to by nobody;
// left: a mending goes on that an earlier life left.
func (e *Engine) start(cursors []wire.Cursor, held []wire.Shard, left bool) {
	e.openAudit()
	e.events.open(&e.o)
	e.clock.open(e)
	e.housework.open()
	e.tellDataPath()
	e.tellRecovery()
	for _, told := range e.opening {
		e.tell(told)
	}
	e.appliers.start(cursors, held)
	for _, f := range e.journals() {
		go f.run() // Ends when Close calls end, after everyone who stages.
		f.wakeUp()
	}
	e.workers.Add(2)
	go e.clock.run() // Ends when Close ends the clock.
	go e.keepHouse() // Ends with the engine's life.
	if e.o.AppendAt {
		e.hostHas(ownTails(e.own.j))
	}
	e.step(&node.Tick{})
	if left {
		e.workers.Add(1)
		go e.resumeMend() // Ends with what it goes on with, or the engine's life.
	}
	if e.listener != nil {
		e.workers.Add(1)
		go e.accept() // Ends when Close closes the listener.
	}
}

// ownTails is where the own logs end.
func ownTails(j *journal.Journal) []wire.Cursor {
	var ends []wire.Cursor
	for _, end := range j.Tails() {
		ends = append(ends, wire.Cursor{Log: end.Log, Position: end.Position})
	}
	return ends
}

// tellRecovery tells what opening the journals found.
func (e *Engine) tellRecovery() {
	for i, f := range e.journals() {
		r := &e.recovered[i]
		e.tellDamage(f.name, r.Damage)
		if r.ControlSuspect {
			e.tell(&event.ControlSuspect{Journal: f.name})
		}
	}
}

// newWriter returns a writer in the epoch held. floor: no stamp at or below it is given out.
func (e *Engine) newWriter(floor wire.Stamp) *writer.Writer {
	return writer.New(writer.Options{
		Cluster: e.id.cluster, Site: e.id.site, Shards: e.o.Shards, Epoch: e.epoch.Load().at,
		BytesMax: e.o.PendingBytesMax, Memory: e.memory, ClockFloor: floor, Incarnation: newIncarnation,
	})
}

func newIncarnation() wire.Incarnation {
	var id wire.Incarnation
	rand.Read(id[:]) // Never fails: crypto/rand ends the program first.
	return id
}

func randomSeed() uint64 {
	id := newIncarnation()
	return binary.LittleEndian.Uint64(id[:])
}

// measure estimates, before the first session, how many bytes of the own journal lie
// behind a peer's saved cursors: the entries that it has not confirmed, at the mean size
// of those since the segment in which they begin. One walk over the tables. What
// batches that are gone took is not known.
func (e *Engine) measure(r *wire.RegisteredPeer) (bytes int64, known bool) {
	have := func(log wire.LogID) wire.Position {
		i, found := slices.BinarySearchFunc(r.Cursors, log,
			func(c wire.Cursor, log wire.LogID) int { return c.Log.Compare(log) })
		if !found {
			return wire.Position{}
		}
		return r.Cursors[i].Position
	}
	j := e.own.j
	entries, missing := int64(0), int64(0)
	reader, ends, _, err := j.ReadBeyond(have)
	if err != nil {
		return 0, false
	}
	defer reader.Close()
	starts := map[wire.LogID]wire.Position{}
	for _, end := range ends {
		starts[end.Log] = end.Position
	}
	for _, tail := range j.Tails() {
		entries += tail.Position.EntriesAfter(starts[tail.Log])
		missing += tail.Position.EntriesAfter(have(tail.Log))
	}
	if entries == 0 {
		return 0, missing == 0
	}
	return int64(float64(reader.Backlog()) * float64(missing) / float64(entries)), true
}
