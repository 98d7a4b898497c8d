package loadtest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// slow is a far end that answers at once, but for one stall.
type slow struct {
	lanes   int
	start   time.Time
	from    time.Duration // the stall begins
	length  time.Duration
	handing bool // it is the hand-over that stalls, not the answer
	put     atomic.Int64
}

func (s *slow) Lanes() int { return s.lanes }

func (s *slow) Put(ctx context.Context, _ int) (wire.Ref, error) {
	if s.handing {
		s.stall(ctx)
	}
	return wire.Ref{Seq: wire.Seq(s.put.Add(1))}, ctx.Err()
}

func (s *slow) Wait(ctx context.Context, _ wire.Ref) error {
	if !s.handing {
		s.stall(ctx)
	}
	return ctx.Err()
}

// stall waits for the stall's end, if it has begun.
func (s *slow) stall(ctx context.Context) {
	since := time.Since(s.start)
	if since < s.from || since >= s.from+s.length {
		return
	}
	timer := time.NewTimer(s.from + s.length - since)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const (
	testWarm  = 50 * time.Millisecond
	testFor   = 400 * time.Millisecond
	testStall = 100 * time.Millisecond
	testRate  = 2000
)

// load runs a generator over target and returns what it recorded.
func load(ctx context.Context, c Config, target *slow, stop <-chan struct{}) (*recorder, counts) {
	target.start = time.Now()
	r := newRecorder(target.start, c.Warm.D(), c.Duration.D(), max(c.Clients, 1))
	(&generator{config: &c, target: target, record: r, stop: stop}).run(ctx)
	return r, r.sum()
}

func seconds(c counts, q float64) time.Duration {
	return time.Duration(c.latencies.ValueAtQuantile(q))
}

// Whoever was due while the far end stalled has waited, though it was not asked:
// a 100 ms stall in 400 ms is a quarter of all entries, and no generator that is
// held up itself can hide them.
func TestStallIsChargedToEveryEntryThatWasDueInIt(t *testing.T) {
	for name, handing := range map[string]bool{"of the answers": false, "of the hand-over": true} {
		for _, lanes := range []int{1, 256} {
			t.Run(name, func(t *testing.T) {
				c := Config{Rate: testRate, Warm: Seconds(testWarm), Duration: Seconds(testFor)}
				_, got := load(t.Context(), c, &slow{lanes: lanes, from: 200 * time.Millisecond, length: testStall,
					handing: handing}, nil)
				require.EqualValues(t, testRate*testFor.Seconds(), got.latencies.TotalCount(), "none is omitted")
				require.GreaterOrEqual(t, seconds(got, 99), testStall*9/10)
				require.GreaterOrEqual(t, seconds(got, 90), testStall/2, "in mid-stall, half of it is left")
				require.Zero(t, got.unanswered)
			})
		}
	}
}

// The contrast: one client of a closed loop meets the stall once.
func TestClosedLoopMeetsAStallOnceForEachClient(t *testing.T) {
	c := Config{Clients: 2, Warm: Seconds(testWarm), Duration: Seconds(testFor)}
	_, got := load(t.Context(), c, &slow{lanes: 4, from: 200 * time.Millisecond, length: testStall}, nil)
	require.Greater(t, got.latencies.TotalCount(), int64(1000))
	require.GreaterOrEqual(t, time.Duration(got.latencies.Max()), testStall*9/10)
	require.Less(t, seconds(got, 99), testStall/2)
}

// What is never answered, and what could not even be handed over, counts with
// the time that it has waited.
func TestEntriesWithoutAnAnswerAreCountedToo(t *testing.T) {
	for name, handing := range map[string]bool{"never answered": false, "never handed over": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testWarm+testFor+testStall)
			defer cancel()
			c := Config{Rate: testRate, Warm: Seconds(testWarm), Duration: Seconds(testFor)}
			_, got := load(ctx, c, &slow{lanes: 2, length: time.Hour, handing: handing}, nil)
			require.EqualValues(t, testRate*testFor.Seconds(), got.latencies.TotalCount())
			require.EqualValues(t, testRate*testFor.Seconds(), got.unanswered)
			require.GreaterOrEqual(t, time.Duration(got.latencies.Min()), testStall*9/10)
			require.GreaterOrEqual(t, time.Duration(got.latencies.Max()), testStall+testFor*9/10)
			require.Zero(t, got.entries())
		})
	}
}

func TestStoppedLoadKeepsWhatItMeasured(t *testing.T) {
	stop := make(chan struct{})
	c := Config{Rate: testRate, Warm: Seconds(testWarm), Duration: Seconds(time.Hour)}
	target := &slow{lanes: 3, start: time.Now()}
	r := newRecorder(target.start, c.Warm.D(), c.Duration.D(), 1)
	time.AfterFunc(testWarm+testStall, func() { r.cut(); close(stop) })
	(&generator{config: &c, target: target, record: r, stop: stop}).run(t.Context())
	got := r.sum()
	require.InDelta(t, testStall.Seconds(), r.window().Seconds(), 0.09)
	require.InDelta(t, testRate*r.window().Seconds(), got.latencies.TotalCount(), 2)
}

// broken answers with errors only.
type broken struct{ slow }

var errBroken = errors.New("no space left")

func (b *broken) Wait(context.Context, wire.Ref) error { return errBroken }

func TestErrorsAreCountedAndNotMeasured(t *testing.T) {
	c := Config{Clients: 1, Duration: Seconds(testFor)}
	r := newRecorder(time.Now(), 0, testFor, 1)
	(&generator{config: &c, target: &broken{slow{lanes: 1}}, record: r}).run(t.Context())
	require.Positive(t, r.errors())
	require.LessOrEqual(t, r.errors(), int64(testFor/errorPause)+1, "a client that gets errors only must not spin")
	require.Equal(t, []string{errBroken.Error()}, r.errorTexts)
	require.Zero(t, r.sum().latencies.TotalCount())
}

func TestDueTimesDoNotDrift(t *testing.T) {
	g := generator{config: &Config{Rate: RateMax}}
	last := int64(RateMax * DurationMax.Seconds())
	require.InDelta(t, DurationMax, g.due(last), float64(time.Microsecond))
	g.config.Rate = 3
	require.Equal(t, time.Second, g.due(3))
	require.Equal(t, 100*time.Second, g.due(300))
}

func TestAlarmIsMoreExactThanAMillisecond(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	defer a.close()
	least := time.Hour
	for range 50 {
		begin := time.Now()
		require.NoError(t, a.sleep(200*time.Microsecond))
		least = min(least, time.Since(begin))
	}
	require.GreaterOrEqual(t, least, 200*time.Microsecond)
	require.Less(t, least, 900*time.Microsecond)
}

func TestWindowIsHalfOpenAndCutOnce(t *testing.T) {
	r := newRecorder(time.Now().Add(-time.Minute), time.Second, 2*time.Second, 1)
	for due, want := range map[moment]bool{
		0: false, time.Second - 1: false, time.Second: true, 3*time.Second - 1: true, 3 * time.Second: false,
	} {
		require.Equal(t, want, r.inWindow(due), due)
	}
	r.cut() // long over
	require.Equal(t, 2*time.Second, r.window())
	r.answer(0, time.Second) // due in it, answered behind it
	got := r.sum()
	require.EqualValues(t, 1, got.latencies.TotalCount())
	require.Zero(t, got.entries())
	require.EqualValues(t, 1, got.all)
}
