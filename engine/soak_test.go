package engine_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

const (
	// soakSiteEnv makes the test's binary one site of the soak: its value is a
	// soakSite as JSON.
	soakSiteEnv = "CLAUDEFS_SOAK_SITE"
	// soakEnv is how long the peer stalls, such as 10m.
	soakEnv = "CLAUDEFS_SOAK"

	soakDefault      = 6 * time.Second
	soakSamples      = 40
	soakEntries      = 1000 // a second
	soakPayloadBytes = 1 << 10
	// soakWarmEntries fill what the engine keeps in memory by choice.
	soakWarmEntries = 16_000
	soakShards      = 16
	// soakSlack is how many goroutines, threads or descriptors come and go by themselves.
	soakSlack = 3
	// ringsIdleMax is how many rings are kept unused: 16 by a transport, because all
	// links that were dialed while the peer stood still come and go at once, and 16 by
	// a disk, as many as its files were once busy with.
	ringsIdleMax = 32
)

func TestMain(m *testing.M) {
	if text := os.Getenv(soakSiteEnv); text != "" {
		if err := serveSoak(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// soakSite says which site a process is.
type soakSite struct{ IO, Dir, Site, Peer, Addr string }

// soakReport is what a site's process answers to each line on its stdin.
type soakReport struct {
	resources
	At       time.Time // of Appended
	Listen   string
	Appended uint64
	Link     string // to the peer
	Lag      engine.LagStatus
	Late     time.Duration // the longest that an append took to be durable here, since the last report
}

// serveSoak is a site's process. It ends with its stdin.
func serveSoak(text string) error {
	var s soakSite
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	o := engine.Options{
		Cluster: "soak", Site: s.Site, Dir: s.Dir, Shards: soakShards, Insecure: true, Primary: "site-a", IO: s.IO,
		Store: newCursorStore(soakShards), Peers: []engine.Peer{{Site: s.Peer}},
		SegmentBytes: 4 << 20, RecentBytesMax: 4 << 20, PendingBytesMax: 4 << 20, HeartbeatTimeout: time.Second,
	}
	if s.Addr == "" {
		o.Listen = "127.0.0.1:0"
	} else {
		o.Peers[0].Addrs = []string{s.Addr}
	}
	e, err := engine.Open(context.Background(), o)
	if err != nil {
		return err
	}
	load := &soakLoad{e: e, quit: make(chan struct{}), over: make(chan error, 1), late: make(chan time.Duration, 1)}
	load.late <- 0
	if s.Addr != "" {
		go load.run() // Ends with the line "rest".
	} else {
		load.over <- nil
	}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "rest" {
			close(load.quit)
			if err := <-load.over; err != nil {
				return err
			}
			load.over <- nil
		}
		r, err := load.report()
		if err != nil {
			return err
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return e.Close(context.Background())
}

// soakLoad appends at a steady rate.
type soakLoad struct {
	e    *engine.Engine
	quit chan struct{}
	over chan error
	late chan time.Duration // holds one
}

func (l *soakLoad) report() (r soakReport, err error) {
	r.resources, err = look(0)
	s := l.e.Status()
	r.At, r.Listen, r.Appended = s.At, s.Listen, s.Appends.Entries
	r.Link, r.Lag = s.Peers[0].Link, s.Peers[0].Durable
	r.Late = <-l.late
	l.late <- 0
	return r, err
}

func (l *soakLoad) run() {
	const burst = soakEntries / 100
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, due := time.Now(), soakWarmEntries
	for n := 0; ; {
		for ; n < due; n += burst {
			if err := l.append(n, burst); err != nil {
				l.over <- err
				return
			}
		}
		select {
		case <-tick.C:
			due = soakWarmEntries + int(time.Since(began).Seconds()*soakEntries)
		case <-l.quit:
			l.over <- nil
			return
		}
	}
}

// append appends entries and waits until the last one is durable here.
func (l *soakLoad) append(n, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	e := entry("some key", "")
	e.Payload = make([]byte, soakPayloadBytes)
	for i := range count {
		level := engine.Async
		if i == count-1 {
			level = engine.Local
		}
		if _, err := l.e.Append(ctx, engine.Shard((n/count)%soakShards), e, level); err != nil {
			return err
		}
	}
	l.late <- max(<-l.late, time.Since(began))
	return nil
}

// soakProcess is a site's process as its parent sees it.
type soakProcess struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startSoak(t *testing.T, s soakSite) *soakProcess {
	text, err := json.Marshal(s)
	require.NoError(t, err)
	p := &soakProcess{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), soakSiteEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.answers = json.NewDecoder(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *soakProcess) ask(line string) (r soakReport) {
	p.t.Helper()
	_, err := io.WriteString(p.in, line+"\n")
	require.NoError(p.t, err)
	require.NoError(p.t, p.answers.Decode(&r))
	return r
}

// until asks until the answer is right.
func (p *soakProcess) until(what, line string, right func(*soakReport) bool) soakReport {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		r := p.ask(line)
		if right(&r) {
			return r
		}
		require.True(p.t, time.Now().Before(end), "%s did not come: %+v", what, r)
		line = "look"
	}
}

func (p *soakProcess) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// end closes the site in good order.
func (p *soakProcess) end() {
	p.t.Helper()
	require.NoError(p.t, p.in.Close())
	require.NoError(p.t, p.cmd.Wait())
}

// TestStalledPeerCostsTheOthersNothing stops the process of a peer, so that its
// sockets take what fits in them and nobody answers, while the source goes on
// appending. Nothing grows at the source but its journal; appends are as fast as
// before; how far the peer is behind is unknown, and says so. When the peer goes
// on, it catches up (I10, I14). CLAUDEFS_SOAK is for how long: make soak.
func TestStalledPeerCostsTheOthersNothing(t *testing.T) {
	stall := soakDefault
	if text := os.Getenv(soakEnv); text != "" {
		var err error
		stall, err = time.ParseDuration(text)
		require.NoError(t, err, soakEnv)
	}
	for _, io := range []string{"portable", "io_uring"} {
		t.Run(io, func(t *testing.T) {
			if io == "io_uring" {
				needRing(t)
			}
			t.Parallel()
			soak(t, io, stall)
		})
	}
}

func soak(t *testing.T, io string, stall time.Duration) {
	b := startSoak(t, soakSite{IO: io, Dir: t.TempDir(), Site: "site-b", Peer: "site-a"})
	a := startSoak(t, soakSite{IO: io, Dir: t.TempDir(), Site: "site-a", Peer: "site-b", Addr: b.ask("look").Listen})
	a.until("warming up", "look", func(r *soakReport) bool {
		return r.Appended >= soakWarmEntries && r.Lag.State == "known"
	})
	peerBefore := b.ask("look")
	b.signal(syscall.SIGSTOP)
	a.until("the stall", "look", func(r *soakReport) bool { return r.Lag.State == "unknown" && r.Link != "live" })
	a.ask("look")
	samples, took := a.watch(stall)
	b.signal(syscall.SIGCONT)
	a.until("the end of the lag", "rest", func(r *soakReport) bool {
		return r.Lag.State == "known" && *r.Lag.Entries == 0
	})
	checkSoak(t, samples, took)
	// Links that were dialed meanwhile, one a second, would leave two goroutines and a
	// descriptor each. A segment's file is open or not, as the moment has it.
	peerAfter := b.until("the peer's rest", "look", func(r *soakReport) bool {
		return r.Goroutines <= peerBefore.Goroutines+soakSlack && r.Rings <= peerBefore.Rings+ringsIdleMax &&
			r.Descriptors-r.Rings <= peerBefore.Descriptors-peerBefore.Rings+soakSlack
	})
	t.Logf("peer before %+v", peerBefore.resources)
	t.Logf("peer after  %+v", peerAfter.resources)
	require.LessOrEqual(t, peerAfter.LockedBytes, peerBefore.LockedBytes)
	require.LessOrEqual(t, peerAfter.PinnedBytes, peerBefore.PinnedBytes)
	a.end()
	b.end()
}

// watch takes samples while the peer stalls.
func (p *soakProcess) watch(stall time.Duration) (samples []soakReport, took time.Duration) {
	began := time.Now()
	tick := time.NewTicker(max(stall/soakSamples, 50*time.Millisecond))
	defer tick.Stop()
	for time.Since(began) < stall {
		<-tick.C
		samples = append(samples, p.ask("look"))
	}
	return samples, time.Since(began)
}

// checkSoak compares what was held at the beginning of a stall with its end.
func checkSoak(t *testing.T, samples []soakReport, took time.Duration) {
	first, last := &samples[0], &samples[len(samples)-1]
	rate := float64(last.Appended-first.Appended) / last.At.Sub(first.At).Seconds()
	late := slices.MaxFunc(samples, func(x, y soakReport) int { return cmp.Compare(x.Late, y.Late) }).Late
	t.Logf("%d samples in %s, %.0f entries a second, the slowest append %s", len(samples), took.Round(time.Second),
		rate, late)
	t.Logf("first %+v", first.resources)
	t.Logf("last  %+v", last.resources)
	require.GreaterOrEqual(t, rate, 0.9*soakEntries, "local appends at their rate")
	for _, r := range samples {
		require.Equal(t, "unknown", r.Lag.State)
		require.Positive(t, *r.Lag.AtLeastSeconds)
	}
	grew := func(what string, slack int64, held func(*resources) int64) {
		growth := growth(samples, held)
		t.Logf("%-11s grew by %.0f over the stall, slack %d", what, growth, slack)
		require.LessOrEqual(t, growth, float64(slack), what)
	}
	// Of memory, what the runtime gives back late is slack; the counts below it come
	// and go with a dial, and a trend of less than one is none.
	slack := first.RSSBytes/10 + 2<<20
	if raceEnabled {
		slack += 16 << 20 // Its shadow memory grows with what was ever touched.
	}
	grew("rss", slack, func(r *resources) int64 { return r.RSSBytes })
	grew("heap", first.HeapBytes/10+512<<10, func(r *resources) int64 { return r.HeapBytes })
	grew("locked", 0, func(r *resources) int64 { return r.LockedBytes })
	grew("pinned", 0, func(r *resources) int64 { return r.PinnedBytes })
	grew("goroutines", soakSlack, func(r *resources) int64 { return int64(r.Goroutines) })
	grew("threads", soakSlack, func(r *resources) int64 { return int64(r.Threads) })
	grew("descriptors", soakSlack, func(r *resources) int64 { return int64(r.Descriptors) })
	grew("rings", 1, func(r *resources) int64 { return int64(r.Rings) })
}

// growth is how much something grew over the samples by the line that fits them
// best: one sample in which a dial is under way does not make a trend.
func growth(samples []soakReport, held func(*resources) int64) float64 {
	var sumX, sumY, sumXX, sumXY float64
	for i := range samples {
		x, y := float64(i), float64(held(&samples[i].resources))
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	n := float64(len(samples))
	if n < 2 {
		return 0
	}
	slope := (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return slope * (n - 1)
}
