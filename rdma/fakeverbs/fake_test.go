package fakeverbs_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/rdma/verbstest"
)

func TestFakeConforms(t *testing.T) {
	for name, o := range map[string]fakeverbs.Options{
		"one device":        {},
		"two devices":       {Devices: []string{"a", "b"}},
		"without immediate": {NoImmediate: true},
		"without inline":    {InlineMax: -1},
		"shuffled":          {Shuffle: true, Seed: 3},
	} {
		t.Run(name, func(t *testing.T) {
			verbstest.Conformance(t, func(t *testing.T) verbstest.Rig {
				fabric := fakeverbs.New(o)
				t.Cleanup(func() { require.Zero(t, fabric.Objects()) })
				r := verbstest.Rig{Verbs: fabric}
				if len(o.Devices) == 2 {
					r.A.Device, r.B.Device = "a", "b"
				}
				return r
			})
		})
	}
}

// pair is two connected queue pairs of one device that share a completion queue.
type pair struct {
	device rdma.Device
	domain rdma.Domain
	queue  rdma.CompletionQueue
	a, b   rdma.QueuePair
	memory []byte
	region rdma.Region
}

func open(t *testing.T, f *fakeverbs.Fabric, completions, sends int) *pair {
	t.Helper()
	p := &pair{}
	var err error
	p.device, err = f.Open(rdma.DeviceName{})
	require.NoError(t, err)
	p.domain, err = p.device.OpenDomain()
	require.NoError(t, err)
	p.queue, err = p.device.OpenCompletionQueue(completions)
	require.NoError(t, err)
	p.memory, err = rdma.MapMemory(4096)
	require.NoError(t, err)
	p.region, err = p.domain.Register(p.memory, rdma.LocalWrite|rdma.RemoteWrite)
	require.NoError(t, err)
	for _, q := range []*rdma.QueuePair{&p.a, &p.b} {
		*q, err = p.domain.OpenQueuePair(rdma.QueuePairOptions{
			Completions: p.queue, SendsMax: sends, ReceivesMax: 8, PartsMax: 1, AckTimeout: time.Millisecond,
			RNRTimer: time.Millisecond,
		})
		require.NoError(t, err)
	}
	require.NoError(t, p.a.ReadyToReceive(p.b.Identity()))
	require.NoError(t, p.b.ReadyToReceive(p.a.Identity()))
	require.NoError(t, p.a.ReadyToSend())
	require.NoError(t, p.b.ReadyToSend())
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{p.a, p.b, p.region, p.queue, p.domain, p.device} {
			require.NoError(t, c.Close())
		}
		rdma.UnmapMemory(p.memory)
		require.Zero(t, f.Objects())
	})
	return p
}

func (p *pair) write(id uint64, signalled bool) rdma.Send {
	return rdma.Send{
		ID: id, Op: rdma.OpWrite, Signalled: signalled, Remote: p.region.Address(), RemoteKey: p.region.RemoteKey(),
		Parts: []rdma.SGE{{Bytes: p.memory[:8:8], Key: p.region.LocalKey()}},
	}
}

func TestWhoNeverSignalsFillsTheSendQueue(t *testing.T) {
	p := open(t, fakeverbs.New(fakeverbs.Options{}), 64, 4)
	for i := range uint64(3) {
		_, err := p.a.PostSends([]rdma.Send{p.write(i, false)})
		require.NoError(t, err)
	}
	n, err := p.a.PostSends([]rdma.Send{p.write(3, true), p.write(4, true)})
	require.ErrorIs(t, err, rdma.ErrFull)
	require.Equal(t, 1, n)
	var done [4]rdma.Completion
	n, err = p.queue.Poll(done[:])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.EqualValues(t, 3, done[0].ID)
	_, err = p.a.PostSends([]rdma.Send{p.write(5, true), p.write(6, true), p.write(7, true), p.write(8, true)})
	require.NoError(t, err, "polling gave back what came before as well")
}

func TestOverrunKillsTheQueueAndItsPairs(t *testing.T) {
	p := open(t, fakeverbs.New(fakeverbs.Options{}), 2, 8)
	for i := range uint64(3) {
		_, err := p.a.PostSends([]rdma.Send{p.write(i, true)})
		require.NoError(t, err)
	}
	_, err := p.queue.Poll(make([]rdma.Completion, 4))
	require.ErrorIs(t, err, rdma.ErrOverrun)
	event, err := p.device.NextEvent()
	require.NoError(t, err)
	require.Equal(t, rdma.Event{Kind: rdma.EventCompletions, Number: p.queue.Number(), Text: "CQ error"}, event)
	require.ErrorIs(t, p.b.ReadyToSend(), rdma.ErrState)
}

func TestRemovedDeviceAnswersNothingButClose(t *testing.T) {
	f := fakeverbs.New(fakeverbs.Options{Devices: []string{"x", "y"}})
	p := open(t, f, 64, 8)
	f.Remove("x")
	event, err := p.device.NextEvent()
	require.NoError(t, err)
	require.Equal(t, rdma.EventDeviceFatal, event.Kind)
	_, err = p.a.PostSends([]rdma.Send{p.write(1, true)})
	require.ErrorIs(t, err, rdma.ErrDeviceGone)
	_, err = p.queue.Poll(make([]rdma.Completion, 1))
	require.ErrorIs(t, err, rdma.ErrDeviceGone)
	names, err := f.Devices()
	require.NoError(t, err)
	require.Equal(t, []string{"y"}, names)
}

func TestScriptedFaultHitsTheNthCallAlone(t *testing.T) {
	f := fakeverbs.New(fakeverbs.Options{})
	p := open(t, f, 64, 8)
	f.Fail(fakeverbs.Fault{Call: fakeverbs.CallPostSends, Nth: 2, Err: syscall.ENOMEM})
	for i := range uint64(3) {
		_, err := p.a.PostSends([]rdma.Send{p.write(i, true)})
		if i == 1 {
			require.ErrorIs(t, err, syscall.ENOMEM)
		} else {
			require.NoError(t, err)
		}
	}
	f.Fail(fakeverbs.Fault{Call: fakeverbs.CallExecute, Nth: 1, Status: rdma.StatusRetryExceeded, Executed: true})
	before := f.Counts().Writes
	_, err := p.a.PostSends([]rdma.Send{p.write(9, true)})
	require.NoError(t, err)
	require.Equal(t, before+1, f.Counts().Writes, "the answer was lost, not the write")
	var done [4]rdma.Completion
	n, err := p.queue.Poll(done[:])
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, rdma.StatusRetryExceeded, done[2].Status)
}

func TestPinnedMemoryHasALimit(t *testing.T) {
	f := fakeverbs.New(fakeverbs.Options{PinnedBytesMax: 8192})
	p := open(t, f, 64, 8)
	memory, err := rdma.MapMemory(8192)
	require.NoError(t, err)
	defer rdma.UnmapMemory(memory)
	_, err = p.domain.Register(memory, 0)
	require.ErrorIs(t, err, syscall.ENOMEM)
	r, err := p.domain.Register(memory[:4096], 0)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

func TestPairsCompleteOutOfOrder(t *testing.T) {
	overtaken := false
	for seed := range uint64(8) {
		p := open(t, fakeverbs.New(fakeverbs.Options{Shuffle: true, Seed: seed}), 64, 8)
		for i := range uint64(4) {
			_, err := p.a.PostSends([]rdma.Send{p.write(i, true)})
			require.NoError(t, err)
			_, err = p.b.PostSends([]rdma.Send{p.write(i, true)})
			require.NoError(t, err)
		}
		var done [8]rdma.Completion
		n, err := p.queue.Poll(done[:])
		require.NoError(t, err)
		require.Equal(t, 8, n)
		next := map[uint32]uint64{}
		for i, c := range done {
			require.Equal(t, next[c.QPN], c.ID, "those of one pair stay in order")
			next[c.QPN]++
			overtaken = overtaken || uint64(i/2) != c.ID
		}
	}
	require.True(t, overtaken)
}
