package observe

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claudefs/repl/engine"
)

// snapshot is what one scrape shows.
type snapshot struct {
	engine.Status
	engine.Counters
}

// emit tells one series: its value, and its labels in the catalogue's order.
type emit func(value float64, labels ...string)

// metric is one line of the catalogue.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	take       func(s *snapshot, out emit)
}

// Closed lists of states; the engine's words.
var (
	healthStates = []string{"OK", "DEGRADED", "FAILED"}
	appendStates = []string{"open", "waiting", "standby", "refused", "partly"}
	applyStates  = []string{"ok", "behind", "stopped"}
	linkStates   = []string{"down", "connecting", "hello", "catching up", "live", "refused"}
)

// catalogue is every metric there is. Additive changes only: dashboards and
// alerts of others name them.
var catalogue = slices.Concat(siteMetrics, flowMetrics, journalMetrics, peerMetrics, riskMetrics)

func gauge(name, help string, labels []string, take func(*snapshot, emit)) metric {
	return metric{"claudefs_repl_" + name, help, prometheus.GaugeValue, labels, take}
}

func counter(name, help string, labels []string, take func(*snapshot, emit)) metric {
	return metric{"claudefs_repl_" + name, help, prometheus.CounterValue, labels, take}
}

var siteMetrics = []metric{
	gauge("site_info", "Who this is, always 1.", []string{"cluster", "site", "role", "primary"},
		func(s *snapshot, out emit) { out(1, s.Cluster, s.Site, s.Role, s.Primary) }),
	gauge("data_path_info", "What carries links and journal files, and why, always 1.",
		[]string{"links", "files", "reason"},
		func(s *snapshot, out emit) { out(1, s.DataPath.Links, s.DataPath.Files, s.DataPath.Reason) }),
	gauge("health", "The site's health, 1 for the state that holds.", []string{"state"},
		func(s *snapshot, out emit) { states(out, healthStates, s.Health) }),
	gauge("shards", "Shards of the cluster.", nil,
		func(s *snapshot, out emit) { out(float64(s.Shards)) }),
	gauge("epoch", "Fencing token of the writer.", nil,
		func(s *snapshot, out emit) { out(float64(s.Epoch)) }),
	gauge("term", "How often the journals were opened.", nil,
		func(s *snapshot, out emit) { out(float64(s.Term)) }),
	gauge("stopped_logs", "Logs that do not move; status names them.", nil,
		func(s *snapshot, out emit) { out(float64(len(s.StoppedLogs))) }),
	gauge("memory_region_bytes", "Memory mapped for batches and frames, off the heap.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.RegionBytes)) }),
	gauge("memory_lent_bytes", "Memory of the region in use or kept for reuse.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.LentBytes)) }),
	gauge("memory_heap_bytes", "Memory for batches and frames that is taken from the heap.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.HeapBytes)) }),
	counter("memory_spilled_total", "How often the region had no room for a large batch or frame.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.Spilled)) }),
}

var flowMetrics = []metric{
	gauge("append_state", "Whether the site takes appends, 1 for the state that holds.", []string{"state"},
		func(s *snapshot, out emit) { states(out, appendStates, s.Appends.State) }),
	gauge("append_shards", "Shards by whether their log's end was confirmed before it took appends.",
		[]string{"admission"},
		func(s *snapshot, out emit) {
			out(float64(s.Appends.Verified), "verified")
			out(float64(s.Appends.Unverified), "unverified")
			out(float64(s.Appends.Waiting), "waiting")
			out(float64(s.Appends.Refused), "refused")
		}),
	counter("append_entries_total", "Entries appended.", nil,
		func(s *snapshot, out emit) { out(float64(s.Appends.Entries)) }),
	counter("append_bytes_total", "Bytes of the entries appended.", nil,
		func(s *snapshot, out emit) { out(float64(s.Appends.Bytes)) }),
	gauge("append_pending_bytes", "Bytes appended and not yet durable here.", nil,
		func(s *snapshot, out emit) { out(float64(s.Appends.PendingBytes)) }),
	gauge("apply_state", "Whether the own Store follows, 1 for the state that holds.", []string{"state"},
		func(s *snapshot, out emit) { states(out, applyStates, s.Apply.State) }),
	counter("apply_entries_total", "Entries applied to the own Store.", nil,
		func(s *snapshot, out emit) { out(float64(s.Apply.Entries)) }),
	gauge("apply_backlog_entries", "Entries durable here that the own Store does not show yet.", nil,
		func(s *snapshot, out emit) { out(float64(s.Apply.BacklogEntries)) }),
}

var journalMetrics = []metric{
	gauge("journal_bytes", "Size of a journal's files.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Bytes) })),
	gauge("journal_segments", "Files of a journal.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Segments) })),
	counter("journal_units_total", "Flush units a journal has numbered since it was created.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Units) })),
	gauge("journal_poisoned", "1 when a write or flush failed: nothing is acknowledged any more.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return number(j.State == "poisoned") })),
	gauge("journal_impeded", "1 while no segment can be begun, or none given back.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return number(j.State == "impeded") })),
	gauge("journal_damaged_places", "Places of what is kept that do not hold.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Damage) })),
	gauge("journal_holes_missing", "Stretches of logs that damage took and nothing has filled yet.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Missing) })),
	gauge("journal_holes_repaired", "Stretches of logs that damage took and that are in place again.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Repaired) })),
	gauge("journal_suspect_logs", "Logs whose end nothing proves after damage.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Suspect) })),
	counter("journal_flushes_total", "Writes that made batches durable.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.Flushes) })),
	counter("journal_wakes_total", "How often an idle flusher was woken.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.Wakes) })),
	counter("journal_copied_bytes_total", "Bytes that a processor copied on their way into a journal.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.CopiedBytes) })),
	counter("journal_read_bytes_total", "Bytes read back from files, by readers that were behind.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.FileReadBytes) })),
	gauge("journal_recent_bytes", "Memory of durable batches that readers are served from.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.RecentBytes) })),
	counter("ring_enters_total", "System calls of io_uring rings; 0 where something else carries.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Enters) })),
	counter("ring_operations_total", "Operations of io_uring rings: sends, receives, writes, syncs.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Calls) })),
	counter("ring_spins_total", "Receives that looked before they slept.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Spins) })),
	counter("ring_spin_hits_total", "Receives that looked before they slept, and found.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Hits) })),
	counter("ring_staged_bytes_total", "Bytes copied to go past the system's cache.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.StagedBytes) })),
	counter("ring_revoked_total", "Operations that the kernel gave up unbegun; they were submitted again.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Revoked) })),
	counter("ring_plain_operations_total", "Operations by system calls instead: lone writes, and what had no ring.",
		ringLabel, rings(func(c *engine.RingCounters) float64 { return float64(c.Plain) })),
	counter("ring_refused_total", "Rings that the machine refused or that failed; system calls take their place.",
		ringLabel, rings(func(c *engine.RingCounters) float64 { return float64(c.Refused) })),
}

var peerMetrics = []metric{
	gauge("peer_health", "A peer's health, 1 for the state that holds.", []string{"peer", "state"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				states(out, healthStates, s.Peers[i].Health, s.Peers[i].Site)
			}
		}),
	gauge("peer_link", "The link to a peer, 1 for the state that holds.", []string{"peer", "state"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				states(out, linkStates, s.Peers[i].Link, s.Peers[i].Site)
			}
		}),
	gauge("peer_transport_info", "What carries the link to a peer, or its next dial, always 1.",
		[]string{"peer", "transport"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				out(1, s.Peers[i].Site, s.Peers[i].Transport)
			}
		}),
	gauge("peer_waiting_info", "What keeps a peer from having caught up, always 1.", []string{"peer", "on"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				out(1, s.Peers[i].Site, s.Peers[i].WaitingOn)
			}
		}),
	gauge("peer_heard_timestamp_seconds", "When a peer was last heard; absent if never.", peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				if at := s.Peers[i].HeardAt; at != nil {
					out(seconds(*at), s.Peers[i].Site)
				}
			}
		}),
	gauge("peer_round_trip_seconds", "Round trip of the newest heartbeat; absent if unknown.", peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				if rtt := s.Peers[i].RTTSeconds; rtt != nil {
					out(*rtt, s.Peers[i].Site)
				}
			}
		}),
	gauge("lag_known", "1 when a fresh answer proves how far a peer is behind.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) { out(number(l.State == "known")) })),
	gauge("caught_up_timestamp_seconds",
		"The peer has everything that was written before this moment; absent if unknown.", lagLabels,
		lags(func(at time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Seconds != nil {
				out(seconds(at) - *l.Seconds)
			}
		})),
	gauge("lag_bytes", "Bytes that a peer is behind; absent if unknown.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Bytes != nil {
				out(float64(*l.Bytes))
			}
		})),
	gauge("lag_entries", "Entries that a peer is behind; absent if unknown.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Entries != nil {
				out(float64(*l.Entries))
			}
		})),
	counter("peer_sessions_total", "Sessions that a peer answered; each but the first is a reset.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.Sessions) })),
	counter("peer_sent_frames_total", "Frames of batches sent.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.SentFrames) })),
	counter("peer_sent_bytes_total", "Bytes of batches sent, again after a reset included.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.SentBytes) })),
	counter("peer_accepted_sessions_total", "Sessions of a peer that this site welcomed.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.AcceptedSessions) })),
	counter("peer_received_frames_total", "Frames of batches received.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.ReceivedFrames) })),
	counter("peer_received_bytes_total", "Bytes of batches received, again after a reset included.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.ReceivedBytes) })),
	gauge("peer_staged_bytes", "Bytes received that are not yet durable here.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.StagedBytes) })),
	gauge("behind_known", "1 when a fresh heartbeat of the writer proves how far this site is behind it.", peerLabel,
		behinds(func(_ time.Time, l *engine.LagStatus, out func(float64)) { out(number(l.State == "known")) })),
	gauge("behind_caught_up_timestamp_seconds",
		"This site has everything that the writer had durable before this moment; absent if unknown.", peerLabel,
		behinds(func(at time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Seconds != nil {
				out(seconds(at) - *l.Seconds)
			}
		})),
	gauge("peer_window_bytes", "How much may be under way to a peer; the engine's own choice.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.WindowBytes) })),
	gauge("peer_window_used_bytes", "How much is under way: sent, not yet durable there.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.WindowUsed) })),
	gauge("peer_stopped_logs", "Logs that are not sent to a peer; status names them.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(len(p.StoppedLogs)) })),
	gauge("peer_may_promote", "1 when a peer may be promoted; status says why not.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return number(p.MayPromote) })),
}
