package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/wire"
)

// eventsMax is how many events may wait for the hook. More are counted and
// dropped: a slow hook costs nobody else anything (I10).
const eventsMax = 1024

// kindsMax bounds event.Kinds.
const kindsMax = 64

// events hands events to the audit trail, and to the host's hook and logger, on a
// goroutine of its own.
type events struct {
	hook  func(Event)
	log   eventLog
	audit auditLog
	kick  chan struct{} // capacity 1
	quit  chan struct{}
	over  chan struct{}

	mu      sync.Mutex
	counts  [kindsMax]uint64 // by index of event.Kinds
	queue   []Event
	dropped int
}

// open starts the goroutine.
func (v *events) open(o *Options) {
	v.hook, v.log.logger = o.Events, o.Logger
	v.kick, v.quit, v.over = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go v.run() // Ends at end, when all events are delivered.
}

// tell queues an event; it never blocks.
func (v *events) tell(told Event) {
	v.mu.Lock()
	if i := slices.IndexFunc(event.Kinds, func(r event.Row) bool { return string(r.Kind) == told.Kind }); i >= 0 {
		v.counts[i]++
	}
	if len(v.queue) < eventsMax {
		v.queue = append(v.queue, told)
	} else {
		v.dropped++
	}
	v.mu.Unlock()
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// counters are how many events there were.
func (v *events) counters() []EventCounter {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]EventCounter, len(event.Kinds))
	for i := range all {
		all[i] = EventCounter{string(event.Kinds[i].Kind), v.counts[i]}
	}
	return all
}

func (v *events) run() {
	defer close(v.over)
	for {
		select {
		case <-v.kick:
			v.drain()
		case <-v.quit:
			v.drain()
			return
		}
	}
}

func (v *events) drain() {
	v.mu.Lock()
	queue, dropped := v.queue, v.dropped
	v.queue, v.dropped = nil, 0
	v.mu.Unlock()
	if dropped > 0 {
		queue = append(queue, eventOf(&event.EventsDropped{Events: dropped}, nil))
	}
	for _, event := range queue {
		if turned := v.audit.write(&event); turned != nil {
			v.tell(*turned)
		}
		v.log.write(&event)
		if v.hook != nil {
			v.hook(event)
		}
	}
}

// end tells what is left and waits for the goroutine.
func (v *events) end() {
	close(v.quit)
	<-v.over
}

// tell reports an event of the shell.
func (e *Engine) tell(of event.Event) { e.events.tell(eventOf(of, e.siteName)) }

// nodeEvent puts a heart's event into words. Its heart knows the names of peers that are
// not configured any more, too.
func (e *Engine) nodeEvent(of event.Event) {
	told := eventOf(of, e.heart.node.SiteName)
	told.Peer = e.siteName(of.About().Peer)
	e.events.tell(told)
}

// eventOf puts an event into words, now.
func eventOf(of event.Event, names event.Names) Event {
	place := of.About()
	told := Event{
		At: time.Now(), Kind: string(of.Kind()), Shard: -1, Text: of.Text(names), Alarm: event.Alarm(of), Of: of,
	}
	if place.Log != (wire.LogID{}) {
		told.Shard = int(place.Log.Shard)
	}
	if place.Peer != 0 {
		told.Peer = names(place.Peer)
	}
	return told
}

// siteName is how people call a site; "" for none.
func (e *Engine) siteName(site wire.SiteID) string {
	if site == 0 {
		return ""
	}
	if site == e.id.site {
		return e.id.siteName
	}
	if r := e.routeTo(site); r != nil {
		return r.name
	}
	return fmt.Sprintf("%08x", uint32(site))
}

// The lines that the logger and the audit trail get of one kind of event about one peer: a
// refusal comes with every dial, lost data with every shard, and a reader at night needs
// the other kinds between them. The hook gets every event.
const (
	linesMax     = 16
	linesEvery   = time.Minute
	lineKindsMax = 1024 // strangers' sites count as peers
)

// eventLog writes events to the host's logger. One goroutine uses it.
type eventLog struct {
	logger *slog.Logger // nil = silent
	limit  eventLimit
}

// eventLimit bounds the lines of each kind about each peer.
type eventLimit struct{ lines map[lineKind]*lineCount }

type lineKind struct{ kind, peer string }

// lineCount counts the lines of a kind since a moment, and those left out.
type lineCount struct {
	since   time.Time
	written int
	leftOut int
}

// take returns the line of an event, or false. leftOut is how many lines the time before
// this one left out, if event begins a new one.
func (l *eventLimit) take(event *Event) (line Event, leftOut int, ok bool) {
	count, leftOut := l.count(event)
	line = *event
	switch {
	case count.written < linesMax:
	case count.leftOut == 0:
		count.leftOut++
		line.Shard = -1
		line.Text = fmt.Sprintf("more events of kind %s are left out here for up to %v: the status shows the state",
			event.Kind, linesEvery)
	default:
		count.leftOut++
		return line, 0, false
	}
	count.written++
	return line, leftOut, true
}

// write logs event, or leaves it out.
func (l *eventLog) write(event *Event) {
	if l.logger == nil {
		return
	}
	level := slog.LevelInfo
	if event.Alarm {
		level = slog.LevelWarn
	}
	line, leftOut, ok := l.limit.take(event)
	if !ok {
		return
	}
	attrs := append(make([]slog.Attr, 0, 4), slog.String("kind", event.Kind))
	if event.Peer != "" {
		attrs = append(attrs, slog.String("peer", event.Peer))
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Int("left_out", leftOut))
	}
	if line.Shard >= 0 {
		attrs = append(attrs, slog.Int("shard", line.Shard))
	}
	l.logger.LogAttrs(context.Background(), level, line.Text, attrs...)
}

func (l *eventLimit) count(event *Event) (count *lineCount, leftOut int) {
	if l.lines == nil || len(l.lines) > lineKindsMax {
		l.lines = make(map[lineKind]*lineCount)
	}
	of := lineKind{event.Kind, event.Peer}
	count = l.lines[of]
	if count == nil {
		count = &lineCount{since: event.At}
		l.lines[of] = count
	}
	if event.At.Sub(count.since) >= linesEvery {
		leftOut = count.leftOut
		*count = lineCount{since: event.At}
	}
	return count, leftOut
}

// The audit trail in the words of the engine.
type (
	// AuditRecord is one line of the audit trail. Its JSON keys are those of the files.
	AuditRecord = audit.Record
	// AuditReport is the result of a check of the audit trail.
	AuditReport = audit.Report
)

// ErrAudit: the audit trail cannot be written, so the verb was not done.
var ErrAudit = audit.ErrUnavailable

// auditName is the directory of the audit trail in the engine's.
const auditName = "audit"

// auditLog writes events to the audit trail. Only the goroutine of events uses it.
type auditLog struct {
	trail  *audit.Trail
	known  func(peer string) bool // configured
	limit  eventLimit
	failed bool
}

// openAudit makes the trail ready. It touches no file before the first line.
func (e *Engine) openAudit() {
	e.trail = audit.New(audit.Options{FS: e.o.FS, Dir: e.auditDir(), Site: e.id.siteName})
	e.events.audit = auditLog{trail: e.trail, known: func(peer string) bool {
		return slices.ContainsFunc(e.routes(), func(r *route) bool { return r.name == peer })
	}}
}

func (e *Engine) auditDir() string { return e.o.Dir + "/" + auditName }

// write adds a line for an event, if its kind is audited. It returns an event if the trail
// began to fail, or works again.
func (l *auditLog) write(e *Event) *Event {
	if row := event.RowOf(event.Kind(e.Kind)); row == nil || !row.Audited {
		return nil
	}
	counted := *e
	if !l.known(e.Peer) {
		counted.Peer = "" // strangers share the limit of one peer
	}
	line, leftOut, ok := l.limit.take(&counted)
	if !ok {
		return nil
	}
	text := line.Text
	if leftOut > 0 {
		text = fmt.Sprintf("%s (%d events of this kind were left out before)", text, leftOut)
	}
	err := l.trail.Note(audit.Entry{Kind: e.Kind, Peer: e.Peer, Shard: line.Shard, What: text})
	if before := l.failed; before == (err != nil) {
		return nil
	}
	l.failed = err != nil
	var told Event
	if l.failed {
		told = eventOf(&event.Failed{What: event.KindAuditFailed, Err: err}, nil)
	} else {
		told = eventOf(&event.Works{What: event.KindAuditWorks, Of: "the audit trail"}, nil)
	}
	return &told
}

// audited runs a verb that changes something between two lines of the audit trail. ErrAudit: the
// first could not be written, and the verb was not run. by is who asks, "" for the host's program.
func (e *Engine) audited(entry audit.Entry, by string, verb func() error) error {
	entry.Actor = &audit.Actor{How: "engine"}
	if by != "" {
		entry.Actor = &audit.Actor{How: "admin", Name: by}
	}
	act, err := e.trail.Begin(entry)
	if err != nil {
		return fmt.Errorf("%s: not done: %w", entry.Kind, err)
	}
	outcome, what := audit.Done, entry.What
	if err = verb(); err != nil {
		outcome, what = audit.Refused, err.Error()
	}
	if late := act.End(outcome, what); late != nil { // the next opening calls it interrupted
		e.tell(&event.Failed{What: event.KindAuditFailed, Err: late})
	}
	return err
}

// AuditTrail calls each with the records of the audit trail from since on, oldest first. An
// error of each ends it. It may be called by any goroutine, also after Close.
func (e *Engine) AuditTrail(since time.Time, each func(*AuditRecord) error) error {
	return audit.Read(e.o.FS, e.auditDir(), since, each)
}

// CheckAudit reads the whole audit trail and reports each place where it was edited, cut or
// reordered. It may be called by any goroutine, also after Close.
func (e *Engine) CheckAudit() (*AuditReport, error) { return audit.Check(e.o.FS, e.auditDir()) }
