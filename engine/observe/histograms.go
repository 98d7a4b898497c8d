package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/claudefs/repl/engine"
)

// histogram is a line of the catalogue that counts durations in buckets.
type histogram struct {
	name, help string
	labels     []string
	take       func(s *snapshot, out func(h *engine.Histogram, labels ...string))
}

var histograms = []histogram{
	{"claudefs_repl_append_duration_seconds",
		"Time from the append of a flush unit's oldest entry until the unit was durable here.", nil,
		func(s *snapshot, out func(*engine.Histogram, ...string)) { out(&s.Append) }},
	{"claudefs_repl_flush_duration_seconds", "Time to write and flush one unit.",
		journalLabel, func(s *snapshot, out func(*engine.Histogram, ...string)) {
			out(&s.Own.Flush, "own")
			out(&s.Mirror.Flush, "mirror")
		}},
	{"claudefs_repl_ack_duration_seconds",
		"Time from durable here until the peer confirmed, for the oldest newly confirmed entry, per log.",
		lagLabels, func(s *snapshot, out func(*engine.Histogram, ...string)) {
			for i := range s.Acks {
				out(&s.Acks[i].Durable, s.Acks[i].Site, "durable")
				out(&s.Acks[i].Applied, s.Acks[i].Site, "applied")
			}
		}},
}

// metric is h as Prometheus has it.
func (m *histogram) metric(desc *prometheus.Desc, h *engine.Histogram, labels []string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, bound := range h.Bounds {
		buckets[bound] = h.Counts[i]
	}
	return prometheus.MustNewConstHistogram(desc, h.Count, h.Sum, buckets, labels...)
}
