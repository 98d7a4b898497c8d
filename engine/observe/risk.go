package observe

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/claudefs/repl/engine"
)

// risks tells what of each peer is not confirmed, known or at least.
func risks(take func(s *snapshot, l *engine.LagStatus, out func(float64))) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for i := range s.Peers {
			take(s, &s.Peers[i].WouldLose, func(v float64) { out(v, s.Peers[i].Site) })
		}
	}
}

// known shows a number that may be unknown.
func known[T int64 | float64](n *T, out func(float64)) {
	if n != nil {
		out(float64(*n))
	}
}

var riskMetrics = []metric{
	gauge("at_risk_entries", "Entries that a peer has not confirmed; from saved cursors while it is away.", peerLabel,
		risks(func(_ *snapshot, l *engine.LagStatus, out func(float64)) {
			known(cmp.Or(l.Entries, l.AtLeastEntries), out)
		})),
	gauge("at_risk_bytes", "Bytes that a peer has not confirmed; absent if unknown.", peerLabel,
		risks(func(_ *snapshot, l *engine.LagStatus, out func(float64)) {
			known(cmp.Or(l.Bytes, l.AtLeastBytes), out)
		})),
	gauge("at_risk_since_timestamp_seconds",
		"When the oldest entry that a peer has not confirmed became durable here; absent if there is none.", peerLabel,
		risks(func(s *snapshot, l *engine.LagStatus, out func(float64)) {
			if age := cmp.Or(l.Seconds, l.AtLeastSeconds); age != nil && *age > 0 {
				out(seconds(s.At) - *age)
			}
		})),
	gauge("peer_pinned_bytes", "Bytes of the own journal kept for a peer; absent if unknown.", peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				known(s.Peers[i].PinnedBytes, func(v float64) { out(v, s.Peers[i].Site) })
			}
		}),
	gauge("disk_free_bytes", "Free bytes on the journals' file system; absent if unknown.", nil,
		func(s *snapshot, out emit) { known(s.Disk.FreeBytes, func(v float64) { out(v) }) }),
	gauge("disk_size_bytes", "Size of the journals' file system; absent if unknown.", nil,
		func(s *snapshot, out emit) { known(s.Disk.SizeBytes, func(v float64) { out(v) }) }),
	gauge("disk_full_timestamp_seconds",
		"When the journals' file system will be full at the current growth; absent without growth.", nil,
		func(s *snapshot, out emit) {
			known(s.Disk.FullSeconds, func(v float64) { out(seconds(s.At) + v) })
		}),
}

// Process are collectors of the Go runtime, the process and the build, for a program whose
// whole page [Handler] is; a host that embeds an engine has its own.
func Process() []prometheus.Collector {
	return []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
}
