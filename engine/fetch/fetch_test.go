package fetch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/admission"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

const here, there = wire.SiteID(1), wire.SiteID(2)

// rest is the rest of the heart: it notes what it is told.
type rest struct {
	desk    *Desk
	tails   map[wire.LogID]wire.Position
	suspect bool
	unkept  bool // nobody lacks what is asked for
	told    []string
}

func (r *rest) Holds(log wire.LogID) (wire.Position, *step.Stop) {
	if at, ok := r.tails[log]; ok {
		return at, nil
	}
	return wire.Position{}, &step.Stop{Code: wire.RefuseNotRetained, Text: "it is not held here"}
}

func (r *rest) Mirror(log wire.LogID) (wire.Position, bool, bool) {
	return r.tails[log], r.suspect, true
}
func (r *rest) Staged(log wire.LogID) (wire.Position, wire.Stamp) { return r.tails[log], 0 }

func (r *rest) Pulled(_ uint64, log wire.LogID, end wire.Position, _ wire.Stamp) { r.tails[log] = end }
func (r *rest) Opens(*wire.BatchHeader) *step.Stop                               { return nil }

func (r *rest) MirrorProven(wire.LogID)                  { r.told = append(r.told, "proven") }
func (r *rest) Elsewhere(wire.Shard, wire.Position) bool { return false }
func (r *rest) NotKept(wire.SiteID, wire.LogID) bool     { return false }
func (r *rest) Needless(wire.LogID, wire.Position) bool  { return r.unkept }
func (r *rest) NotTaken(wire.SiteID)                     { r.told = append(r.told, "not taken") }
func (r *rest) Unpinned(wire.Shard)                      { r.told = append(r.told, "unpinned") }

func (r *rest) Repaired(wire.LogID, wire.Position, wire.Position) {
	r.told = append(r.told, "repaired")
}

func (r *rest) Grow(g *stream.Growth) { r.desk.gate.Logs[g.Shard].Tail = g.End }

func (r *rest) GaveBack(wire.SiteID, wire.Shard, wire.Position) { r.told = append(r.told, "gave back") }

func (r *rest) CannotGive(wire.SiteID, wire.Shard, *step.Stop) {
	r.told = append(r.told, "cannot give")
}

func (r *rest) Diverged(wire.SiteID, wire.Shard, *step.Stop) { r.told = append(r.told, "diverged") }

// room is a desk of site 1 with a dialed, ready link to site 2.
func room() (*Desk, *rest, *Line, *step.Effects) {
	e := &step.Effects{}
	t := &step.Turn{C: step.Config{Site: here, SiteName: "site-a", Primary: here, Shards: 2, Cluster: 7}, E: e}
	t.C.SetDefaults()
	t.Know(step.Peer{Site: there, Name: "site-b"})
	ro := role.New(t, true)
	ro.Peers = []*role.Peer{{Peer: step.Peer{Site: there, Name: "site-b"}, Configured: true}}
	r := &rest{tails: map[wire.LogID]wire.Position{}}
	r.desk = New(t, admission.New(t, ro, nil), r)
	l := &Line{Link: 1, Number: 1, Session: 3, Site: there, Name: "site-b", Dialed: true, Ready: true}
	r.desk.Add(l)
	return r.desk, r, l, e
}

// batches are count batches of one entry each, of a log that stands at from.
func batches(log wire.LogID, from wire.Position, count int) (all []wire.BatchHeader) {
	for range count {
		h := wire.BatchHeader{
			Kind: wire.BatchData, DigestKind: wire.DigestXXH3, Cluster: 7, Site: log.Site, Shard: log.Shard, Epoch: 1,
			Incarnation: wire.Incarnation{1}, Prev: from.Chain, Count: 1, FirstSeq: from.Seq + 1,
			FirstStamp: wire.Stamp(from.Seq + 1), LastStamp: wire.Stamp(from.Seq + 1),
		}
		wire.CloseBatch(make([]byte, wire.BatchHeaderBytes+40), &h)
		all, from = append(all, h), h.End()
	}
	return all
}

func fetched(t *testing.T, op step.Op) (f wire.Fetch) {
	t.Helper()
	require.Equal(t, step.OpSend, op.Kind)
	var envelope wire.Envelope
	require.NoError(t, wire.DecodeEnvelope(op.Frame, &envelope))
	require.NoError(t, f.Decode(wire.Body(&envelope, op.Frame)))
	return f
}

// TestRestoreGoesOnUntilTheGoal: asked, staged, flushed, told.
func TestRestoreGoesOnUntilTheGoal(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: here}
	all := batches(log, wire.Position{}, 4)
	d.gate.Logs[0].Tail, d.gate.Logs[0].LastStamp = all[0].End(), 1
	d.Want(l, 0, all[3].End())
	require.True(t, d.Restoring())
	d.Next(l)
	f := fetched(t, e.Ops[0])
	require.Equal(t, wire.Fetch{ID: 1, Log: log, From: all[0].End(), To: 4}, f)
	require.NoError(t, d.Fetched(l, f.ID, all[1:3]))
	require.Equal(t, step.StageRestore, e.Stages[0].Kind)
	require.NoError(t, d.Check())
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Text: stream.AnswerMore}))
	f = fetched(t, e.Ops[1])
	require.Equal(t, all[2].End(), f.From)
	require.NoError(t, d.Fetched(l, f.ID, all[3:]))
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: f.ID}))
	require.Empty(t, r.told, "nothing is flushed")
	d.Durable(e.Stages[1].Ticket)
	require.Equal(t, []string{"gave back"}, r.told)
	require.False(t, d.Restoring())
	require.Equal(t, []wire.Shard{0}, d.gate.Whole)
	require.NoError(t, d.Check())
}

// TestPieceThatDoesNotContinueIsDropped: nothing of it is staged (I4).
func TestPieceThatDoesNotContinueIsDropped(t *testing.T) {
	for name, change := range map[string]func(*wire.BatchHeader){
		"another cluster":     func(h *wire.BatchHeader) { h.Cluster = 8 },
		"another log":         func(h *wire.BatchHeader) { h.Shard = 1 },
		"another incarnation": func(h *wire.BatchHeader) { h.Incarnation = wire.Incarnation{9} },
		"a gap":               func(h *wire.BatchHeader) { h.FirstSeq++ },
		"another chain":       func(h *wire.BatchHeader) { h.Prev[0]++ },
		"stamps that fall":    func(h *wire.BatchHeader) { h.FirstStamp = 1 },
	} {
		d, r, l, e := room()
		all := batches(wire.LogID{Site: here}, wire.Position{}, 3)
		d.gate.Logs[0].Tail, d.gate.Logs[0].LastStamp = all[0].End(), 1
		d.Want(l, 0, all[2].End())
		d.Next(l)
		change(&all[2])
		require.NoError(t, d.Fetched(l, 1, all[1:]), name)
		require.Empty(t, e.Stages, name)
		require.Equal(t, []string{"diverged"}, r.told, name)
		require.NoError(t, d.Check(), name)
	}
}

// TestAnswerOfAnotherIncarnationIsDropped: asked from nothing, a peer that had told one
// incarnation gives another: nothing of it is staged (I4).
func TestAnswerOfAnotherIncarnationIsDropped(t *testing.T) {
	d, r, l, e := room()
	all := batches(wire.LogID{Site: here}, wire.Position{}, 3)
	goal := all[2].End()
	goal.Incarnation = wire.Incarnation{9}
	d.Want(l, 0, goal)
	d.Next(l)
	require.NoError(t, d.Fetched(l, 1, all))
	require.Empty(t, e.Stages)
	require.Equal(t, []string{"diverged"}, r.told)
	require.NoError(t, d.Check())
}

// TestHoleThatNobodyHasHoldsUpNoOther: of the same log, older or younger (I14).
func TestHoleThatNobodyHasHoldsUpNoOther(t *testing.T) {
	d, _, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 4)
	first := &step.LogDamaged{Log: log, From: all[0].End(), To: all[1].End()}
	d.Damaged(first)
	d.Damaged(&step.LogDamaged{Log: log, From: all[2].End(), To: all[3].End()})
	waiting, _ := d.Counts()
	require.Equal(t, 1, waiting, "one question about a log at a time")
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Code: wire.RefuseNotRetained, Text: "gone"}))
	require.Equal(t, all[2].End(), l.Open[0].from, "each by itself")
	require.NoError(t, d.Fetched(l, 2, all[3:]))
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 2}))
	d.Repaired(&step.Repaired{Ticket: e.Stages[0].Ticket})
	d.t.Now.Mono = d.Due()
	d.Tick()
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 3, Code: wire.RefuseNotRetained, Text: "gone"}))
	require.Len(t, d.t.Stopped(), 1, "the first is missing still")
	gone := *first
	gone.Gone = true
	d.Damaged(&gone)
	require.Empty(t, d.t.Stopped())
	waiting, _ = d.Counts()
	require.Zero(t, waiting)
	require.NoError(t, d.Check())
}

// TestRepairGoesOnInALaterIncarnation: asked as such, and whole only at a chain that is
// known (I4).
func TestRepairGoesOnInALaterIncarnation(t *testing.T) {
	log := wire.LogID{Site: there}
	all, next := batches(log, wire.Position{}, 4), batches(log, wire.Position{}, 2)
	for i := range next {
		next[i].Incarnation = wire.Incarnation{2}
	}
	next[0].Kind = wire.BatchStart
	to := next[1].End()
	for _, sound := range []bool{true, false} {
		if !sound {
			to.Chain[0]++
		}
		d, _, l, e := room()
		d.Damaged(&step.LogDamaged{Log: log, From: all[1].End(), To: to})
		f := fetched(t, e.Ops[0])
		require.Zero(t, f.To)
		var envelope wire.Envelope
		require.NoError(t, wire.DecodeEnvelope(e.Ops[0].Frame, &envelope))
		until := wire.ExtensionsOf(&envelope, e.Ops[0].Frame).Until()
		require.Equal(t, wire.Position{Incarnation: to.Incarnation, Seq: to.Seq}, until)
		require.NoError(t, d.Fetched(l, f.ID, all[2:]))
		require.False(t, e.Stages[0].Last)
		require.NoError(t, d.Fetched(l, f.ID, next))
		require.Equal(t, sound, len(e.Stages) == 2 && e.Stages[1].Last)
		require.Equal(t, !sound, len(d.t.Stopped()) == 1)
		require.NoError(t, d.Check())
	}
}

// TestQuestionOverIncarnationsIsAnswered: the walk knows them, the tail does not tell.
func TestQuestionOverIncarnationsIsAnswered(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: here}
	r.tails[log] = wire.Position{Incarnation: wire.Incarnation{2}, Seq: 2, Chain: wire.Chain{1}}
	from := wire.Position{Incarnation: wire.Incarnation{1}, Seq: 80, Chain: wire.Chain{2}}
	d.Asked(l, &wire.Fetch{ID: 1, Log: log, From: from}, wire.Position{})
	require.Equal(t, step.OpSend, e.Ops[0].Kind, "refused")
	e.Reset()
	d.Asked(l, &wire.Fetch{ID: 2, Log: log, From: from}, r.tails[log])
	require.Equal(t, step.OpAnswer, e.Ops[0].Kind)
}

// TestMissingIsNoContradiction: what a site does not have says nothing about our history;
// it is asked for again after a pause (I9, I14).
func TestMissingIsNoContradiction(t *testing.T) {
	d, r, l, _ := room()
	all := batches(wire.LogID{Site: here}, wire.Position{}, 2)
	d.gate.Logs[0].Needs(all[1].End(), "site-b")
	d.Want(l, 0, all[1].End())
	d.Next(l)
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Code: wire.RefuseSuspect, Text: "damaged"}))
	require.Equal(t, []string{"cannot give"}, r.told)
	require.Equal(t, pauseMin, d.Due())
	d.Tick()
	require.Empty(t, d.gate.Whole)
	d.t.Now.Mono = pauseMin
	d.Tick()
	require.Equal(t, []wire.Shard{0}, d.gate.Whole)
	require.Equal(t, step.Never, d.Due())
}

// TestAnswerToNoQuestionIsRefused: one to a question that was given up is not.
func TestAnswerToNoQuestionIsRefused(t *testing.T) {
	d, _, l, _ := room()
	require.ErrorIs(t, d.Fetched(l, 1, nil), wire.ErrProtocol)
	require.ErrorIs(t, d.Ended(l, &wire.FetchEnd{ID: 1}), wire.ErrProtocol)
	d.Want(l, 0, wire.Position{Seq: 9})
	d.Next(l)
	d.Lost(l)
	require.NoError(t, d.Fetched(l, 1, nil))
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1}))
}

// TestRepairTriesEachLinkOnce: then it waits, doubling, and asks all anew (I14).
func TestRepairTriesEachLinkOnce(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 3)
	d.Damaged(&step.LogDamaged{Log: log, From: all[0].End(), To: all[2].End()})
	require.Equal(t, Repair, l.Open[0].Kind)
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Code: wire.RefuseNotRetained, Text: "gone"}))
	require.Empty(t, l.Open)
	require.Len(t, d.t.Stopped(), 1)
	require.Equal(t, pauseMin, d.Due())
	d.t.Now.Mono = pauseMin
	d.Tick()
	require.Len(t, l.Open, 1, "asked anew")
	require.NoError(t, d.Fetched(l, 2, all[1:]))
	last := e.Stages[len(e.Stages)-1]
	require.True(t, last.Last)
	require.Equal(t, all[0].End(), last.From)
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 2}))
	d.Repaired(&step.Repaired{Ticket: last.Ticket})
	require.Empty(t, d.t.Stopped())
	require.Empty(t, r.told, "a mirror: no session has to begin anew")
	waiting, _ := d.Counts()
	require.Zero(t, waiting)
	require.NoError(t, d.Check())
}

// TestNeedlessRepairIsAskedOfAll: nobody lacks what is missing here, and one site does not
// have it. Another may, and the first one later: the copy is made whole (I9). Only the first
// round is news.
func TestNeedlessRepairIsAskedOfAll(t *testing.T) {
	d, r, l, e := room()
	r.unkept = true
	other := &Line{Link: 2, Number: 2, Session: 4, Site: 3, Name: "site-c", Ready: true}
	d.Add(other)
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 3)
	d.Damaged(&step.LogDamaged{Log: log, From: all[0].End(), To: all[2].End()})
	events := 0
	for range 3 {
		require.Len(t, l.Open, 1)
		require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: l.Open[0].ID, Code: wire.RefuseNotRetained, Text: "gone"}))
		require.Len(t, other.Open, 1, "the other one is asked")
		require.NoError(t, d.Ended(other, &wire.FetchEnd{ID: other.Open[0].ID}), "its log ends where we ask from")
		require.Empty(t, d.t.Stopped())
		if events == 0 {
			events = len(e.Events)
		}
		require.Len(t, e.Events, events)
		d.t.Now.Mono = d.Due()
		d.Tick()
	}
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: l.Open[0].ID, Code: wire.RefuseNotRetained, Text: "gone"}))
	require.NoError(t, d.Fetched(other, other.Open[0].ID, all[1:]))
	last := e.Stages[len(e.Stages)-1]
	require.True(t, last.Last)
	require.NoError(t, d.Ended(other, &wire.FetchEnd{ID: last.Ticket}))
}

// TestProofAsksTheLogsOwnSite: what comes proves the tail, and is dropped (I9).
func TestProofAsksTheLogsOwnSite(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: 3}
	all := batches(log, wire.Position{}, 2)
	r.tails[log], r.suspect = all[0].End(), true
	d.Suspect(log, all[0].End())
	d.Next(l)
	require.Empty(t, l.Open, "site-b does not write it")
	l.Site = 3
	d.Next(l)
	require.Equal(t, Proof, l.Open[0].Kind)
	require.NoError(t, d.Fetched(l, 1, all[1:]))
	require.Empty(t, e.Stages)
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1}))
	require.Equal(t, []string{"proven"}, r.told)
}

// TestQuestionsPerLinkAreBounded: and one log has one question out (I10).
func TestQuestionsPerLinkAreBounded(t *testing.T) {
	d, _, l, _ := room()
	for s := range wire.Shard(2 * stream.AnswerLogsMax) {
		d.Suspect(wire.LogID{Site: there, Shard: s}, wire.Position{Seq: 1})
		d.Suspect(wire.LogID{Site: there, Shard: s}, wire.Position{Seq: 1})
	}
	d.heart.(*rest).suspect = true
	d.Next(l)
	require.Len(t, l.Open, stream.AnswerLogsMax)
	logs := map[wire.LogID]bool{}
	for _, q := range l.Open {
		require.False(t, logs[q.Log], "asked twice at a time")
		logs[q.Log] = true
	}
	require.NoError(t, d.Check())
	l.Open = append(l.Open, l.Open[0])
	require.Error(t, d.Check())
}

// TestGrantNobodyTakesEnds: its walk would hold a segment as long as the link lives.
func TestGrantNobodyTakesEnds(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 3)
	r.tails[log] = all[2].End()
	d.Asked(l, &wire.Fetch{ID: 7, Log: log, From: all[0].End()}, wire.Position{})
	d.Granted(l, &step.Granted{Bytes: 10, Open: 7})
	require.NoError(t, d.Check())
	require.Equal(t, GrantIdleMax, l.Due())
	d.t.Now.Mono = GrantIdleMax - time.Second
	d.TickLine(l)
	require.NotEqual(t, step.Never, l.Due())
	d.t.Now.Mono, e.Ops = GrantIdleMax, nil
	d.TickLine(l)
	require.Equal(t, step.Never, l.Due())
	require.Len(t, e.Ops, 3, "its end, and both walks dropped")
	require.Equal(t, grants{}, l.grants)
	l.grants.paused = 7
	require.Error(t, d.Check(), "none is out")
}

// TestComparisonStaysOnItsLink: the other end keeps its snapshot by link.
func TestComparisonStaysOnItsLink(t *testing.T) {
	d, _, l, e := room()
	ask := &step.VerifyAsk{Peer: there, Ask: wire.Verify{ID: 5, Kind: wire.VerifyTails, Count: 1}}
	d.Compare(ask, nil, "refused")
	require.ErrorContains(t, e.Told[0].Err, "no link: refused")
	d.Compare(ask, l, "")
	other := &Line{Link: 2, Session: 9, Site: there}
	ask.Ask.ID = 6
	d.Compare(ask, other, "")
	require.Equal(t, l.Link, e.Ops[len(e.Ops)-1].Link)
	require.ErrorIs(t, d.Compared(l, &wire.Verified{ID: 7}), wire.ErrProtocol)
	require.NoError(t, d.Compared(l, &wire.Verified{ID: 5}), "given up: dropped")
	require.Len(t, e.Told, 1)
	d.CompareLost(l, "reset")
	require.ErrorIs(t, e.Told[1].Err, step.ErrNoLink)
	d.Compare(ask, other, "")
	require.Equal(t, other.Link, e.Ops[len(e.Ops)-1].Link, "the link is gone")
}

// TestFirstQuestionTakesNoGrant: one that crosses the end of a grant says nothing about that,
// and ends no other question; what goes on with an open one does (I10).
func TestFirstQuestionTakesNoGrant(t *testing.T) {
	d, r, l, e := room()
	var all [3][]wire.BatchHeader
	ask := func(shard wire.Shard, id uint64, at int) []step.Op {
		e.Ops = nil
		f := wire.Fetch{ID: id, Log: wire.LogID{Site: there, Shard: shard}, From: all[shard][at].End()}
		d.Asked(l, &f, wire.Position{})
		require.NoError(t, d.Check())
		return e.Ops
	}
	for s := range all {
		log := wire.LogID{Site: there, Shard: wire.Shard(s)}
		all[s] = batches(log, wire.Position{}, 3)
		r.tails[log] = all[s][2].End()
	}
	require.Len(t, ask(0, 1, 0), 2, "taken, and a grant")
	d.Granted(l, &step.Granted{Bytes: 10, Open: 1})
	require.Len(t, ask(1, 2, 0), 1, "no grant: the first one is under way")
	require.Len(t, ask(2, 3, 0), 1)
	require.Len(t, l.grants.open, 3)
	require.Len(t, ask(0, 4, 1), 2)
	require.Len(t, l.grants.open, 3)
	d.Granted(l, &step.Granted{Bytes: 10, Open: 2})
	require.Len(t, ask(2, 5, 1), 2, "log 1 is not wanted any more")
	require.Len(t, l.grants.open, 2)
	d.Granted(l, &step.Granted{Bytes: 10, Open: 4})
	require.Len(t, ask(1, 6, 2), 2, "nothing follows there: told, and a grant")
	require.Equal(t, []granted{{id: 5, log: wire.LogID{Site: there, Shard: 2}}}, l.grants.open)
}

// TestHeldQuestionsAllGoOn: each one whose grant ended while too much waited for the medium.
func TestHeldQuestionsAllGoOn(t *testing.T) {
	d, _, l, e := room()
	for s := range wire.Shard(2) {
		all := batches(wire.LogID{Site: here, Shard: s}, wire.Position{}, 3)
		d.Want(l, s, all[2].End())
	}
	d.Next(l)
	for s := range wire.Shard(2) {
		all := batches(wire.LogID{Site: here, Shard: s}, wire.Position{}, 1)
		all[0].BodyBytes = uint32(d.t.C.RestoreBytesMax)
		require.NoError(t, d.Fetched(l, uint64(1+s), all))
		e.Ops = nil
		require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: uint64(1 + s), Text: stream.AnswerMore}))
		require.Empty(t, e.Ops)
	}
	d.Durable(e.Stages[1].Ticket)
	require.Len(t, e.Ops, 2)
	for s := range e.Ops {
		require.Equal(t, wire.Fetch{
			ID: uint64(3 + s), Log: l.Open[s].Log, From: l.Open[s].from, To: 3,
		}, fetched(t, e.Ops[s]))
	}
}

// TestGrantTakenWithNothingAskedIsTold: by the next question, sent twice, because the first
// of its log takes no grant (I14).
func TestGrantTakenWithNothingAskedIsTold(t *testing.T) {
	d, _, l, e := room()
	all := batches(wire.LogID{Site: here}, wire.Position{}, 3)
	d.Want(l, 0, all[2].End())
	d.Next(l)
	require.NoError(t, d.Fetched(l, 1, all[1:2]), "it does not continue")
	require.Empty(t, l.Open)
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Text: stream.AnswerMore}))
	d.Want(l, 1, wire.Position{Seq: 9})
	e.Ops = nil
	for range 2 {
		d.Next(l)
		require.Len(t, e.Ops, 2)
	}
	first, again := fetched(t, e.Ops[0]), fetched(t, e.Ops[1])
	first.ID++
	require.Equal(t, first, again)
}

// TestPullGoesOnWhenItsGoalRises: also between its answer and the flush of what that brought; and
// while a question is out, no second one is asked.
func TestPullGoesOnWhenItsGoalRises(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 6)
	r.tails[log] = all[0].End()
	d.Pull(log, all[2].End())
	d.Pull(log, all[3].End())
	d.Ask()
	require.Len(t, e.Ops, 1)
	f := fetched(t, e.Ops[0])
	require.Equal(t, all[0].End(), f.From)
	require.NoError(t, d.Fetched(l, f.ID, all[1:4]))
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: f.ID}))
	d.Ask()
	require.Len(t, e.Ops, 1, "all that was wanted is staged")
	d.Pull(log, all[5].End())
	d.Came(log, all[3].End())
	d.Ask()
	require.Len(t, e.Ops, 2)
	require.Equal(t, all[3].End(), fetched(t, e.Ops[1]).From)
	require.NoError(t, d.Check())
}

// TestQuestionAskedAgainStaysInStep: a question was given up and asked again while its answer was on
// the way. The grant's end asks for nothing: the other end has the second question, or answers to
// that for ever what is not asked any more (I14, seed 2737).
func TestQuestionAskedAgainStaysInStep(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 6)
	r.tails[log] = all[0].End()
	d.Pull(log, all[5].End())
	d.Ask()
	require.Equal(t, uint64(1), l.Open[0].ID)
	d.PullAgain(log)
	d.t.Now.Mono = time.Minute
	d.Tick()
	d.Ask()
	require.Equal(t, uint64(2), l.Open[0].ID)
	e.Ops = nil
	require.NoError(t, d.Fetched(l, 1, all[1:3]), "given up: dropped")
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 1, Text: stream.AnswerMore}))
	require.Empty(t, e.Ops, "it is asked for already")
	require.NoError(t, d.Fetched(l, 2, all[1:4]))
	require.NoError(t, d.Ended(l, &wire.FetchEnd{ID: 2, Text: stream.AnswerMore}))
	require.Len(t, e.Ops, 1)
	require.Equal(t, all[3].End(), fetched(t, e.Ops[0]).From)
	require.Empty(t, l.dropped)
}

// TestGrantNamesWhatReplacedItsQuestion: the walk ended its grant before it met the next question
// about the same log. The peer takes the grant by what it has out.
func TestGrantNamesWhatReplacedItsQuestion(t *testing.T) {
	d, r, l, e := room()
	log := wire.LogID{Site: there}
	all := batches(log, wire.Position{}, 4)
	r.tails[log] = all[3].End()
	for id := range uint64(3) {
		d.Asked(l, &wire.Fetch{ID: 1 + id, Log: log, From: all[0].End()}, wire.Position{})
	}
	e.Ops = nil
	d.Granted(l, &step.Granted{Bytes: 10, Open: 1})
	require.NoError(t, d.Check())
	var envelope wire.Envelope
	var end wire.FetchEnd
	require.NoError(t, wire.DecodeEnvelope(e.Ops[0].Frame, &envelope))
	require.NoError(t, end.Decode(wire.Body(&envelope, e.Ops[0].Frame)))
	require.Equal(t, wire.FetchEnd{ID: 3, Text: stream.AnswerMore}, end)
}
