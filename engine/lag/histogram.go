package lag

import "time"

// histogramBounds are the upper bounds of the buckets: two or three a decade, from a fast
// disk to a link that is away.
var histogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// HistogramBounds returns the upper bounds of the buckets of every Histogram, rising.
func HistogramBounds() []time.Duration { return append([]time.Duration(nil), histogramBounds[:]...) }

// Histogram counts durations in fixed buckets. Observing allocates nothing; a copy is a
// snapshot. The zero value is empty and ready.
type Histogram struct {
	Counts [len(histogramBounds) + 1]uint64 // by bucket, each alone; the last one has no bound
	Sum    time.Duration
}

// Observe counts one duration; one below 0 counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}
