package observe

import (
	"time"

	"github.com/claudefs/repl/engine"
)

// linkMetrics tell of connections, and of what each peer still lacks or leaves out.
var linkMetrics = []metric{
	gauge("insecure", "1 while links have no TLS.", nil,
		func(s *snapshot, out emit) { out(number(s.Insecure)) }),
	gauge("incoming_silent_connections", "Connections to the listener that have not sent a whole first frame.", nil,
		func(s *snapshot, out emit) { out(float64(s.Incoming.Silent)) }),
	counter("incoming_accepted_total", "Connections that the listener accepted, those of peers too.", nil,
		func(s *snapshot, out emit) { out(float64(s.Incoming.Accepted)) }),
	counter("incoming_evicted_total", "Silent connections that were closed for a newer one.", nil,
		func(s *snapshot, out emit) { out(float64(s.Incoming.Evicted)) }),
	counter("incoming_refused_total", "Connections that were closed because there was no place.", nil,
		func(s *snapshot, out emit) { out(float64(s.Incoming.Refused)) }),
	gauge("journal_holes", "Stretches of logs that damage took, repaired or not.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Holes) })),
	gauge("journal_held_info", "What a journal keeps its oldest segment for, always 1; absent if for nothing.",
		[]string{"journal", "by"},
		func(s *snapshot, out emit) {
			for i := range s.Journals {
				if j := &s.Journals[i]; j.HeldBy != "" {
					out(1, j.Name, j.HeldBy)
				}
			}
		}),
	gauge("peer_left_out_logs", "Logs that a peer leaves out of its session with this site; its status says why.",
		peerLabel, peers(func(p *engine.PeerStatus) float64 { return float64(p.LeftOutLogs) })),
	gauge("peer_streams", "Connections of the open link to a peer; 0 without one.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.Streams) })),
	gauge("peer_catch_up_bytes_per_second", "How fast a peer confirmed lately what it lacks; absent if unknown.",
		peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				known(s.Peers[i].CatchUpRate, func(v float64) { out(v, s.Peers[i].Site) })
			}
		}),
	gauge("peer_catch_up_end_timestamp_seconds",
		"When a peer has what it lacks now, at that rate; absent if unknown.", peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				known(s.Peers[i].CatchUpSeconds, func(v float64) { out(seconds(s.At)+v, s.Peers[i].Site) })
			}
		}),
	gauge("lag_at_least_bytes", "Bytes that a peer has not confirmed; absent while its lag is known.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) { known(l.AtLeastBytes, out) })),
	gauge("lag_at_least_entries", "Entries that a peer has not confirmed; absent while its lag is known.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) { known(l.AtLeastEntries, out) })),
	gauge("lag_at_least_since_timestamp_seconds",
		"When the oldest entry that a peer has not confirmed became durable here; absent while its lag is known.",
		lagLabels, lags(since)),
	gauge("standby_lag_at_least_since_timestamp_seconds",
		"Since when this site lacks entries of the writer, at least; absent while its lag is known.",
		peerLabel, behinds(since)),
}

// since is the moment from which a lag counts at least.
func since(at time.Time, l *engine.LagStatus, out func(float64)) {
	if l.AtLeastSeconds != nil {
		out(seconds(at) - *l.AtLeastSeconds)
	}
}
