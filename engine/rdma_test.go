package engine_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire/link/linktest"
)

// The tests named TestRDMA run over verbs in memory; with the tag rdma and RXE_DEVICE
// naming a device (rxe0, mlx5_0) the same ones run over that. What only the memory can
// be asked for is skipped there, and said.

// fabric is what carries the links of a test.
type fabric struct {
	fake    *fakeverbs.Fabric // nil = a real device
	device  string
	spoiler spoiler // of site-a's frames
}

// openFabric returns verbs with a device for each site.
func openFabric(t testing.TB) *fabric {
	if device := os.Getenv("RXE_DEVICE"); device != "" && rdma.Built {
		return &fabric{device: device}
	}
	return &fabric{fake: fakeverbs.New(fakeverbs.Options{Devices: []string{"site-a", "site-b"}})}
}

// options are for one site, with times that suit a test.
func (f *fabric) options(site string) rdma.Options {
	o := rdma.Options{RingBytes: 4 << 20, StageBytes: 1 << 20, DrainMax: 100 * time.Millisecond}
	if f.fake == nil {
		o.Verbs, o.Device.Device = rdma.System(), f.device
		o.AckTimeout, o.Retries = 250*time.Millisecond, 5
	} else {
		o.Verbs, o.Device.Device = f.fake, site
		o.AckTimeout, o.Retries = 5*time.Millisecond, 3
		o.RNRTimer, o.RNRRetries = 5*time.Millisecond, 3
	}
	if site == "site-a" {
		f.spoiler.Verbs = o.Verbs
		o.Verbs = &f.spoiler
	}
	return o
}

// scripted skips where faults cannot be asked for.
func (f *fabric) scripted(t testing.TB) *fakeverbs.Fabric {
	if f.fake == nil {
		t.Skip("this fault can only be asked of package fakeverbs")
	}
	return f.fake
}

// ordered is a Store that remembers what took effect, in order: what is lost, repeated
// or reordered shows.
type ordered struct {
	*store.Mem

	mu     sync.Mutex
	values map[engine.Shard][]string
}

func (s *ordered) Apply(ctx context.Context, c *store.Change) error {
	if err := s.Mem.Apply(ctx, c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range c.Effects {
		value, _, _ := strings.Cut(string(c.Effects[i].Payload), " ")
		s.values[c.Shard] = append(s.values[c.Shard], value)
	}
	return nil
}

// rdmaPair is two sites whose links go by RDMA, and what is between them.
type rdmaPair struct {
	t      testing.TB
	fabric *fabric
	a, b   *site
	store  *ordered // b's
	proxy  *linktest.Proxy
	count  int // entries put
}

func newRDMAPair(t testing.TB, change ...func(*engine.Options)) *rdmaPair {
	p := &rdmaPair{t: t, fabric: openFabric(t)}
	p.a, p.b = newSite(t, nil, "site-a", "site-b"), newSite(t, nil, "site-b", "site-a")
	p.store = &ordered{Mem: p.b.store, values: make(map[engine.Shard][]string)}
	p.b.options.Store = p.store
	for _, s := range []*site{p.a, p.b} {
		s.options.IO, s.options.RDMA = "rdma", p.fabric.options(s.options.Site)
		s.options.ReturnPauseMin, s.options.ReturnPauseMax = 50*time.Millisecond, 400*time.Millisecond
		s.options.PendingBytesMax, s.options.RecentBytesMax = 4<<20, 4<<20
		s.options.Listen, s.options.Peers[0].Addrs = "", nil
		for _, change := range change {
			change(&s.options)
		}
	}
	if f := p.fabric.fake; f != nil { // registered last, checked last
		t.Cleanup(func() {
			p.a.Close(context.Background())
			p.b.Close(context.Background())
			requireNothingOpen(t, f)
		})
	}
	p.b.options.Listen = "127.0.0.1:0"
	p.b.start()
	p.b.options.Listen = p.b.Addr()
	var err error
	p.proxy, err = linktest.NewProxy(p.b.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.proxy.Close() })
	p.a.options.Peers[0].Addrs = []string{p.proxy.Addr()}
	p.a.start()
	return p
}

// requireNothingOpen: no object of the fabric is left open, no page pinned.
func requireNothingOpen(t testing.TB, f *fakeverbs.Fabric) {
	t.Helper()
	for ctx := soon(t); f.Objects() != (fakeverbs.Objects{}); pause() {
		require.NoError(t, ctx.Err(), "left open or pinned: %+v", f.Objects())
	}
}

// put appends so many entries, of all sizes, and waits for the last of each shard.
func (p *rdmaPair) put(count int) {
	p.t.Helper()
	var last [4]engine.Ref
	for range count {
		shard := engine.Shard(p.count % 4)
		size := []int{0, 300, 5000, 40_000}[p.count/4%4]
		ref, err := p.a.Append(soon(p.t), shard,
			entry(fmt.Sprint("key ", p.count%37), fmt.Sprint(p.count, strings.Repeat(" ", size))), engine.Async)
		require.NoError(p.t, err)
		last[shard] = ref
		p.count++
	}
	for _, ref := range last {
		if ref.Seq != 0 {
			require.NoError(p.t, p.a.Wait(soon(p.t), ref, engine.Applied(1)))
		}
	}
}

// exact checks at the Store that everything arrived once and in order (I2, I3), and
// that the states are the same (I7).
func (p *rdmaPair) exact() {
	p.t.Helper()
	p.put(8)
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	for shard := range engine.Shard(4) {
		var want []string
		for i := int(shard); i < p.count; i += 4 {
			want = append(want, strconv.Itoa(i))
		}
		require.Equal(p.t, want, p.store.values[shard], "shard %d", shard)
	}
	sameDigests(p.t, p.a, p.b)
}

// carried waits until a's link is up by a transport, for a reason.
func (p *rdmaPair) carried(transport, reason string) {
	p.t.Helper()
	ctx := soon(p.t)
	for {
		peer := p.a.Status().Peers[0]
		if peer.Transport == transport && strings.Contains(peer.TransportReason, reason) &&
			(peer.Link == "live" || peer.Link == "catching up") {
			return
		}
		select {
		case <-time.After(time.Millisecond): // a poll; what it waits for has no event of its own
		case <-ctx.Done():
			require.FailNow(p.t, "the link is not by "+transport+" because of "+reason,
				"link %s by %s (%s): %s", peer.Link, peer.Transport, peer.TransportReason, peer.Reason)
		}
	}
}

// while runs a fault with entries on their way.
func (p *rdmaPair) while(fault func()) {
	p.t.Helper()
	done := make(chan struct{})
	go func() { // ends with the fault
		defer close(done)
		fault()
	}()
	p.put(200)
	<-done
	p.put(50)
}

func TestRDMACarriesLinksAndSaysSo(t *testing.T) {
	p := newRDMAPair(t)
	p.put(400)
	p.carried("rdma", "")
	s := p.a.Status()
	require.Equal(t, "rdma", s.Transport)
	require.Contains(t, s.TransportReason, "asked for by the option IO: ")
	require.Equal(t, "rdma", s.DataPath.Links)
	require.Contains(t, p.a.awaitEvent("data-path").Text, "links: rdma")
	b := p.b.Status().Peers[0]
	require.Equal(t, []string{"rdma", "chosen by the peer"}, []string{b.Transport, b.TransportReason})
	p.exact()
	c := p.a.Counters().RDMA
	require.EqualValues(t, 1, c.Links)
	require.Zero(t, c.RNRs)
}

// The address is the same for all transports: who has no RDMA dials it too.
func TestRDMAListensForPlainLinksAsWell(t *testing.T) {
	p := newRDMAPair(t)
	p.put(20)
	for _, io := range []string{"portable", "auto"} {
		p.a.end()
		p.a.options.IO = io
		p.a.start()
		p.put(40)
		if io == "portable" {
			p.carried("tcp", "")
			require.Equal(t, p.b.lesser(), p.b.Status().Peers[0].Transport)
		}
	}
	p.carried("rdma", "")
	p.exact()
}

func TestRDMAFallsBackForPeerWithout(t *testing.T) {
	p := newRDMAPair(t)
	p.put(20)
	p.b.end()
	p.b.options.IO = "portable"
	p.b.start()
	p.put(100)
	p.carried(p.a.lesser(), "rdma: the peer hung up on the setup: it has no RDMA")
	require.Contains(t, p.a.awaitEvent("transport").Text, "links to site site-b: "+p.a.lesser()+" (rdma: ")
	p.b.end()
	p.b.options.IO = "rdma"
	p.b.start()
	p.put(100)
	p.carried("rdma", "")
	p.exact()
}

// lesser is what carries links while RDMA cannot.
func (s *site) lesser() string {
	if strings.Contains(s.Status().DataPath.Reason, "this machine has io_uring") {
		return "io_uring"
	}
	return "tcp"
}

func TestRDMAPeerThatDiesLosesAndRepeatsNothing(t *testing.T) {
	p := newRDMAPair(t)
	p.put(40)
	for range 3 {
		p.while(func() { p.proxy.Reset() }) // the control connection's end is the peer's
	}
	p.carried("rdma", "")
	p.exact()
}

func TestRDMASitesKilledLoseNothing(t *testing.T) {
	p := newRDMAPair(t)
	for range 2 {
		for _, s := range []*site{p.a, p.b} {
			p.put(60)
			s.disk.Kill()
			kept := s.disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Keep })
			s.Engine.Close(soon(t))
			s.disk, s.options.FS = kept, kept
			s.start()
			p.put(60)
		}
	}
	p.carried("rdma", "")
	p.exact()
}

// Whatever the device says of an entry, in mid-frame or between frames, before or
// after the peer got it.
func TestRDMAQueuePairFaultsLoseNothing(t *testing.T) {
	p := newRDMAPair(t)
	f := p.fabric.scripted(t)
	for i, status := range []rdma.Status{
		rdma.StatusRNRExceeded, rdma.StatusRetryExceeded, rdma.StatusRemoteAccess, rdma.StatusLocalProtect,
		rdma.StatusFlushed,
	} {
		p.put(20)
		p.carried("rdma", "")
		p.while(func() {
			f.Fail(fakeverbs.Fault{Call: fakeverbs.CallExecute, Nth: 3 + i, Status: status, Executed: i%2 == 0})
		})
	}
	p.while(func() { f.FailQueuePairs("site-b") })
	p.carried("rdma", "")
	p.exact()
}

// What could still write here is dead before anything newer is accepted: no queue pair
// and no region of the old session outlives its successor's welcome.
func TestRDMASessionsEndBeforeNewerOnesAreAccepted(t *testing.T) {
	p := newRDMAPair(t, func(o *engine.Options) { o.ReturnPauseMin, o.ReturnPauseMax = time.Minute, time.Minute })
	f := p.fabric.scripted(t)
	p.put(20)
	p.carried("rdma", "")
	require.Equal(t, 2, f.Objects().QueuePairs)
	p.while(func() {
		f.Fail(fakeverbs.Fault{Call: fakeverbs.CallExecute, Nth: 3, Status: rdma.StatusRetryExceeded})
	})
	p.carried(p.a.lesser(), "rdma: ")
	require.Zero(t, f.Objects().QueuePairs)
	require.Zero(t, f.Objects().Regions)
	p.exact()
}

func TestRDMAFallsBackWhileTheLinkIsDownAndReturns(t *testing.T) {
	p := newRDMAPair(t)
	p.put(20)
	p.while(func() { p.port(false) })
	p.carried(p.a.lesser(), "rdma: ")
	p.put(100)
	p.port(true)
	p.carried("rdma", "")
	p.exact()
}

// port takes the way of the frames down, or up again; that of the setup stays.
func (p *rdmaPair) port(up bool) {
	if p.fabric.fake != nil {
		p.fabric.fake.SetPort("site-b", up)
		return
	}
	setPort(p.t, p.fabric.device, up)
}

func TestRDMAFallsBackWithoutDevice(t *testing.T) {
	p := newRDMAPair(t)
	f := p.fabric.scripted(t)
	for _, device := range []string{"site-a", "site-b"} {
		p.put(20)
		p.carried("rdma", "")
		p.while(func() { f.Remove(device) })
		p.carried(p.a.lesser(), "rdma: ")
		p.put(100)
		f.Restore(device)
		p.carried("rdma", "")
	}
	p.exact()
}

// One link after another, each lost and returned to, by way of a lesser one. (Package
// linktest opens and closes a thousand without an engine.)
func TestRDMALinksThatComeAndGoLeaveNothing(t *testing.T) { // I10
	links := uint64(60)
	if text := os.Getenv("CLAUDEFS_LINKS"); text != "" {
		var err error
		links, err = strconv.ParseUint(text, 10, 32)
		require.NoError(t, err)
	}
	p := newRDMAPair(t)
	p.a.end()
	p.a.options.ReturnPauseMin, p.a.options.ReturnPauseMax = time.Millisecond, time.Millisecond
	p.a.start()
	again := func() {
		before := p.a.Counters().RDMA.Links
		p.proxy.Reset()
		p.put(4)
		for ctx := soon(t); p.a.Counters().RDMA.Links == before; pause() {
			require.NoError(t, ctx.Err(), "the link is not by rdma again")
		}
		p.carried("rdma", "")
	}
	p.put(8)
	p.carried("rdma", "")
	again()
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	objects := p.fabric.objects()
	for range links {
		again()
	}
	leak := func() bool {
		return runtime.NumGoroutine() > goroutines || descriptors(t) > open || p.fabric.objects() != objects
	}
	for ctx := soon(t); leak(); pause() {
		require.NoError(t, ctx.Err(), "%d goroutines, %d before; %d descriptors, %d before; %+v, %+v before",
			runtime.NumGoroutine(), goroutines, descriptors(t), open, p.fabric.objects(), objects)
	}
	p.exact()
}

// objects counts what is open of the fabric; a real device's are the rig's to count.
func (f *fabric) objects() fakeverbs.Objects {
	if f.fake == nil {
		return fakeverbs.Objects{}
	}
	return f.fake.Objects()
}

// TestRDMACopiesNoLargeBatch: the source's device reads batches of 16 KiB and more
// where the journal holds them, and the receiver's writes them where its journal writes
// from. Behind the flush they are copied once, because the ring they lie in is the
// peer's to write to; nobody reads a file.
func TestRDMACopiesNoLargeBatch(t *testing.T) {
	for _, payloadBytes := range []int{16 << 10, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprintf("payloads of %d bytes", payloadBytes), func(t *testing.T) {
			p := newRDMAPair(t, func(o *engine.Options) { o.RecentBytesMax = 16 << 20 })
			p.carried("rdma", "")
			run := func(bytes int) {
				var last engine.Ref
				for n := 0; n < bytes; n += payloadBytes {
					last = p.a.reserve(0, "some key", payloadBytes, engine.Async)
					require.NoError(t, p.a.Wait(soon(t), last, engine.Local))
				}
				require.NoError(t, p.a.Wait(soon(t), last, engine.Applied(1)))
				require.NoError(t, p.a.Wait(soon(t), last, engine.AppliedHere))
			}
			const bytes = 8 << 20
			run(bytes / 4)
			source, receiver := p.a.Counters(), p.b.Counters()
			run(bytes)
			// What is flushed is acknowledged first, and copied behind that.
			for ctx := soon(t); p.b.Counters().Mirror.FreedBytes-receiver.Mirror.FreedBytes < bytes; pause() {
				require.NoError(t, ctx.Err(), "freed %d bytes, want %d", p.b.Counters().Mirror.FreedBytes, bytes)
			}
			source2, receiver2 := p.a.Counters(), p.b.Counters()
			frames := source2.RDMA.FramesSent - source.RDMA.FramesSent
			staged := source2.RDMA.CopiedBytes - source.RDMA.CopiedBytes
			freed := receiver2.Mirror.FreedBytes - receiver.Mirror.FreedBytes
			t.Logf("%d frames; %d bytes staged for them; %.3f copies of a byte behind the flush", frames, staged,
				float64(freed)/bytes)
			// Envelopes and control frames are copied before they are sent, and what is
			// short when it has come; each of them has less than 1 KiB.
			require.Less(t, staged, frames<<10)
			require.Zero(t, source2.Own.CopiedBytes-source.Own.CopiedBytes)
			landed := receiver2.RDMA.FramesReceived - receiver.RDMA.FramesReceived
			require.Less(t, receiver2.Mirror.CopiedBytes-receiver.Mirror.CopiedBytes, landed<<10)
			require.Equal(t, source.Own.FileReadBytes, source2.Own.FileReadBytes, "nobody is behind")
			require.Equal(t, receiver.Mirror.FileReadBytes, receiver2.Mirror.FileReadBytes, "nobody is behind")
			require.Zero(t, source2.RDMA.RNRs)
			require.LessOrEqual(t, source2.RDMA.Signalled, source2.RDMA.Sends/16+8)
			require.Equal(t, source2.RDMA.FramesSent, source2.RDMA.WriteImms)
		})
	}
}
