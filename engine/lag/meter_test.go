package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/claudefs/repl/wire"
)

// slowMeter remembers when every entry became durable.
type slowMeter struct {
	at      map[wire.Shard][]time.Duration // by seq-1
	reached map[wire.Shard]wire.Seq
}

func (m *slowMeter) outstanding(now time.Duration) (entries int64, age time.Duration) {
	for s, list := range m.at {
		for _, at := range list[m.reached[s]:] {
			entries++
			age = max(age, now-at)
		}
	}
	return entries, age
}

// The meter counts exactly, is 0 only when nothing is outstanding, and its age
// is never less than the truth: also after the clock that stamps follow was set.
func TestMeterIsNeverTooLow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type batch struct {
			shard       wire.Shard
			first, last wire.Seq
			stamp       wire.Stamp
		}
		m := NewMeter(3)
		slow := slowMeter{map[wire.Shard][]time.Duration{}, map[wire.Shard]wire.Seq{}}
		stamped := map[wire.Stamp]time.Duration{}
		judge := func(q Question) time.Duration {
			if !q.Exact {
				return 0
			}
			return stamped[q.Stamp]
		}
		var journal []batch
		var stamp, reader wire.Stamp
		now, read := time.Duration(1), 0
		from := map[wire.Shard]wire.Seq{} // by shard, where the reader begins
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := wire.Shard(rapid.IntRange(0, 2).Draw(t, "shard"))
			tail := wire.Seq(len(slow.at[s]))
			now += time.Duration(rapid.IntRange(0, 9).Draw(t, "passed"))
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 0, 1:
				b := batch{s, tail + 1, tail + wire.Seq(rapid.IntRange(1, 4).Draw(t, "count")), stamp + 1}
				for range b.last - b.first + 1 {
					stamp++
					stamped[stamp] = now
					slow.at[s] = append(slow.at[s], now)
				}
				journal = append(journal, b)
				m.Grew(s, b.first, b.last, b.stamp, now)
			case 2:
				if read < len(journal) {
					b := journal[read]
					if b.last > from[b.shard] {
						m.Passed(b.shard, b.first, b.last, b.stamp)
					}
					reader, read = b.stamp, read+1
				}
			case 3:
				to := wire.Seq(rapid.IntRange(0, int(tail)).Draw(t, "reached"))
				slow.reached[s] = max(slow.reached[s], to)
				m.Reached(s, to)
			case 4: // a new session: the peer tells where it is, the reader begins restart
				to := wire.Seq(rapid.IntRange(0, int(tail)).Draw(t, "resumed"))
				slow.reached[s] = to
				from[s] = wire.Seq(rapid.IntRange(int(to), int(tail)).Draw(t, "from")) // its Store may be behind
				m.Set(s, tail, to, from[s], stamp)
				reader, read = 0, 0
			}
			entries, age := slow.outstanding(now)
			require.Equal(t, entries, m.Entries())
			got, known := m.Age(now, reader, func(q Question) time.Duration {
				return now - max(judge(q), q.After)
			})
			if known {
				require.GreaterOrEqual(t, got, age)
			}
		}
	})
}

// TestMeterTrustsNoStampBehindThePeer: a Store that waits for a repair is behind its journal.
// Its log grows before the reader meets what the journal lacks; then the Store moves into
// what the reader has passed. No stamp of what is read later tells that age (I14).
func TestMeterTrustsNoStampBehindThePeer(t *testing.T) {
	m := NewMeter(1)
	m.Set(0, 30, 5, 10, 30)
	m.Grew(0, 31, 40, 31, 31)
	for first := wire.Seq(11); first < 30; first += 5 {
		m.Passed(0, first, first+4, wire.Stamp(first))
	}
	for at := wire.Seq(5); at < 26; at++ {
		m.Reached(0, at)
		var asked Question
		_, known := m.Age(40, 26, func(q Question) time.Duration {
			asked = q
			return 1
		})
		require.True(t, known)
		require.LessOrEqual(t, asked.Seq, at+1)
		require.LessOrEqual(t, asked.Stamp, wire.Stamp(at+1), "seq %d is the oldest", at+1)
	}
}
