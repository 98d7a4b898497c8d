package role

import (
	"fmt"
	"math"
	"time"

	"github.com/claudefs/repl/wire"
)

// First is the epoch of the cluster's writer until there is failover.
const First = wire.FirstEpoch

// An epoch above First is a counter in the upper 32 bits and the site that writes in it in the
// lower ones, compared as one number. So two operators never make two writers of one epoch,
// and whoever sees an epoch knows its writer.

// WriterOf is the site that writes in an epoch; 0 for First, which does not say.
func WriterOf(e wire.Epoch) wire.SiteID {
	if e>>32 == 0 {
		return 0
	}
	return wire.SiteID(e & math.MaxUint32)
}

// Next is the epoch that a site opens, above the highest one that it has heard of; First counts as 1. It is an error
// once counters are used up: no cluster gets there, so that one came from damage or a stranger.
func Next(heard wire.Epoch, site wire.SiteID) (wire.Epoch, error) {
	counter := max(uint64(heard>>32), uint64(First))
	if counter == math.MaxUint32 {
		return 0, fmt.Errorf("epoch %d was heard, the highest that there is: %w", heard, wire.ErrLimit)
	}
	return wire.Epoch((counter+1)<<32 | uint64(site)), nil
}

// counterZero is when counters that come from a clock begin.
var counterZero = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// NextAlone is Next for a site that has not heard every peer since it opened, promoted by an
// operator. It may have been granted higher epochs before it was restored from an older image,
// and would open one of those a second time: its counter is at least the seconds since 2020.
// A clock before 2020 adds nothing. Found by the bounded model (docs/decisions/0016).
func NextAlone(heard wire.Epoch, site wire.SiteID, wall time.Time) (wire.Epoch, error) {
	if seconds := int64(wall.Sub(counterZero) / time.Second); seconds > int64(heard>>32) {
		heard = wire.Epoch(min(seconds, math.MaxUint32)-1) << 32
	}
	return Next(heard, site)
}
