package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/mend"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/verify"
	"github.com/claudefs/repl/wire"
)

var (
	// ErrLoses: mending a shard gives up entries that only this site has.
	ErrLoses = errors.New("entries that only this site has would be lost")
	// ErrNoRows: a Store, here or at the other site, cannot be mended, or its shard is torn.
	ErrNoRows = verify.ErrNoRows
)

// mendName is the directory of the file of a mending, in the engine's.
const mendName = "mend"

// MendOptions say which shards are mended, and from where.
type MendOptions struct {
	From   string // a peer whose state they get
	Lo, Hi int    // shards [Lo, Hi); Hi 0 = all from Lo on
	Only   bool   // compare, report what it would do, and change nothing
	Lose   bool   // although entries that only this site has are lost
	// By is who asks, for the audit trail: such as the address of a client. "" = the program
	// that runs the engine.
	By       string
	Progress func(MendProgress) // nil = none; called by the goroutine of Mend
}

// MendProgress is how far a Mend is, as JSON in schema 1.
type MendProgress struct {
	Kind     string        `json:"kind"` // "progress"
	Shards   int           `json:"shards_done"`
	ShardsOf int           `json:"shards_total"`
	Mending  MendingStatus `json:"mending"`
}

// What became of a shard. Closed list.
const (
	MendEqual   = "equal"   // nothing differed
	MendMended  = "mended"  // it is equal now, by digests
	MendDiffers = "differs" // it would be mended
	MendFailed  = "failed"  // the reason says why
)

// MendReport is what a Mend did, as JSON in schema 1.
type MendReport struct {
	Schema int       `json:"schema"` // 1
	Kind   string    `json:"kind"`   // "mend"
	At     time.Time `json:"at"`
	Site   string    `json:"site"`
	From   string    `json:"from"`
	Done   bool      `json:"done"` // false: only asked for what it would do

	Equal   int `json:"shards_equal_count"`
	Mended  int `json:"shards_mended_count"`
	Differs int `json:"shards_differ_count"`
	Failed  int `json:"shards_failed_count"`

	FetchedBytes int64       `json:"fetched_bytes"`
	LostEntries  int64       `json:"lost_entries"` // that only this site has
	Seconds      float64     `json:"seconds"`
	Shards       []MendShard `json:"shards"` // those that are not equal, at most 1000
}

// MendShard is one shard of a MendReport.
type MendShard struct {
	Shard       int    `json:"shard"`
	State       string `json:"state"`
	Rows        uint64 `json:"rows"`
	DifferRows  uint64 `json:"differ_rows"`
	LostEntries int64  `json:"lost_entries"`
	Reason      string `json:"reason"`
}

// MendFault is why a Mend that had begun to answer gave no report, as JSON in schema 1.
type MendFault struct {
	Kind   string `json:"kind"`   // "fault"
	Status int    `json:"status"` // of HTTP
	Error  string `json:"error"`
	Next   string `json:"next"`
}

// mendShardsMax bounds the list of a report.
const mendShardsMax = 1000

// mending is the one mending of a site, and how far it is.
type mending struct {
	one    sync.Mutex // held by it
	status mend.Status
}

// Mend makes shards equal to those of another site, one after another: at one view of each,
// by digests of parts, and proven by them. A shard is held meanwhile, and goes on from the
// cursors of the view. What only this site has of a shard is lost: ErrLoses without Lose. One
// Mend or Verify of a node runs at a time, another is ErrBusy; while the link to the site is
// down it waits. When ctx ends, a shard whose change has begun is finished. It is in the audit
// trail before a shard is changed.
func (e *Engine) Mend(ctx context.Context, o MendOptions) (*MendReport, error) {
	if o.Hi == 0 {
		o.Hi = e.o.Shards
	}
	if err := e.checkMend(&o); err != nil {
		return nil, err
	}
	if !e.mending.one.TryLock() {
		return nil, fmt.Errorf("a mending of this node is running: %w", ErrBusy)
	}
	defer e.mending.one.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	began := time.Now()
	report := &MendReport{
		Schema: 1, Kind: "mend", At: began.UTC(), Site: e.id.siteName, From: o.From, Done: !o.Only,
		Shards: []MendShard{},
	}
	if o.Progress != nil {
		o.Progress(MendProgress{Kind: "progress", ShardsOf: o.Hi - o.Lo, Mending: e.mendingStatus()})
	}
	for shard := o.Lo; shard < o.Hi; shard++ {
		m := &shardMend{e: e, o: &o, done: shard - o.Lo, row: MendShard{Shard: shard}}
		err := m.run(ctx)
		if e.life.Err() != nil {
			return nil, ErrClosed
		}
		refused := errors.Is(err, ErrBusy) || errors.Is(err, ErrLoses) || errors.Is(err, ErrAudit)
		if refused && ctx.Err() == nil {
			return nil, err
		}
		report.add(&m.row, m.bytes, err)
		if ctx.Err() != nil {
			break
		}
	}
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

func (e *Engine) checkMend(o *MendOptions) error {
	switch {
	case e.closing.Load():
		return ErrClosed
	case o.Lo < 0 || o.Lo >= o.Hi || o.Hi > e.o.Shards:
		return fmt.Errorf("shards %d to %d: the engine has 0 to %d: %w", o.Lo, o.Hi-1, e.o.Shards-1, ErrOptions)
	case !slices.ContainsFunc(e.routes(), func(r *route) bool { return r.name == o.From }):
		return fmt.Errorf("site %q is not a peer of site %q: %w", o.From, e.id.siteName, ErrOptions)
	case e.mender() == nil:
		return fmt.Errorf("the Store of site %s cannot be mended: copy it: %w", e.id.siteName, ErrNoRows)
	case e.o.AppendAt:
		return fmt.Errorf("the host of site %s applies its own log: have it restore its state: %w",
			e.id.siteName, ErrNoRows)
	}
	return nil
}

// mender is the Store, if it can be mended; else nil.
func (e *Engine) mender() store.Mender {
	m, _ := e.o.Store.(store.Mender)
	return m
}

func (r *MendReport) add(row *MendShard, bytes int64, err error) {
	if err != nil {
		row.State, row.Reason = MendFailed, err.Error()
	}
	switch row.State {
	case MendEqual:
		r.Equal++
	case MendMended:
		r.Mended++
	case MendDiffers:
		r.Differs++
	default:
		r.Failed++
	}
	r.FetchedBytes += bytes
	r.LostEntries += row.LostEntries
	if row.State != MendEqual && len(r.Shards) < mendShardsMax {
		r.Shards = append(r.Shards, *row)
	}
}

// shardMend is the mending of one shard.
type shardMend struct {
	e     *Engine
	o     *MendOptions
	talk  *verify.Talk
	done  int // shards before it
	row   MendShard
	bytes int64
}

func (m *shardMend) run(ctx context.Context) (err error) {
	e, shard := m.e, wire.Shard(m.row.Shard)
	if m.talk, err = e.verifier.Talk(wire.SiteIDOf(e.o.Cluster, m.o.From)); err != nil {
		return fmt.Errorf("%w: %w", err, ErrBusy)
	}
	defer m.talk.End()
	e.mending.status.Begin(shard, m.o.From)
	defer e.mending.status.End()
	job := &mend.Job{
		FS: e.o.FS, Dir: e.mendDir(), Store: e.mender(), Shard: shard, From: m.o.From, Ask: m.ask,
		Lost: func(err error) bool {
			return errors.Is(err, node.ErrNoLink) || errors.Is(err, verify.ErrView)
		},
		Accept: m.accept, Act: m.act, Rate: e.o.MendRate, Status: &e.mending.status,
	}
	if m.o.Only {
		return m.measure(ctx, job)
	}
	if err := e.orphansSaved(ctx, shard); err != nil {
		return err
	}
	e.appliers.hold(shard)
	out, err := job.Run(ctx, e.life)
	if err != nil && ctx.Err() != nil && e.life.Err() == nil {
		err = errors.Join(err, m.drop()) // who asked has gone
	}
	if err == nil {
		m.row.State, m.bytes = MendMended, out.Bytes
		if m.row.State = MendMended; out.Equal {
			m.row.State = MendEqual
		} else {
			e.mended(shard, m.o.From, out.Cursors)
		}
	}
	return errors.Join(err, e.goOn(shard))
}

// measure compares, and changes nothing.
func (m *shardMend) measure(ctx context.Context, job *mend.Job) error {
	job.Accept = func(view []wire.Cursor) (err error) {
		m.row.LostEntries, err = m.e.lostBy(job.Shard, view)
		return err
	}
	did, _, err := job.Measure(ctx)
	m.row.Rows, m.row.DifferRows = did.Rows, did.Differ
	if m.row.State = MendEqual; did.Differ > 0 || m.row.LostEntries > 0 {
		m.row.State = MendDiffers
	}
	return err
}

// ask asks the source, and tells who asked for the mending how far it is.
func (m *shardMend) ask(ctx context.Context, q *wire.Mend) (*wire.Rows, error) {
	if m.o.Progress != nil {
		m.o.Progress(MendProgress{
			Kind: "progress", Shards: m.done, ShardsOf: m.o.Hi - m.o.Lo, Mending: m.e.mendingStatus(),
		})
	}
	return m.talk.Ask(ctx, q)
}

// accept refuses a view that would lose what only this site has.
func (m *shardMend) accept(view []wire.Cursor) (err error) {
	m.row.LostEntries, err = m.e.lostBy(wire.Shard(m.row.Shard), view)
	if err == nil && m.row.LostEntries > 0 && !m.o.Lose {
		err = fmt.Errorf("shard %d: site %s has %d entries that site %s does not have: %w",
			m.row.Shard, m.e.id.siteName, m.row.LostEntries, m.o.From, ErrLoses)
	}
	return err
}

// act changes the Store between two lines of the audit trail.
func (m *shardMend) act(view []wire.Cursor, change func() error) error {
	if err := m.accept(view); err != nil {
		return err
	}
	p := m.e.mending.status.Snapshot().Progress
	m.row.Rows, m.row.DifferRows = p.Rows, p.Differ
	what := fmt.Sprintf("made equal to site %s: %d of %d rows differed, %d entries that only this site has are lost",
		m.o.From, p.Differ, p.Rows, m.row.LostEntries)
	if err := m.e.orphansSaved(m.e.life, wire.Shard(m.row.Shard)); err != nil { // an end came meanwhile
		return err
	}
	return m.e.audited(audit.Entry{Kind: "mend", Peer: m.o.From, Shard: m.row.Shard, What: what}, m.o.By, func() error {
		m.e.unapply(wire.Shard(m.row.Shard))
		return change()
	})
}

// drop removes the file of a mending that is not complete.
func (m *shardMend) drop() error {
	s, err := mend.OpenSpool(m.e.o.FS, m.e.mendDir())
	switch {
	case err != nil:
		return nil // there is none that could go on
	case s.Complete():
		return s.Close()
	}
	return s.Remove()
}

func (e *Engine) mendDir() string { return e.o.Dir + "/" + mendName }

// lostBy counts the entries that the Store here has applied, a view has not, and neither the
// journals here nor the files of orphans keep: they are nowhere else to be had from.
func (e *Engine) lostBy(shard wire.Shard, view []wire.Cursor) (lost int64, err error) {
	cursors, err := e.o.Store.Cursors(shard)
	if errors.Is(err, store.ErrTorn) {
		return 0, nil // its state is of no moment
	}
	for _, c := range cursors {
		at := wire.Position{}
		if i := slices.IndexFunc(view, func(v wire.Cursor) bool { return v.Log == c.Log }); i >= 0 {
			at = view[i].Position
		}
		e.heart.mu.Lock()
		at = e.heart.node.Common(c.Log, c.Position, at)
		e.heart.mu.Unlock()
		if n := c.Position.EntriesAfter(at); n > 0 && !e.keeps(c.Log, at, c.Position) {
			lost += n
		}
	}
	return lost, err
}

// keeps says whether everything of a log between two positions is kept here: in a file of orphans,
// or in the journal.
func (e *Engine) keeps(log wire.LogID, at, to wire.Position) bool {
	if e.orphans.Keeps(log, at, to) {
		return true
	}
	j := e.journalOf(log).j
	have := j.Positions()
	if !have[log].Covers(to) {
		return false
	}
	have[log] = at
	r, _, _, err := j.ReadBeyond(func(l wire.LogID) wire.Position { return have[l] })
	if err != nil {
		return false
	}
	r.Close()
	return true
}

// unapply has journals keep everything of a held shard from here on: its state is about to be
// of no moment.
func (e *Engine) unapply(shard wire.Shard) {
	e.appliers.forget(shard)
	e.step(&node.Mended{Shard: shard})
}

// mended tells the heart, and who waits, where a mended shard stands.
func (e *Engine) mended(shard wire.Shard, from string, cursors []wire.Cursor) {
	e.step(&node.Mended{Shard: shard, Cursors: cursors})
	log := wire.LogID{Site: e.epoch.Load().primary, Shard: shard}
	e.tell(&event.Mended{Place: event.Place{Peer: wire.SiteIDOf(e.o.Cluster, from), Log: log}})
}

// goOn has a held shard applied to again, and tells who waits for it.
func (e *Engine) goOn(shard wire.Shard) error {
	if err := e.appliers.release(shard); err != nil {
		if errors.Is(err, store.ErrTorn) {
			return nil // it stays held; the status says so
		}
		return err
	}
	cursors, err := e.o.Store.Cursors(shard)
	for _, c := range cursors {
		if c.Log.Site == e.id.site {
			e.ownGoesOn(c.Log, c.Position)
		}
	}
	return err
}

// ownGoesOn is ownApplied for a log that may have been stopped.
func (e *Engine) ownGoesOn(log wire.LogID, at wire.Position) {
	s := &e.shards[log.Shard]
	s.mu.Lock()
	s.stopped = nil
	s.mu.Unlock()
	e.ownApplied(log, at)
}

// resumeMend goes on with a mending that the end of an earlier life left: a complete file
// is applied, which needs nobody; an incomplete one is filled from the same site.
func (e *Engine) resumeMend() {
	defer e.workers.Done()
	e.mending.one.Lock()
	defer e.mending.one.Unlock()
	s, err := mend.OpenSpool(e.o.FS, e.mendDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case errors.Is(err, mend.ErrSpool):
		err = mend.DropSpool(e.o.FS, e.mendDir())
	case err == nil:
		err = e.resumeFrom(s)
	}
	if err != nil && e.life.Err() == nil {
		e.tell(&event.Failed{What: event.KindMendFailed, Err: err})
	}
}

func (e *Engine) resumeFrom(s *mend.Spool) error {
	head := s.Head()
	o := MendOptions{From: head.From, Lo: int(head.Shard), Hi: int(head.Shard) + 1}
	if err := errors.Join(s.Close(), e.checkMend(&o)); err != nil {
		return errors.Join(fmt.Errorf("shard %d, from site %s: %w", head.Shard, head.From, err), e.goOn(head.Shard))
	}
	m := &shardMend{e: e, o: &o, row: MendShard{Shard: o.Lo}}
	if err := m.run(e.life); err != nil {
		return fmt.Errorf("shard %d, from site %s: %w", head.Shard, head.From, err)
	}
	return nil
}

// halfMended is the shard whose mending an earlier life left, if any. Nothing may be applied
// to it, so an engine that cannot read which one it is does not start. left: there is a file
// for resumeMend.
func (e *Engine) halfMended() (held []wire.Shard, left bool, err error) {
	s, err := mend.OpenSpool(e.o.FS, e.mendDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case errors.Is(err, mend.ErrSpool):
		return nil, true, nil // of another release: resumeMend removes it
	case err != nil:
		return nil, false, fmt.Errorf("mending left by an earlier life: %w", err)
	}
	shard := s.Head().Shard
	_ = s.Close() // only read from
	if int(shard) >= e.o.Shards {
		return nil, true, nil // resumeMend says so
	}
	return []wire.Shard{shard}, true, nil
}

// mendingStatus is how far the mending of this site is.
func (e *Engine) mendingStatus() MendingStatus {
	at := e.mending.status.Snapshot()
	s := MendingStatus{
		State: at.Phase, From: at.From, Shard: int(at.Shard), Reason: at.Reason, Rows: at.Progress.Rows,
		DifferRows: at.Progress.Differ, FetchedRows: at.Progress.Fetched, FetchedBytes: at.Bytes,
		AppliedBytes: at.Applied, Torn: len(e.appliers.tornShards()),
	}
	if at.ETAKnown {
		eta := at.ETA.Seconds()
		s.ETASeconds = &eta
	}
	return s
}
