package stream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// startBehind is the START of epoch 2 of a log that ended with a batch.
func startBehind(t *testing.T, last *wire.BatchHeader) (wire.BatchHeader, []wire.Start) {
	t.Helper()
	rows := []wire.LogEnd{{Log: last.Log(), End: last.End()}}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), rows)
	require.NoError(t, err)
	h := *last
	h.Kind, h.Epoch, h.Incarnation, h.Prev = wire.BatchStart, 2, wire.Incarnation{2, 2}, wire.Chain{}
	h.FirstSeq, h.Count, h.FirstStamp, h.LastStamp = 1, 1, last.LastStamp+1, last.LastStamp+1
	wire.CloseBatch(b, &h)
	return h, []wire.Start{{Log: h.Log(), Incarnation: h.Incarnation, Epoch: 2, Rows: rows, Before: last.End()}}
}

// TestReaderPlacedAgainBeforeAnOlderEnd: in a live session it is placed before the START of
// another log; where this one stood there says nothing about the peer, which is further.
func TestReaderPlacedAgainBeforeAnOlderEnd(t *testing.T) {
	r, o, _ := sides(here)
	r.own.role.Epoch = 2
	list := batches(0, 3, 2)
	start, starts := startBehind(t, &list[1])
	r.own.Flushed(list, nil)
	r.own.Flushed([]wire.BatchHeader{start}, starts)
	o.Tick()
	o.Hello(5)
	require.NoError(t, o.Welcomed(&wire.Welcome{Version: wire.Version, Site: there, SiteName: "there", Term: 1}))
	o.Begin()
	row := wire.PageEntry{Log: start.Log(), Durable: start.End(), Applied: 1}
	_, err := o.Page(&wire.CursorPage{Flags: wire.PageResume | wire.PageLast, Entries: []wire.PageEntry{row}}, nil)
	require.NoError(t, err)
	o.Resume()
	o.Written()
	o.Seek()
	old := &step.Sought{Link: 5, Tails: []wire.Cursor{{Log: start.Log(), Position: list[1].End()}}}
	o.Sought(old)
	o.ReadDone(&step.ReadDone{Link: 5, Headers: []wire.BatchHeader{start}})
	o.ReadDone(&step.ReadDone{Link: 5})
	require.Equal(t, readerAtEnd, o.reader)
	o.again = true
	o.readOn()
	require.Equal(t, readerSeeks, o.reader)
	o.Sought(old)
	require.Equal(t, readerReads, o.reader)
	require.Nil(t, o.Logs[0].Stop)
	require.True(t, o.Sender.In(0))
}

// TestFailedPullKeepsWhatWasStagedBefore: a piece that was not staged takes along what comes
// behind it, and nothing before it: that is on its way to the medium.
func TestFailedPullKeepsWhatWasStagedBefore(t *testing.T) {
	r, _, in := sides(there)
	m := in.mirrors
	list := batches(0, 3, 2, 4)
	for i := range list {
		list[i].Site = there
		m.Pulled(uint64(i+1), list[i].Log(), list[i].End(), list[i].LastStamp)
	}
	log := list[0].Log()
	failed, ok := m.PullFailed(2)
	require.True(t, ok)
	require.Equal(t, log, failed)
	tail, stamp := m.Staged(log)
	require.Equal(t, list[0].End(), tail)
	require.Equal(t, list[0].LastStamp, stamp)
	_, ok = m.PullFailed(3)
	require.False(t, ok, "it went with what lay before it")
	moved := 0
	m.PulledDurable(1, func(wire.LogID) { moved++ })
	require.Equal(t, 1, moved)
	require.Equal(t, list[0].End(), m.Log(log).Durable)
	require.Empty(t, r.said)
}

// TestReadUnderWayIsNotAnotherHistory: a read that was asked for before the peer was ready brings
// what comes behind the START that was passed over. It is passed over, too, until the reader is
// placed again.
func TestReadUnderWayIsNotAnotherHistory(t *testing.T) {
	r, o, _ := sides(here)
	r.own.role.Epoch = 2
	list := batches(0, 3, 2)
	start, starts := startBehind(t, &list[1])
	r.own.Flushed(list, nil)
	r.own.Flushed([]wire.BatchHeader{start}, starts)
	o.Tick()
	o.Hello(5)
	require.NoError(t, o.Welcomed(&wire.Welcome{Version: wire.Version, Site: there, SiteName: "there", Term: 1}))
	o.Begin()
	row := wire.PageEntry{Log: start.Log(), Durable: list[0].End()}
	_, err := o.Page(&wire.CursorPage{Flags: wire.PageResume | wire.PageLast, Entries: []wire.PageEntry{row}}, nil)
	require.NoError(t, err)
	o.Resume()
	o.Written()
	o.Seek()
	o.Sought(&step.Sought{Link: 5})
	o.ReadDone(&step.ReadDone{Link: 5, Headers: []wire.BatchHeader{start}})
	require.Equal(t, []wire.Shard{0}, o.unready)
	require.Equal(t, readerReads, o.reader, "the next read is under way")

	row.Durable = list[1].End() // it pulled the rest
	_, err = o.Page(&wire.CursorPage{Entries: []wire.PageEntry{row}}, nil)
	require.NoError(t, err)
	o.Ready()
	behind := start
	behind.Kind, behind.FirstSeq, behind.Prev = wire.BatchData, 2, start.Chain
	o.ReadDone(&step.ReadDone{Link: 5, Headers: []wire.BatchHeader{behind}})
	require.Nil(t, o.Logs[0].Stop)
	require.Equal(t, readerSeeks, o.reader)
	o.Sought(&step.Sought{Link: 5})
	o.ReadDone(&step.ReadDone{Link: 5, Headers: []wire.BatchHeader{start, behind}})
	require.Equal(t, behind.End(), o.Sender.Sent(0))
}
