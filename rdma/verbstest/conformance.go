package verbstest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
)

// Conformance is what every implementation of rdma.Verbs must pass; open makes a
// rig for one test. Nothing may be left open when a test ends.
func Conformance(t *testing.T, open func(t *testing.T) Rig) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Rig)
	}{
		{"DevicesAreListedAndDescribed", described},
		{"WritesWithImmediateArriveInOrder", writesImmediate},
		{"AWriteIsToldByTheSendBehindIt", writeThenSend},
		{"SendsTakeReceivesInOrder", sends},
		{"PartsAreGathered", gathered},
		{"InlineBytesAreFreeAtOnce", inline},
		{"OnlyWhatIsSignalledCompletes", selective},
		{"ASendWaitsForAReceive", lateReceive},
		{"WithoutAReceiveRetriesEnd", receiverNotReady},
		{"AKeyThatIsGoneIsRefused", staleKey},
		{"AKeyThatIsWrongIsRefused", wrongKey},
		{"AKeyOfAnotherDomainIsRefused", foreignKey},
		{"WritesStayInTheirRegion", outOfBounds},
		{"ARegionWithoutTheRightIsNotWritten", noRight},
		{"FailFlushesBothQueues", failFlushes},
		{"NothingLandsAfterFail", nothingAfterFail},
		{"APeerThatIsGoneEndsTheRetries", peerGone},
		{"StatesAreKept", states},
		{"ParentsOutliveChildren", parents},
		{"AnArmedQueueTells", armed},
		{"WakeUnblocksWaitForGood", wake},
		{"StopEventsUnblocksNextEvent", stopEvents},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func described(t *testing.T, r Rig) {
	names, err := r.Verbs.Devices()
	require.NoError(t, err)
	require.NotEmpty(t, names)
	_, err = r.Verbs.Open(rdma.DeviceName{Device: "no-such-device"})
	require.ErrorIs(t, err, rdma.ErrUnsupported)
	d, err := r.Verbs.Open(r.A)
	require.NoError(t, err)
	c := d.Capabilities()
	require.Contains(t, names, c.Device)
	require.NotZero(t, c.Port)
	require.True(t, c.GID != rdma.GID{} || c.LID != 0, "no address: %+v", c)
	require.GreaterOrEqual(t, c.MTUBytes, 256)
	require.GreaterOrEqual(t, c.SendsMax, entries)
	require.GreaterOrEqual(t, c.ReceivesMax, entries)
	require.GreaterOrEqual(t, c.PartsMax, 1)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "a second Close")
}

func writesImmediate(t *testing.T, r Rig) {
	a, b := connected(t, r)
	if !a.device.Capabilities().Immediate {
		t.Log("the device says that it refuses writes with immediate")
		return
	}
	b.receives(entries, 0)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range a.memory {
		a.memory[i] = byte(random.Uint32())
	}
	const size = 900
	var list []rdma.Send
	for i := range entries - 1 {
		list = append(list, a.write(b, uint64(i), rdma.OpWriteImm, i*size, size, i*size))
	}
	a.post(list[:20]...)
	a.post(list[20:]...)
	for i := range list {
		c := b.ends(uint64(i), rdma.StatusSuccess)
		require.Equal(t, rdma.CompletedReceiveImm, c.Kind)
		require.EqualValues(t, size, c.Bytes)
		require.Equal(t, list[i].Imm, c.Imm)
		require.True(t, bytes.Equal(a.memory[i*size:][:size], b.memory[i*size:][:size]))
		require.Equal(t, rdma.CompletedSend, a.ends(uint64(i), rdma.StatusSuccess).Kind)
	}
}

func writeThenSend(t *testing.T, r Rig) {
	a, b := connected(t, r)
	b.receives(1, 16)
	copy(a.memory[1000:], "written first")
	copy(a.memory, "notice")
	a.post(a.write(b, 1, rdma.OpWrite, 1000, 13, 2000),
		rdma.Send{ID: 2, Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(0, 6)}})
	c := b.ends(0, rdma.StatusSuccess)
	require.Equal(t, rdma.CompletedReceive, c.Kind)
	require.EqualValues(t, 6, c.Bytes)
	require.Equal(t, "notice", string(b.memory[:6]))
	require.Equal(t, "written first", string(b.memory[2000:2013]))
	a.ends(1, rdma.StatusSuccess)
	a.ends(2, rdma.StatusSuccess)
}

func sends(t *testing.T, r Rig) {
	a, b := connected(t, r)
	const size, count = 32, 20
	b.receives(count, size)
	for i := range count {
		a.memory[i] = byte(i + 1)
		a.post(rdma.Send{ID: uint64(i), Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(i, 1)}})
	}
	for i := range count {
		b.ends(uint64(i), rdma.StatusSuccess)
		require.Equal(t, byte(i+1), b.memory[i*size])
		a.ends(uint64(i), rdma.StatusSuccess)
	}
}

func gathered(t *testing.T, r Rig) {
	a, b := connected(t, r)
	if a.device.Capabilities().PartsMax < 3 {
		t.Log("the device says that it gathers fewer than 3 parts")
		return
	}
	b.receives(1, 64)
	copy(a.memory, "one two three")
	a.post(rdma.Send{
		ID: 7, Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(8, 5), a.part(4, 4), a.part(0, 3)},
	})
	require.EqualValues(t, 12, b.ends(0, rdma.StatusSuccess).Bytes)
	require.Equal(t, "threetwo one", string(b.memory[:12]))
	a.ends(7, rdma.StatusSuccess)
}

func inline(t *testing.T, r Rig) {
	a, b := connected(t, r)
	if a.pair.Inline() < 4 {
		t.Log("the device says that it sends nothing inline")
		return
	}
	copy(a.memory, "then")
	w := a.write(b, 1, rdma.OpWrite, 0, 4, 100)
	w.Inline, w.Parts[0].Key = true, 0
	a.post(w)
	copy(a.memory, "next")
	a.ends(1, rdma.StatusSuccess)
	require.Equal(t, "then", string(b.memory[100:104]))
}

func selective(t *testing.T, r Rig) {
	a, b := connected(t, r)
	for i := range 15 {
		w := a.write(b, uint64(i), rdma.OpWrite, 0, 8, 0)
		w.Signalled = false
		a.post(w)
	}
	a.post(a.write(b, 15, rdma.OpWrite, 0, 8, 0))
	a.ends(15, rdma.StatusSuccess)
	n, err := a.queue.Poll(make([]rdma.Completion, 4))
	require.NoError(t, err)
	require.Zero(t, n, "an unsignalled send completed")
}

func lateReceive(t *testing.T, r Rig) {
	a, b := connected(t, r, func(o *rdma.QueuePairOptions) { o.RNRRetries = 7 })
	a.post(rdma.Send{ID: 1, Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(0, 8)}})
	n, err := a.queue.Poll(make([]rdma.Completion, 1))
	require.NoError(t, err)
	require.Zero(t, n)
	b.receives(1, 8)
	b.ends(0, rdma.StatusSuccess)
	a.ends(1, rdma.StatusSuccess)
}

func receiverNotReady(t *testing.T, r Rig) {
	a, _ := connected(t, r)
	a.post(rdma.Send{ID: 1, Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(0, 8)}},
		rdma.Send{ID: 2, Op: rdma.OpSend, Parts: []rdma.SGE{a.part(0, 8)}})
	a.ends(1, rdma.StatusRNRExceeded)
	a.ends(2, rdma.StatusFlushed) // unsignalled, and completes all the same
}

// refused posts a write that b's device must not carry out.
func refused(t *testing.T, a, b *end, w rdma.Send) {
	t.Helper()
	before := bytes.Clone(b.memory)
	a.post(w)
	a.ends(w.ID, rdma.StatusRemoteAccess)
	require.True(t, bytes.Equal(before, b.memory), "memory changed")
	a.post(a.write(b, 99, rdma.OpWrite, 0, 8, 0))
	a.ends(99, rdma.StatusFlushed)
}

func staleKey(t *testing.T, r Rig) {
	a, b := connected(t, r)
	a.post(a.write(b, 1, rdma.OpWrite, 0, 8, 0))
	a.ends(1, rdma.StatusSuccess)
	w := a.write(b, 2, rdma.OpWrite, 8, 8, 0)
	copy(a.memory[8:], "too late")
	require.NoError(t, b.region.Close())
	refused(t, a, b, w)
}

func wrongKey(t *testing.T, r Rig) {
	a, b := connected(t, r)
	w := a.write(b, 1, rdma.OpWrite, 0, 8, 0)
	w.RemoteKey ^= 0x5a5a5a00
	refused(t, a, b, w)
}

func foreignKey(t *testing.T, r Rig) {
	a, b := connected(t, r)
	_, other := connected(t, r)
	w := a.write(other, 1, rdma.OpWrite, 0, 8, 0)
	copy(a.memory, "mischief")
	refused(t, a, b, w)
	require.NotEqual(t, "mischief", string(other.memory[:8]))
}

func outOfBounds(t *testing.T, r Rig) {
	for _, at := range []int{memoryBytes - 7, memoryBytes, -1} {
		a, b := connected(t, r)
		refused(t, a, b, a.write(b, 1, rdma.OpWrite, 0, 8, at))
	}
}

func noRight(t *testing.T, r Rig) {
	a, b := connected(t, r)
	memory, err := rdma.MapMemory(4096)
	require.NoError(t, err)
	defer rdma.UnmapMemory(memory)
	region, err := b.domain.Register(memory, rdma.LocalWrite)
	require.NoError(t, err)
	w := a.write(b, 1, rdma.OpWrite, 0, 8, 0)
	w.Remote, w.RemoteKey = region.Address(), region.RemoteKey()
	refused(t, a, b, w)
	require.NoError(t, region.Close())
	require.NoError(t, region.Close(), "a second Close")
}

func failFlushes(t *testing.T, r Rig) {
	a, b := connected(t, r)
	b.receives(3, 8)
	require.NoError(t, b.pair.Fail())
	require.NoError(t, b.pair.Fail())
	for i := range 3 {
		b.ends(uint64(i), rdma.StatusFlushed)
	}
	require.NoError(t, a.pair.Fail())
	a.post(a.write(b, 5, rdma.OpWrite, 0, 8, 0))
	a.ends(5, rdma.StatusFlushed)
}

func nothingAfterFail(t *testing.T, r Rig) {
	a, b := connected(t, r)
	require.NoError(t, b.pair.Fail())
	copy(a.memory, "too late")
	a.post(a.write(b, 1, rdma.OpWrite, 0, 8, 0))
	require.NotEqual(t, rdma.StatusSuccess, a.next().Status)
	require.NotEqual(t, "too late", string(b.memory[:8]))
}

func peerGone(t *testing.T, r Rig) {
	a, b := connected(t, r)
	require.NoError(t, b.pair.Close())
	require.NoError(t, b.pair.Close(), "a second Close")
	a.post(a.write(b, 1, rdma.OpWrite, 0, 8, 0))
	a.ends(1, rdma.StatusRetryExceeded)
}

func states(t *testing.T, r Rig) {
	e := openEnd(t, r.Verbs, r.A)
	_, err := e.pair.PostSends([]rdma.Send{{Op: rdma.OpSend}})
	require.Error(t, err, "a send in INIT")
	require.ErrorIs(t, e.pair.ReadyToSend(), rdma.ErrState)
	e.receives(1, 8) // allowed in INIT
}

func parents(t *testing.T, r Rig) {
	e := openEnd(t, r.Verbs, r.A)
	require.ErrorIs(t, e.queue.Close(), rdma.ErrInUse)
	require.ErrorIs(t, e.domain.Close(), rdma.ErrInUse)
	require.ErrorIs(t, e.device.Close(), rdma.ErrInUse)
}

func armed(t *testing.T, r Rig) {
	a, b := connected(t, r)
	for round := range 50 {
		b.receives(1, 8)
		require.NoError(t, b.queue.Arm())
		told := make(chan error, 1)
		go func() { told <- b.queue.Wait() }() // ends with the notification
		a.post(rdma.Send{ID: uint64(round), Op: rdma.OpSend, Signalled: true, Parts: []rdma.SGE{a.part(0, 8)}})
		require.NoError(t, within(t, told))
		b.ends(0, rdma.StatusSuccess)
		a.ends(uint64(round), rdma.StatusSuccess)
	}
}

func wake(t *testing.T, r Rig) {
	e := openEnd(t, r.Verbs, r.A)
	require.NoError(t, e.queue.Arm())
	told := make(chan error, 1)
	go func() { told <- e.queue.Wait() }() // ends with Wake
	e.queue.Wake()
	e.queue.Wake()
	require.NoError(t, within(t, told))
	for range 3 {
		require.NoError(t, e.queue.Wait())
	}
}

func stopEvents(t *testing.T, r Rig) {
	e := openEnd(t, r.Verbs, r.A)
	told := make(chan error, 1)
	go func() { // ends with StopEvents
		var err error
		for err == nil {
			_, err = e.device.NextEvent()
		}
		told <- err
	}()
	e.device.StopEvents()
	e.device.StopEvents()
	require.True(t, errors.Is(within(t, told), net.ErrClosed))
}

func within(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("patience ended")
		return nil
	}
}
