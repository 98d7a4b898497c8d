package stream

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// answerLog is the batches of one log, two entries each.
func answerLog(shard wire.Shard, batches int) []wire.BatchHeader {
	var log []wire.BatchHeader
	var at wire.Position
	for i := range batches {
		h := wire.BatchHeader{
			Kind: wire.BatchData, Prev: at.Chain, Incarnation: wire.Incarnation{1}, Site: 7, Shard: shard, Count: 2,
			FirstSeq: at.Seq + 1, FirstStamp: wire.Stamp(2*i + 1), LastStamp: wire.Stamp(2*i + 2), BodyBytes: 1000,
		}
		h.Chain = wire.Chain{byte(shard), byte(i + 1), 1}
		at = h.End()
		log = append(log, h)
	}
	return log
}

// endsAt is where a log ends that answerLog made.
func endsAt(seq wire.Seq) wire.Position {
	return wire.Position{Incarnation: wire.Incarnation{1}, Seq: seq}
}

// interleaved is a journal of so many logs, round by round.
func interleaved(logs wire.Shard, batches int) (all []wire.BatchHeader) {
	for i := range batches {
		for shard := range logs {
			all = append(all, answerLog(shard, batches)[i])
		}
	}
	return all
}

// answer grants until nothing is open, reading so many headers at a time, and returns
// what went per question, how it ended, and how much was read.
func answer(t *testing.T, a *Answer, journal []wire.BatchHeader, step, grant int) (
	sent map[uint64][]wire.BatchHeader, ends map[uint64]wire.FetchEnd, read int,
) {
	sent, ends = map[uint64][]wire.BatchHeader{}, map[uint64]wire.FetchEnd{}
	at := 0
	for id := uint64(1000); a.Open() > 0; id++ {
		a.Resume()
		for left := grant; left > 0 && a.Open() > 0; {
			if q, indexes, size, ok := a.take(left); ok {
				for _, i := range indexes {
					sent[q] = append(sent[q], journal[at-step:][i])
				}
				left -= size
				continue
			}
			switch {
			case a.anew:
				a.begin()
				at = 0
			case at >= len(journal):
				a.drained()
			default:
				a.read(journal[at:min(at+step, len(journal))])
				at, read = at+step, read+step
			}
		}
		list, open := a.Pause(nil)
		for _, end := range list {
			ends[end.ID] = end
		}
		for i := range a.open {
			if q := a.open[i]; q.id == open && open != 0 { // the asker goes on
				a.Ask(&wire.Fetch{ID: q.id, Log: q.log, From: q.at, To: q.to.Seq}, wire.Position{}, q.to)
				require.False(t, a.anew, "from where it stands")
			}
		}
		require.Less(t, id, uint64(100_000))
	}
	return sent, ends, read
}

// TestAnswerServesAllLogsByOneWalk: in pieces of whatever size (I10).
func TestAnswerServesAllLogsByOneWalk(t *testing.T) {
	journal := interleaved(AnswerLogsMax, 6)
	for _, grant := range []int{1, 3000, 1 << 20} {
		var a Answer
		for shard := range wire.Shard(AnswerLogsMax) {
			from := answerLog(shard, 6)[1].End()
			f := wire.Fetch{ID: 1 + uint64(shard), Log: wire.LogID{Site: 7, Shard: shard}, From: from, To: 10}
			a.Ask(&f, wire.Position{}, endsAt(12))
		}
		sent, ends, read := answer(t, &a, journal, 64, grant)
		require.LessOrEqual(t, read, len(journal))
		for shard := range wire.Shard(AnswerLogsMax) {
			require.Equal(t, answerLog(shard, 6)[2:5], sent[1+uint64(shard)], "shard %d, grants of %d", shard, grant)
			require.Equal(t, wire.FetchEnd{ID: 1 + uint64(shard)}, ends[1+uint64(shard)])
		}
	}
}

// TestAnswerEndsByName: what does not continue, lies behind damage, or is short.
func TestAnswerEndsByName(t *testing.T) {
	log := wire.LogID{Site: 7}
	journal := answerLog(0, 4)
	ask := func(from wire.Position, to wire.Seq) *Answer {
		a := &Answer{}
		a.Ask(&wire.Fetch{ID: 9, Log: log, From: from, To: to}, wire.Position{}, endsAt(8))
		return a
	}
	other := journal[0].End()
	other.Chain[0]++
	sent, ends, _ := answer(t, ask(other, 0), journal, 4, 1<<20)
	require.Empty(t, sent)
	require.Equal(t, wire.RefuseChain, ends[9].Code)

	sent, ends, _ = answer(t, ask(journal[0].End(), 20), journal, 1, 1<<20)
	require.Len(t, sent[9], 3)
	require.Equal(t, wire.FetchEnd{ID: 9}, ends[9], "it has no more")

	a := ask(journal[0].End(), 0)
	a.begin()
	a.damaged(errors.New("bad unit"))
	a.read(journal[2:])
	_, _, _, ok := a.take(1 << 20)
	require.False(t, ok)
	list, open := a.Pause(nil)
	require.Zero(t, open)
	require.Equal(t, wire.RefuseSuspect, list[0].Code)
	require.Zero(t, a.Open())

	a = ask(journal[0].End(), 0)
	a.refuse(log, wire.RefuseNotRetained, "gone")
	list, _ = a.Pause(nil)
	require.Equal(t, wire.RefuseNotRetained, list[0].Code)
}

// TestAnswerGoesToASeqOfItsIncarnation: batches of an older one before it are passed by,
// whatever their seqs, and one that follows is not handed out as if it continued (I4).
func TestAnswerGoesToASeqOfItsIncarnation(t *testing.T) {
	old, journal, next := answerLog(0, 9), answerLog(0, 4), answerLog(0, 1)
	for i := range old {
		old[i].Incarnation = wire.Incarnation{9}
	}
	next[0].Incarnation = wire.Incarnation{3}
	all := append(append(old, journal...), next...)
	for _, c := range []struct {
		from wire.Position
		to   wire.Seq
		sent []wire.BatchHeader
		code wire.RefusalCode
	}{
		{journal[1].End(), 8, journal[2:4], 0},
		{journal[3].End(), 9, nil, wire.RefuseUnknownIncarnation},
		{wire.Position{Incarnation: wire.Incarnation{1}, Seq: 7}, 8, nil, wire.RefuseChain},
	} {
		a := &Answer{}
		f := &wire.Fetch{ID: 9, Log: old[0].Log(), From: c.from, To: c.to}
		a.Ask(f, wire.Position{}, endsAt(8))
		sent, ends, _ := answer(t, a, all, 4, 1<<20)
		require.Equal(t, c.sent, sent[9], "from seq %d", c.from.Seq)
		require.Equal(t, c.code, ends[9].Code, "from seq %d: %s", c.from.Seq, ends[9].Text)
	}
}

// TestAnswerGoesOnInLaterIncarnations: where each START names the place before it; not
// behind one that names another place (I4).
func TestAnswerGoesOnInLaterIncarnations(t *testing.T) {
	first, next, last := answerLog(0, 5), answerLog(0, 3), answerLog(0, 2)
	log := first[0].Log()
	for i, of := range [][]wire.BatchHeader{first, next, last} {
		of[0].Kind = wire.BatchStart
		for b := range of {
			of[b].Incarnation = wire.Incarnation{byte(i + 1)}
			of[b].Chain[3] = byte(i)
		}
		for b := 1; b < len(of); b++ {
			of[b].Prev = of[b-1].Chain
		}
	}
	end := last[1].End()
	for named, want := range map[*wire.BatchHeader]int{&next[2]: 2 + 3 + 2, &next[1]: 2 + 3} {
		w := &walk{journal: slices.Concat(first, next, last), step: 3, rows: map[wire.Chain][]wire.LogEnd{
			next[0].Chain: {{Log: log, End: first[4].End()}},
			last[0].Chain: {{Log: log, End: named.End()}},
		}}
		var a Answer
		a.Ask(&wire.Fetch{ID: 3, Log: log, From: first[2].End()}, end, end)
		a.Resume()
		_, err := a.Serve(1<<20, AnswerLimits{FrameBytes: 1 << 20, ReadBytes: 1 << 20}, w)
		require.NoError(t, err)
		require.Len(t, w.sent, want)
		require.Equal(t, first[3], w.sent[0])
		ends, _ := a.Pause(nil)
		code := wire.RefusalCode(0)
		if want < 7 {
			code = wire.RefuseUnknownIncarnation
		}
		require.Equal(t, code, ends[0].Code, ends[0].Text)
	}
}

// TestAnswerDropsWhatIsNotAskedOn: the question that ended a grant is dropped where
// another one is asked on for.
func TestAnswerDropsWhatIsNotAskedOn(t *testing.T) {
	journal := interleaved(2, 6)
	var a Answer
	for shard := range wire.Shard(2) {
		a.Ask(&wire.Fetch{ID: 1 + uint64(shard), Log: wire.LogID{Site: 7, Shard: shard}}, wire.Position{}, endsAt(12))
	}
	a.begin()
	a.read(journal)
	id, _, _, _ := a.take(1)
	require.Equal(t, uint64(1), id)
	_, open := a.Pause(nil)
	require.Equal(t, uint64(1), open)
	a.Ask(&wire.Fetch{ID: 5, Log: wire.LogID{Site: 7, Shard: 1}}, wire.Position{}, endsAt(12))
	require.False(t, a.anew)
	a.Resume()
	require.Equal(t, 1, a.Open())
	id, _, _, _ = a.take(1)
	require.Equal(t, uint64(5), id)
}

// walk is an AnswerSource: a journal of headers, read so many at a time.
type walk struct {
	journal  []wire.BatchHeader
	step, at int
	damage   map[int]error // before the header with this index
	placed   int
	read     []wire.BatchHeader
	sent     []wire.BatchHeader
	rows     map[wire.Chain][]wire.LogEnd // of STARTs
}

func (w *walk) Place(have func(wire.LogID, wire.Position) wire.Position, _ func(wire.LogID, error)) error {
	w.at, w.placed = 0, w.placed+1
	return nil
}

func (w *walk) Read() (headers []wire.BatchHeader, bytes int, damage, err error) {
	if d := w.damage[w.at]; d != nil {
		delete(w.damage, w.at)
		return nil, 0, d, nil
	}
	w.read = w.journal[w.at:min(w.at+w.step, len(w.journal))]
	w.at += len(w.read)
	for i := range w.read {
		bytes += w.read[i].Bytes()
	}
	return w.read, bytes, nil, nil
}

func (w *walk) Rows(index int) []wire.LogEnd { return w.rows[w.read[index].Chain] }

func (w *walk) Send(_ uint64, indexes []int) error {
	for _, i := range indexes {
		w.sent = append(w.sent, w.read[i])
	}
	return nil
}

// TestAnswerOutlivesGrantsThatOnlyRead: what is asked for lies behind more of other logs
// than one grant reads; the walk goes on with the next (I14).
func TestAnswerOutlivesGrantsThatOnlyRead(t *testing.T) {
	mine := answerLog(1, 2)
	w := &walk{journal: append(answerLog(0, 40), mine...), step: 1}
	var a Answer
	a.Ask(&wire.Fetch{ID: 3, Log: wire.LogID{Site: 7, Shard: 1}}, wire.Position{}, endsAt(4))
	limits := AnswerLimits{FrameBytes: 1 << 20, ReadBytes: 5000}
	for grants, open := 0, uint64(3); open != 0; grants++ {
		require.Less(t, grants, 20, "the question is lost")
		a.Resume()
		sent, err := a.Serve(1<<20, limits, w)
		require.NoError(t, err)
		var ends []wire.FetchEnd
		ends, open = a.Pause(nil)
		if open == 0 {
			require.Equal(t, []wire.FetchEnd{{ID: 3}}, ends)
		} else if sent > 0 {
			a.Ask(&wire.Fetch{ID: 3, Log: mine[0].Log(), From: w.sent[len(w.sent)-1].End()}, wire.Position{}, endsAt(4))
		}
	}
	require.Equal(t, mine, w.sent)
	require.Equal(t, 1, w.placed)
}
