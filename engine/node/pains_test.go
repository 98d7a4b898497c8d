package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// Pains that users of other systems reported, as tests: docs/pains.md.

// Pain 5, https://github.com/ceph/ceph/pull/29094: a bucket was shown as caught up
// while some of its shards were still being copied.
func TestOneShardBehindIsNotCaughtUp(t *testing.T) {
	w, a, b := livelyPair()
	known := func() (durable, applied int64) {
		p := a.node.Status(w.now()).Peers[0]
		require.True(t, p.Durable.Known)
		require.True(t, p.Applied.Known)
		return p.Durable.Entries, p.Applied.Entries
	}
	durable, applied := known()
	require.Zero(t, durable)
	require.Zero(t, applied)
	b.noApply = true
	a.append(1, 1)
	w.pass(3 * time.Second)
	durable, applied = known()
	require.Zero(t, durable)
	require.Equal(t, int64(1), applied, "one entry of one shard")
	b.noApply = false
	a.append(0, 1)
	w.pass(3 * time.Second)
	_, applied = known()
	require.Equal(t, int64(1), applied, "another shard that goes on does not hide it")
	b.apply(wire.LogID{Site: a.c.Site, Shard: 1}, b.mirror.tail(wire.LogID{Site: a.c.Site, Shard: 1}).Position)
	w.pass(3 * time.Second)
	_, applied = known()
	require.Zero(t, applied)
}

// Pain 20, https://github.com/ceph/ceph-csi/issues/3209 and
// https://github.com/ceph/ceph/pull/14963: a split brain that was none, or was one,
// and automation that wiped the good copy (I4).
func TestAnotherHistoryIsKeptAtBothSites(t *testing.T) {
	w, a, b := livelyPair()
	log := wire.LogID{Site: a.c.Site}
	last := len(b.mirror.batches) - 1
	b.crash()
	other := b.mirror.batches[last]
	other.Chain[0] ^= 1 // written by nobody that we know
	b.mirror.batches[last] = other
	before, mirror := len(a.own.batches), len(b.mirror.batches)
	b.open()
	w.pass(10 * time.Second)
	require.Len(t, a.own.batches, before)
	require.Len(t, b.mirror.batches, mirror)
	require.Equal(t, other, b.mirror.batches[last], "nothing was overwritten")
	require.Equal(t, AdmitRefused, a.node.own[0].State)
	require.NotEmpty(t, a.node.Status(w.now()).Stopped)
	require.Equal(t, log, a.node.Status(w.now()).Stopped[0].Log)
	require.Contains(t, a.node.Status(w.now()).Stopped[0].Reason, "histories differ")
}

// Pain 34, https://github.com/strimzi/strimzi-kafka-operator/issues/9905 and
// https://github.com/apache/kafka/pull/10652: mirrors sent each other what they had
// from each other.
func TestNothingIsSentBackToItsWriter(t *testing.T) {
	w, a, b, c := trio()
	for _, s := range w.sites {
		s.open()
	}
	w.pass(time.Second)
	for shard := range wire.Shard(3) {
		a.append(shard, 5)
	}
	w.pass(5 * time.Second)
	require.Equal(t, a.own.batches, c.mirror.batches)
	require.Equal(t, a.own.batches, b.mirror.batches)
	require.Empty(t, a.mirror.batches)
	for _, s := range []*site{b, c} {
		for _, p := range s.node.peers {
			require.Zero(t, p.Outbound.Status(w.now()).FramesSent, "%s sent batches to %s", s.name, p.Name)
		}
	}
	size := int64(0)
	for i := range a.own.batches {
		size += int64(a.own.batches[i].Bytes())
	}
	for _, p := range a.node.peers {
		require.Equal(t, size, p.Outbound.Status(w.now()).BytesSent, "each batch went to %s once", p.Name)
	}
	require.NoError(t, w.fault)
}
