package writer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

var own0 = wire.LogID{Site: 1}

// startsOf are those that a journal keeps of flushed batches.
func startsOf(t *testing.T, j *journal.Journal, headers []wire.BatchHeader) []wire.Start {
	t.Helper()
	starts := j.StartsOf(headers)
	require.NotEmpty(t, starts)
	return starts
}

// TestOpenedLogGoesOnBehindItsStart: the START is flushed without an entry, has the rows, and
// lies above every stamp that it names; its own row is where the last entry given out lies.
func TestOpenedLogGoesOnBehindItsStart(t *testing.T) {
	w, j := newWriter(t, 1)
	_, err := w.Append(0, entry(10), 4)
	require.NoError(t, err)
	flush(t, w, j)
	_, err = w.Append(0, entry(10), 5) // pending when the log is opened
	require.NoError(t, err)
	other := wire.LogEnd{
		Log: wire.LogID{Site: 9}, End: wire.Position{Incarnation: wire.Incarnation{8}, Seq: 3, Chain: wire.Chain{1}},
	}
	after := wire.StampOf(noon) + 1<<30
	require.NoError(t, w.Open(&Opening{Epoch: 7, Ends: []wire.LogEnd{other}, GoesOn: true, After: after}))
	headers := flush(t, w, j)
	require.Len(t, headers, 2)
	last, start := headers[0], headers[1]
	require.Equal(t, []wire.Epoch{1, 7}, []wire.Epoch{last.Epoch, start.Epoch})
	require.Greater(t, start.FirstStamp, after)
	rows := []wire.LogEnd{{Log: own0, End: last.End()}, other}
	require.Equal(t, rows, startsOf(t, j, headers)[0].Rows)
	require.Zero(t, w.PendingBytes())

	ref, err := w.Append(0, entry(10), 6)
	require.NoError(t, err)
	require.Equal(t, wire.Seq(2), ref.Seq)
	require.Equal(t, start.Incarnation, ref.Incarnation)
	data := flush(t, w, j)[0]
	require.Equal(t, wire.Epoch(7), data.Epoch)
	require.Equal(t, start.Chain, data.Prev)
	require.EqualValues(t, 6, data.LastIndex)
	require.ErrorIs(t, w.Open(&Opening{Epoch: 7}), wire.ErrProtocol, "one incarnation of an epoch")
}

// TestOpenedLogNamesItsEndAndNotItsTail: what lies beyond a known end did not survive.
func TestOpenedLogNamesItsEndAndNotItsTail(t *testing.T) {
	w, j := newWriter(t, 1)
	for range 3 {
		_, err := w.Append(0, entry(10), 0)
		require.NoError(t, err)
		flush(t, w, j)
	}
	end := wire.LogEnd{Log: own0, End: wire.Position{Incarnation: wire.Incarnation{1}, Seq: 2, Chain: wire.Chain{5}}}
	require.NoError(t, w.Open(&Opening{Epoch: 7, Ends: []wire.LogEnd{end}}))
	require.Equal(t, []wire.LogEnd{end}, startsOf(t, j, flush(t, w, j))[0].Rows)
}

// TestOpeningWaitsForTheReservation: the entry that holds the tail has its place before the
// START, which names it.
func TestOpeningWaitsForTheReservation(t *testing.T) {
	for name, end := range map[string]func(*Reservation) error{
		"commit": func(r *Reservation) error { _, err := r.Commit(); return err },
		"abort":  func(r *Reservation) error { r.Abort(); return nil },
	} {
		w, j := newWriter(t, 1)
		_, err := w.Append(0, entry(1), 0)
		require.NoError(t, err)
		r, err := w.Reserve(0, entry(0), 5)
		require.NoError(t, err)
		require.NoError(t, w.Open(&Opening{Epoch: 7, GoesOn: true}))
		flush(t, w, j)
		require.Empty(t, j.Starts(), name)
		require.NoError(t, end(&r), name)
		headers := flush(t, w, j)
		start := headers[len(headers)-1]
		require.Equal(t, wire.Epoch(7), start.Epoch, name)
		before, want := startsOf(t, j, headers)[0].Before, wire.Seq(2)
		if name == "commit" {
			want = 3
		}
		require.Equal(t, want, before.Seq, name)
		require.Equal(t, []wire.LogEnd{{Log: own0, End: before}}, j.Starts()[0].Rows, name)
	}
}

// TestOpenedLogIsNotTakenBack: that the log ended before the START, told while that is on its way
// to the medium, moves nothing.
func TestOpenedLogIsNotTakenBack(t *testing.T) {
	w, j := newWriter(t, 1)
	_, err := w.Append(0, entry(1), 0)
	require.NoError(t, err)
	flush(t, w, j)
	old, _ := j.Tail(own0)
	require.NoError(t, w.Open(&Opening{Epoch: 7, GoesOn: true}))
	flush(t, w, j)
	require.False(t, w.GoOn(0, old, 1))
	in, seq := w.Tail(0)
	require.Equal(t, wire.Seq(1), seq)
	require.NotEqual(t, old.Position.Incarnation, in)

	again := New(w.o)
	tail, _ := j.Tail(own0)
	require.True(t, again.GoOn(0, tail, 7), "after a restart")
	_, err = again.Append(0, entry(1), 0)
	require.NoError(t, err)
	require.Equal(t, wire.Epoch(7), flush(t, again, j)[0].Epoch)
}
