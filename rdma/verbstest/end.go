package verbstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
)

const (
	// patience is how long a completion may take that should come at once.
	patience    = 20 * time.Second
	memoryBytes = 64 << 10
	entries     = 64
	parts       = 4
)

// Rig is what the suite runs on.
type Rig struct {
	Verbs rdma.Verbs
	// A and B are the devices of the two ends; they may be the same.
	A, B rdma.DeviceName
}

// end is one end of a connection, with everything below it.
type end struct {
	t      *testing.T
	device rdma.Device
	domain rdma.Domain
	queue  rdma.CompletionQueue
	pair   rdma.QueuePair
	memory []byte
	region rdma.Region
	taken  []rdma.Completion // polled, not yet asked for
}

// setting changes what openEnd asks for.
type setting func(*rdma.QueuePairOptions)

func openEnd(t *testing.T, v rdma.Verbs, name rdma.DeviceName, settings ...setting) *end {
	t.Helper()
	e := &end{t: t}
	var err error
	e.device, err = v.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.device.Close(), "something is still open") })
	e.domain, err = e.device.OpenDomain()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.domain.Close(), "something is still open") })
	e.queue, err = e.device.OpenCompletionQueue(2 * entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.queue.Close()) })
	e.memory, err = rdma.MapMemory(memoryBytes)
	require.NoError(t, err)
	t.Cleanup(func() { rdma.UnmapMemory(e.memory) })
	e.region, err = e.domain.Register(e.memory, rdma.LocalWrite|rdma.RemoteWrite)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.region.Close()) })
	c := e.device.Capabilities()
	o := rdma.QueuePairOptions{
		Completions: e.queue, SendsMax: entries, ReceivesMax: entries, PartsMax: min(parts, c.PartsMax),
		InlineBytes: min(64, c.InlineMax), PSN: 0x123456, AckTimeout: 50 * time.Millisecond, Retries: 1,
		RNRTimer: time.Millisecond, RNRRetries: 1,
	}
	for _, s := range settings {
		s(&o)
	}
	e.pair, err = e.domain.OpenQueuePair(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.pair.Close()) })
	return e
}

// connected returns two ends that may send to each other.
func connected(t *testing.T, r Rig, settings ...setting) (a, b *end) {
	t.Helper()
	a, b = openEnd(t, r.Verbs, r.A, settings...), openEnd(t, r.Verbs, r.B, settings...)
	require.NoError(t, a.pair.ReadyToReceive(b.pair.Identity()))
	require.NoError(t, b.pair.ReadyToReceive(a.pair.Identity()))
	require.NoError(t, a.pair.ReadyToSend())
	require.NoError(t, b.pair.ReadyToSend())
	return a, b
}

// receives posts count receives of size bytes each, from the memory's start.
func (e *end) receives(count, size int) {
	e.t.Helper()
	list := make([]rdma.Receive, count)
	for i := range list {
		list[i].ID = uint64(i)
		if size > 0 {
			list[i].Part = e.part(i*size, size)
		}
	}
	n, err := e.pair.PostReceives(list)
	require.NoError(e.t, err)
	require.Equal(e.t, count, n)
}

func (e *end) part(at, size int) rdma.SGE {
	return rdma.SGE{Bytes: e.memory[at : at+size : at+size], Key: e.region.LocalKey()}
}

func (e *end) post(list ...rdma.Send) {
	e.t.Helper()
	n, err := e.pair.PostSends(list)
	require.NoError(e.t, err)
	require.Equal(e.t, len(list), n)
}

// next waits for one completion, by polling.
func (e *end) next() rdma.Completion {
	e.t.Helper()
	var batch [8]rdma.Completion
	for until := time.Now().Add(patience); len(e.taken) == 0; {
		n, err := e.queue.Poll(batch[:])
		require.NoError(e.t, err)
		e.taken = append(e.taken, batch[:n]...)
		require.True(e.t, time.Now().Before(until), "no completion came")
	}
	c := e.taken[0]
	e.taken = e.taken[1:]
	return c
}

// ends waits for a completion with this status.
func (e *end) ends(id uint64, status rdma.Status) rdma.Completion {
	e.t.Helper()
	c := e.next()
	require.Equal(e.t, status, c.Status, "want %s, got %s (vendor code %d)", status, c.Status, c.Vendor)
	require.Equal(e.t, id, c.ID)
	require.Equal(e.t, e.pair.Identity().QPN, c.QPN)
	return c
}

// write is one that lands at an offset of the peer's memory.
func (e *end) write(to *end, id uint64, op rdma.Op, from, size, at int) rdma.Send {
	return rdma.Send{
		ID: id, Op: op, Signalled: true, Parts: []rdma.SGE{e.part(from, size)},
		Remote: to.region.Address() + uint64(at), RemoteKey: to.region.RemoteKey(), Imm: uint32(id) | 0xab000000,
	}
}
