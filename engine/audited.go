package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
)

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
