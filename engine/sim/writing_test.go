package sim

import (
	"testing"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// second is the epoch that a site opens behind the first.
func (s *site) second(t *testing.T) wire.Epoch {
	t.Helper()
	e, err := role.Next(role.First, s.id)
	require.NoError(t, err)
	return e
}

// TestWriterIsOfTheHighestEpoch: a site is admitted in epochs that name it, and in no other (I5);
// one that is admitted in an older epoch does not take the writing back.
func TestWriterIsOfTheHighestEpoch(t *testing.T) {
	w := young()
	open := &node.Admit{Admission: node.AdmitUnverified}
	was, next := w.sites[0].p, w.sites[1].p
	require.Same(t, w.sites[0], w.writer())
	breaks(t, "I5", func() { w.check.admitting(next, open) })
	next.epoch = next.site.second(t)
	w.check.admitting(next, open)
	require.Same(t, w.sites[1], w.writer())
	w.check.admitting(was, open)
	require.Same(t, w.sites[1], w.writer())
	was.epoch = next.epoch
	breaks(t, "I5", func() { w.check.admitting(was, open) })
}

// TestClientsFollowTheWriter: those of a site that follows another one ask that, and stay there
// while it is down.
func TestClientsFollowTheWriter(t *testing.T) {
	w := young()
	draw := w.stream("test")
	require.Same(t, w.sites[0], w.load.asked(draw))
	w.sites[0].p.epoch = w.sites[1].second(t)
	require.Same(t, w.sites[1], w.load.asked(draw))
	require.Equal(t, 1, w.marks["client redirected"])
	w.sites[1].p = nil
	require.Same(t, w.sites[1], w.load.asked(draw))
}

// TestBatchIsOfTheEpochOfItsEntries: an entry that was appended in one epoch is not acknowledged
// in another (I5).
func TestBatchIsOfTheEpochOfItsEntries(t *testing.T) {
	acknowledged := func(e wire.Epoch) func() {
		w := young()
		w.book(0, node.Own)
		ref := wire.Ref{Log: bookLog, Incarnation: bookName, Seq: 1}
		w.load.ops = []op{{ref: ref, epoch: role.First}}
		w.load.of(w.sites[0]).flushing[bookLog] = []int{0}
		h := wire.BatchHeader{
			Site: bookLog.Site, Incarnation: bookName, Epoch: e, FirstSeq: 1, Count: 1, FirstStamp: 1, LastStamp: 1,
		}
		return func() { w.load.flushed(w.sites[0], []wire.BatchHeader{h}) }
	}
	require.NotPanics(t, acknowledged(role.First))
	breaks(t, "I5", acknowledged(role.First+1))
}
