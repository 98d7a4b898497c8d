package verify

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// answerKeysMax bounds the keys that one answer digests: what a point that was missed
// costs in vain, and how long a question waits for its answer.
const answerKeysMax = 1 << 16

// partsOf digests the keys [lo, hi) of a view from lo on, in parts of count keys, as
// many as one answer takes. Both sites cut alike, so that where they are equal their
// parts are. hi nil = unbounded.
func partsOf(ctx context.Context, v store.View, lo, hi []byte, count uint32, p *pace) ([]wire.VerifiedPart, error) {
	if store.Coarse(v) {
		digest, err := v.Digest(ctx, nil, nil)
		return []wire.VerifiedPart{{Keys: wire.VerifyKeysUnknown, Digest: digest}}, err
	}
	var parts []wire.VerifiedPart
	err := p.work(ctx, func() (err error) {
		parts, err = cutKeys(ctx, v, lo, hi, count)
		return err
	})
	for i := range parts {
		if err != nil {
			break
		}
		part := &parts[i]
		err = p.work(ctx, func() (err error) {
			part.Digest, err = v.Digest(ctx, lo, part.Hi)
			return err
		})
		lo = part.Hi
	}
	return parts, err
}

// errEnough ends a walk over keys.
var errEnough = errors.New("enough")

// cutKeys cuts a range into parts of count keys, without their digests. Parts of one
// key begin with it: what lies before the first key is a part without keys.
func cutKeys(ctx context.Context, v store.View, lo, hi []byte, count uint32) ([]wire.VerifiedPart, error) {
	partsMax := int(min(wire.VerifyPartMax, max(1, answerKeysMax/count)))
	var cuts []wire.VerifiedPart
	keys := uint32(0)
	err := v.Keys(ctx, lo, hi, func(key []byte) error {
		before := count == 1 && keys == 0 && len(cuts) == 0 && !bytes.Equal(key, lo)
		if keys == count || before {
			cuts, keys = append(cuts, wire.VerifiedPart{Keys: keys, Hi: bytes.Clone(key)}), 0
		}
		if len(cuts) == partsMax {
			return errEnough
		}
		keys++
		return nil
	})
	if errors.Is(err, errEnough) {
		return cuts, nil
	}
	return append(cuts, wire.VerifiedPart{Keys: keys, Hi: hi}), err
}

// pace keeps a verification to half of one processor and of one disk: before a piece
// of work it rests for what the pieces before have taken, less what has passed since,
// waiting for the other site for one. For one goroutine.
type pace struct {
	owed  time.Duration
	ended time.Time // of the last piece
}

// paceRestMin is the shortest rest; what is owed below it is owed on. A timer cannot
// keep a shorter one.
const paceRestMin = time.Millisecond

// work does a piece of work when it is time to: one read of a journal, or one part.
func (p *pace) work(ctx context.Context, piece func() error) error {
	if p.owed = max(0, p.owed-time.Since(p.ended)); p.owed > paceRestMin {
		select {
		case <-time.After(p.owed):
		case <-ctx.Done():
			return ctx.Err()
		}
		p.owed = 0
	}
	began := time.Now()
	err := piece()
	p.ended = time.Now()
	p.owed += p.ended.Sub(began)
	if err == nil {
		return ctx.Err()
	}
	return err
}
