package socket

import (
	"context"
	"errors"
	"io"
	"time"
)

// raceEvery is the head start of each try before the next one, that of RFC 8305.
const raceEvery = 250 * time.Millisecond

// raceShares: with so many tries the head start is cut so that the last one begins by
// the middle of the time that ctx leaves.
const raceShares = 2

// Race makes up to count tries and returns what the first that succeeds made, and its
// index. Each begins a head start after the one before, or at once when one of them has
// failed: the silence of one takes no time from the others. What succeeds too late is
// closed. An error tells each try's, and ctx's if that has ended.
func Race[T io.Closer](
	ctx context.Context, count int, try func(ctx context.Context, i int) (T, error),
) (T, int, error) {
	type result struct {
		made T
		i    int
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the tries that lost
	every := raceEvery
	if deadline, ok := ctx.Deadline(); ok && count > 1 {
		every = min(every, time.Until(deadline)/time.Duration(raceShares*count))
	}
	results := make(chan result)
	over := make(chan struct{})
	defer close(over)
	faults := make([]error, count)
	begun, running := 0, 0
	begin := func() {
		i := begun
		begun++
		running++
		go func() { // Ends with its try, which ends with ctx.
			made, err := try(ctx, i)
			select {
			case results <- result{made, i, err}:
			case <-over:
				if err == nil {
					_ = made.Close() // nobody used it
				}
			}
		}()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for running > 0 || begun < count && ctx.Err() == nil {
		select {
		case <-timer.C:
			if begun < count {
				begin()
				timer.Reset(every)
			}
		case r := <-results:
			running--
			if r.err == nil {
				return r.made, r.i, nil
			}
			if faults[r.i] = r.err; begun < count && ctx.Err() == nil {
				timer.Reset(0)
			}
		}
	}
	var none T
	err := errors.Join(faults...)
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(err, ctx.Err())
	}
	return none, -1, err
}
