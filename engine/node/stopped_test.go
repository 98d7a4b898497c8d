package node

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// An applier stops for good: neither a session that begins again nor a repair of the
// log takes it off the list.
func TestLogWhoseApplierStoppedStaysListed(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	for _, s := range []*site{a, b} {
		s.step(&ApplyStopped{Log: log, Err: errors.New("unknown operation")})
	}
	cutAll(w)
	w.pass(5 * time.Second)
	b.step(&LogDamaged{Log: log, To: b.mirror.batches[0].End()})
	w.pass(time.Second)
	require.Contains(t, w.take(), "log-repaired")
	for _, s := range []*site{a, b} {
		stopped := s.node.Status(w.now()).Stopped
		require.Len(t, stopped, 1, s.name)
		require.Equal(t, "applier stopped: unknown operation", stopped[0].Reason, s.name)
	}
	require.NoError(t, w.fault)
}

// A mirror whose tail could not be proven is listed until its site proves it.
func TestProvenMirrorIsListedAsStoppedNoMore(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	whole := a.own.batches
	a.crash()
	b.crash()
	a.own.batches, a.applied = whole[:2:2], nil
	b.suspect[Mirror] = []wire.LogID{log}
	a.open()
	b.open()
	w.pass(2 * time.Second)
	stopped := b.node.Status(w.now()).Stopped
	require.Len(t, stopped, 1)
	require.Contains(t, stopped[0].Reason, step.NotRepaired)
	a.crash()
	a.own.batches = whole
	a.open()
	w.pass(5 * time.Second)
	require.Empty(t, b.suspect[Mirror])
	require.Empty(t, b.node.Status(w.now()).Stopped)
	require.NoError(t, w.fault)
}

// What a log is behind that no reader passes is not 0 bytes, and the standby does not know
// how far behind it is: the other logs go on.
func TestLagOfLogLeftOutIsNotZero(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	b.mirror.batches, b.applied = nil, nil
	a.own.base = 2
	b.open()
	w.pass(3 * time.Second)
	a.append(1, 1)
	w.pass(time.Second)
	p := a.node.Status(w.now()).Peers[0]
	require.Len(t, p.Stopped, 1)
	require.EqualValues(t, 6, p.Durable.Entries)
	require.EqualValues(t, -1, p.Durable.Bytes)
	p = b.node.Status(w.now()).Peers[0]
	require.EqualValues(t, 1, p.LeftOut)
	require.True(t, p.Writes)
	require.False(t, p.Behind.Known)
	require.NoError(t, w.fault)
}
