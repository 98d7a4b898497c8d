package socket

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// made counts what was closed.
type made struct{ closed *int }

func (m made) Close() error {
	*m.closed++
	return nil
}

var errNobody = errors.New("nobody there")

func TestRaceGivesEachItsShare(t *testing.T) {
	for name, c := range map[string]struct {
		tries  []time.Duration // until it answers; negative = until it fails; 0 = never
		within time.Duration
		winner int
		after  time.Duration
	}{
		"the first answers":         {[]time.Duration{100, 1}, 3000, 0, 100},
		"the first is silent":       {[]time.Duration{0, 10}, 3000, 1, 260},
		"a failure starts the next": {[]time.Duration{-10, 10}, 3000, 1, 20},
		"the last of many has time": {append(make([]time.Duration, 19), 100), 3000, 19, 19*75 + 100},
		"a slow one may still win":  {[]time.Duration{400, 0, 0}, 3000, 0, 400},
		"nobody answers":            {[]time.Duration{0, 0}, 3000, -1, 3000},
		"everybody fails":           {[]time.Duration{-5, -5, -5}, 3000, -1, 15},
		"no time at all":            {[]time.Duration{-5}, 0, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.within*time.Millisecond)
				defer cancel()
				closed, succeeded := 0, 0
				begin := time.Now()
				_, winner, err := Race(ctx, len(c.tries), func(ctx context.Context, i int) (made, error) {
					d := c.tries[i] * time.Millisecond
					if d == 0 {
						<-ctx.Done()
						return made{}, ctx.Err()
					}
					<-time.After(max(d, -d))
					if d < 0 {
						return made{}, errNobody
					}
					succeeded++
					return made{&closed}, nil
				})
				if c.within > 0 {
					require.Equal(t, c.after*time.Millisecond, time.Since(begin))
				}
				require.Equal(t, c.winner, winner)
				if winner < 0 {
					require.Error(t, err)
				}
				<-time.After(time.Minute)
				synctest.Wait()
				if winner >= 0 {
					require.Equal(t, succeeded-1, closed, "what comes too late is closed")
				}
			})
		})
	}
}
