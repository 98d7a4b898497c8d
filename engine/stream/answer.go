package stream

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/wire"
)

// AnswerLogsMax is how many questions for batches may be open on a link, and how many
// logs one walk of a journal answers for.
const AnswerLogsMax = 64

// AnswerMore is the text of a fetch end that only ends a grant: the asker goes on by
// asking again for that log, from where it stands.
const AnswerMore = "more"

// Answer is the answering side of a link's questions for batches, for one journal: it
// says where a reader begins, which batches go into which frame, and how each question
// ends. The shell reads and sends (AnswerSource); one walk serves all open questions.
//
//  1. Ask opens a question, or goes on with one: then the walk stays where it is.
//  2. Resume begins a grant, and Serve hands out what it allows, frame by frame. Where
//     the walk has to begin again, Serve first has a reader placed.
//  3. Pause ends a grant: the asker says by its next question about a log that is open
//     whether it goes on.
//
// The first batch of each answer continues the asker's position by chain, so that the
// answer proves itself (I4). The zero value has no question.
type Answer struct {
	open    []question // sorted by log
	headers []wire.BatchHeader
	next    int // of open: whose batches go next
	damage  string
	anew    bool
	sent    int        // bytes handed out since the grant began
	paused  wire.LogID // ended a grant, and was not asked for again
	ends    []wire.FetchEnd
	rows    func(index int) []wire.LogEnd // of the source at hand, see AnswerSource
}

// question is one that is open.
type question struct {
	id      uint64
	log     wire.LogID
	at      wire.Position // where the asker stands behind what was handed out
	to      wire.Position
	met     bool  // the walk has come to at's incarnation: those before are older
	indexes []int // into the read at hand, not handed out yet
	over    bool
}

func (q question) compare(log wire.LogID) int { return q.log.Compare(log) }

// Open is how many questions are not answered to their end.
func (a *Answer) Open() int {
	n := 0
	for i := range a.open {
		if !a.open[i].over {
			n++
		}
	}
	return n
}

// Ask takes a question, and up to where in a later incarnation, if it asks that; tail is
// where the log ends here. Asked for a log that is open,
// from where its answer stands, it goes on with that.
func (a *Answer) Ask(f *wire.Fetch, until, tail wire.Position) {
	to := tail
	switch {
	case until.Seq != 0:
		to = until
	case f.To != 0:
		to = wire.Position{Incarnation: tail.Incarnation, Seq: f.To}
	}
	if a.paused == f.Log {
		a.paused = wire.LogID{}
	}
	i, found := slices.BinarySearchFunc(a.open, f.Log, question.compare)
	if found && !a.open[i].over && a.open[i].at == f.From {
		a.open[i].id, a.open[i].to = f.ID, to
		return
	}
	if !found {
		a.open = slices.Insert(a.open, i, question{log: f.Log})
	}
	a.open[i] = question{id: f.ID, log: f.Log, at: f.From, to: to, met: f.From.Seq == 0}
	a.anew = a.anew || !plant.AnswersMisplaced || a.Open() == 1
}

// Resume begins a grant. What ended the one before, and was not asked for again, is not
// wanted any more.
func (a *Answer) Resume() {
	a.sent = 0
	if a.paused != (wire.LogID{}) {
		a.open = slices.DeleteFunc(a.open, func(q question) bool { return q.log == a.paused })
		a.paused, a.next = wire.LogID{}, 0
	}
}

// AnswerSource is a journal with a reader in it, and the link that answers leave by.
type AnswerSource interface {
	// Place puts the reader where it meets everything beyond have(log, tail), tail being
	// where the log ends here. Logs whose next batch is gone are passed to gone, with the
	// reason; the reader goes on without them.
	Place(have func(log wire.LogID, tail wire.Position) wire.Position, gone func(wire.LogID, error)) error
	// Read returns the headers of what follows, borrowed until the next call, and how many
	// bytes were read for them. damage: the reader has passed over damage instead. Nothing
	// and no error: it stands at the end of the journal.
	Read() (headers []wire.BatchHeader, bytes int, damage, err error)
	// Rows returns the rows of a START of the last Read: nil if it cannot be read.
	Rows(index int) []wire.LogEnd
	// Send sends batches of the last Read as one frame of the answer with this id.
	Send(id uint64, indexes []int) error
}

// AnswerLimits bound what a grant does at once, in bytes.
type AnswerLimits struct {
	FrameBytes int // of one frame
	ReadBytes  int // of the journal, read for one grant, however little of it is asked for
}

// Serve hands out up to so many bytes of what is asked for, and returns how many. An
// error is the source's: it says nothing about any log, and the link has to end, so that
// the peer asks again on the next.
func (a *Answer) Serve(bytes int, l AnswerLimits, s AnswerSource) (sent int, err error) {
	a.rows = s.Rows
	for read := 0; sent < bytes && read < l.ReadBytes && a.Open() > 0; {
		if id, indexes, size, ok := a.take(min(bytes-sent, l.FrameBytes)); ok {
			if err := s.Send(id, indexes); err != nil {
				return sent, err
			}
			sent += size
			continue
		}
		n, err := a.readOn(s)
		if err != nil {
			return sent, err
		}
		read += n
	}
	return sent, nil
}

// readOn reads on, from where all questions are served if there are new ones, and returns
// how much was read.
func (a *Answer) readOn(s AnswerSource) (int, error) {
	if a.anew {
		err := s.Place(a.have, func(log wire.LogID, why error) { a.refuse(log, wire.RefuseNotRetained, why.Error()) })
		if err == nil {
			a.begin()
		}
		return 0, err
	}
	headers, n, damage, err := s.Read()
	switch {
	case err != nil:
	case damage != nil:
		a.damaged(damage)
	case len(headers) == 0:
		a.drained()
	default:
		a.read(headers)
	}
	return n, err
}

// have is what a reader may miss of a log, given its tail: of those that nobody asks
// for, everything.
func (a *Answer) have(log wire.LogID, tail wire.Position) wire.Position {
	i, found := slices.BinarySearchFunc(a.open, log, question.compare)
	if !found || a.open[i].over {
		return tail
	}
	return a.open[i].at
}

// begin notes that a reader was placed by have.
func (a *Answer) begin() {
	a.anew, a.damage = false, ""
	a.read(nil)
}

// read takes the headers of what was read next, borrowed until the next call.
func (a *Answer) read(headers []wire.BatchHeader) {
	a.headers, a.next = headers, 0
	for i := range a.open {
		a.open[i].indexes = a.open[i].indexes[:0]
	}
	for i := range headers {
		if at, found := slices.BinarySearchFunc(a.open, headers[i].Log(), question.compare); found {
			a.open[at].indexes = append(a.open[at].indexes, i)
		}
	}
}

// damaged notes that the reader passed over damage, of some log: one is whole if its
// next batch follows.
func (a *Answer) damaged(err error) { a.damage = err.Error() }

// take returns the batches of the read at hand that the next frame carries, all of one
// question: up to so many bytes, or one batch. Not ok: the read is used up.
func (a *Answer) take(bytes int) (id uint64, indexes []int, size int, ok bool) {
	for ; a.next < len(a.open); a.next++ {
		q := &a.open[a.next]
		id = q.id
		for len(q.indexes) > 0 && !q.over {
			h := &a.headers[q.indexes[0]]
			fit := a.fit(q, q.indexes[0])
			if q.skips(h, fit) {
				q.indexes = q.indexes[1:]
				continue
			}
			if a.contradicts(q, h, fit) || len(indexes) > 0 && size+h.Bytes() > bytes {
				break
			}
			indexes, size = append(indexes, q.indexes[0]), size+h.Bytes()
			q.indexes, q.at = q.indexes[1:], h.End()
			if q.at.Covers(q.to) {
				a.end(q, 0, "")
			}
		}
		if len(indexes) > 0 {
			a.sent += size
			return id, indexes, size, true
		}
	}
	a.open = slices.DeleteFunc(a.open, func(q question) bool { return q.over })
	return 0, nil, 0, false
}

// fit says how a batch of the read at hand lies to where the asker stands. The START of a
// later incarnation continues it if it names that place: so it proves itself (I4).
func (a *Answer) fit(q *question, index int) wire.Fit {
	h := &a.headers[index]
	fit := q.at.Fit(h)
	if fit == wire.FitOpens && h.Kind == wire.BatchStart && q.at.Incarnation != q.to.Incarnation && a.rows != nil &&
		slices.Contains(a.rows(index), wire.LogEnd{Log: q.log, End: q.at}) {
		q.met = true
		return wire.FitNext
	}
	return fit
}

// skips says whether a batch lies before where the asker stands.
func (q *question) skips(h *wire.BatchHeader, fit wire.Fit) bool {
	q.met = q.met || h.Incarnation == q.at.Incarnation
	return fit.Holds() || !q.met
}

// contradicts ends a question whose next batch here does not continue it.
func (a *Answer) contradicts(q *question, h *wire.BatchHeader, fit wire.Fit) bool {
	switch {
	case fit == wire.FitNext:
	case a.damage != "" && fit == wire.FitGap:
		a.end(q, wire.RefuseSuspect, a.lost(q))
	case fit == wire.FitGap:
		a.end(q, wire.RefuseNotRetained, fmt.Sprintf("log %s: the first batch here behind seq %d of the asker begins "+
			"at seq %d", q.log, q.at.Seq, h.FirstSeq))
	case fit == wire.FitOpens || fit == wire.FitStrange:
		a.end(q, wire.RefuseUnknownIncarnation, fmt.Sprintf("log %s: incarnation %s follows here, seq %d of the asker "+
			"is of %s", q.log, h.Incarnation, q.at.Seq, q.at.Incarnation))
	default:
		a.end(q, wire.RefuseChain, fmt.Sprintf("log %s: seq %d here does not continue seq %d of the asker",
			q.log, h.FirstSeq, q.at.Seq))
	}
	return q.over
}

func (a *Answer) lost(q *question) string {
	return fmt.Sprintf("log %s after seq %d: %s", q.log, q.at.Seq, a.damage)
}

func (a *Answer) end(q *question, code wire.RefusalCode, text string) {
	q.over = true
	a.ends = append(a.ends, wire.FetchEnd{ID: q.id, Code: code, Text: text})
}

// refuse ends the question for a log.
func (a *Answer) refuse(log wire.LogID, code wire.RefusalCode, text string) {
	if i, found := slices.BinarySearchFunc(a.open, log, question.compare); found {
		a.end(&a.open[i], code, text)
		a.open = slices.Delete(a.open, i, i+1)
	}
}

// drained ends what is open: the reader stands at the end of the journal.
func (a *Answer) drained() {
	for i := range a.open {
		if q := &a.open[i]; a.damage != "" {
			a.end(q, wire.RefuseSuspect, a.lost(q))
		} else {
			a.end(q, 0, "")
		}
	}
	a.open = a.open[:0]
}

// Pause ends a grant: it moves how questions ended to ends, and names one that is open,
// 0 = none; the next question says whether it is to go on. A grant that only read, and
// handed nothing out, tells the asker nothing to answer: the next one goes on with all.
func (a *Answer) Pause(ends []wire.FetchEnd) ([]wire.FetchEnd, uint64) {
	ends = append(ends, a.ends...)
	a.ends = a.ends[:0]
	for i := range a.open {
		if q := &a.open[(a.next+i)%len(a.open)]; !q.over {
			if a.sent > 0 {
				a.paused = q.log
			}
			return ends, q.id
		}
	}
	return ends, 0
}
