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
	healthStates = []string{engine.HealthOK, engine.HealthDegraded, engine.HealthFailed}
	appendStates = []string{
		engine.AppendsOpen, engine.AppendsWaiting, engine.AppendsStandby, engine.AppendsRefused, engine.AppendsPartly,
	}
	applyStates   = []string{engine.ApplyOK, engine.ApplyBehind, engine.ApplyStopped}
	mendingStates = []string{
		engine.MendingNone, engine.MendingComparing, engine.MendingFetching, engine.MendingApplying,
		engine.MendingWaiting,
	}
	linkStates = []string{"down", "connecting", "hello", "catching up", "live", "refused"}
)

// catalogue is every metric there is. Additive changes only: dashboards and
// alerts of others name them.
var catalogue = slices.Concat(siteMetrics, flowMetrics, journalMetrics, peerMetrics, riskMetrics, linkMetrics,
	mendMetrics)

func gauge(name, help string, labels []string, take func(*snapshot, emit)) metric {
	return metric{"claudefs_repl_" + name, help, prometheus.GaugeValue, labels, take}
}

func counter(name, help string, labels []string, take func(*snapshot, emit)) metric {
	return metric{"claudefs_repl_" + name, help, prometheus.CounterValue, labels, take}
}

var siteMetrics = []metric{
	gauge("site_info", "Identity of this site; always 1.", []string{"cluster", "site", "role", "primary"},
		func(s *snapshot, out emit) { out(1, s.Cluster, s.Site, s.Role, s.Primary) }),
	gauge("data_path_info", "What carries links and journal files, and the reason; always 1.",
		[]string{"links", "files", "reason"},
		func(s *snapshot, out emit) { out(1, s.DataPath.Links, s.DataPath.Files, s.DataPath.Reason) }),
	counter("events_total", "Events since start, by kind: of an alarm somebody should look at the "+
		"log.", []string{"kind"},
		func(s *snapshot, out emit) {
			for _, c := range s.Counters.Events {
				out(float64(c.Count), c.Kind)
			}
		}),
	gauge("health", "Health of the site; 1 for the current state.", []string{"state"},
		func(s *snapshot, out emit) { states(out, healthStates, s.Health) }),
	gauge("shards", "Shards of the cluster.", nil,
		func(s *snapshot, out emit) { out(float64(s.Shards)) }),
	gauge("epoch", "Fencing token of the writer.", nil,
		func(s *snapshot, out emit) { out(float64(s.Epoch)) }),
	gauge("term", "Times the journals were opened.", nil,
		func(s *snapshot, out emit) { out(float64(s.Term)) }),
	gauge("may_promote", "1 if this site may be made the writer; status gives the reason otherwise.", nil,
		func(s *snapshot, out emit) { out(number(s.MayPromote)) }),
	gauge("stopped_logs", "Stopped logs; status lists them.", nil,
		func(s *snapshot, out emit) { out(float64(len(s.StoppedLogs))) }),
	gauge("memory_region_bytes", "Memory mapped off the heap for batches and frames.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.RegionBytes)) }),
	gauge("memory_region_used_bytes", "Memory of the region in use or kept for reuse.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.LentBytes)) }),
	gauge("memory_heap_bytes", "Heap memory used for batches and frames.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.HeapBytes)) }),
	counter("memory_region_spills_total", "Large batches and frames that did not fit into the region.", nil,
		func(s *snapshot, out emit) { out(float64(s.Memory.Spilled)) }),
}

var flowMetrics = []metric{
	gauge("append_state", "Append state of the site; 1 for the current state.", []string{"state"},
		func(s *snapshot, out emit) { states(out, appendStates, s.Appends.State) }),
	gauge("append_shards", "Shards by admission state.",
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
	gauge("append_pending_bytes", "Bytes appended, but not durable here yet.", nil,
		func(s *snapshot, out emit) { out(float64(s.Appends.PendingBytes)) }),
	gauge("apply_state", "Apply state of the local Store; 1 for the current state.", []string{"state"},
		func(s *snapshot, out emit) { states(out, applyStates, s.Apply.State) }),
	counter("apply_entries_total", "Entries applied to the local Store.", nil,
		func(s *snapshot, out emit) { out(float64(s.Apply.Entries)) }),
	gauge("apply_backlog_entries", "Entries durable here, but not applied to the local Store yet.", nil,
		func(s *snapshot, out emit) { out(float64(s.Apply.BacklogEntries)) }),
}

var journalMetrics = []metric{
	gauge("journal_bytes", "Size of a journal's files.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Bytes) })),
	gauge("journal_segments", "Files of a journal.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Segments) })),
	counter("journal_units_total", "Flush units written since the journal was created.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Units) })),
	gauge("journal_poisoned", "1 after a write or flush failed: the journal acknowledges nothing until reopened.",
		journalLabel,
		journals(func(j *engine.JournalStatus) float64 {
			return number(j.State == engine.JournalPoisoned)
		})),
	gauge("journal_impeded", "1 while the journal cannot create or remove segments.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return number(j.State == engine.JournalImpeded) })),
	gauge("journal_damaged_places", "Damaged places in retained segments.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Damage) })),
	gauge("journal_holes_open", "Ranges of logs lost to damage and not repaired yet.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Missing) })),
	gauge("journal_holes_repaired", "Ranges of logs lost to damage and repaired.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Repaired) })),
	gauge("journal_suspect_logs", "Logs whose end is unproven after damage.", journalLabel,
		journals(func(j *engine.JournalStatus) float64 { return float64(j.Suspect) })),
	counter("journal_flushes_total", "Flushes that made batches durable.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.Flushes) })),
	counter("journal_wakes_total", "Wakeups of an idle flusher.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.Wakes) })),
	counter("journal_copied_bytes_total", "Bytes copied in memory on the way into a journal.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.CopiedBytes) })),
	counter("journal_read_bytes_total", "Bytes read from files by readers that had left the cache.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.FileReadBytes) })),
	gauge("journal_recent_bytes", "Memory used to cache recent durable batches.", journalLabel,
		counters(func(c *engine.JournalCounters) float64 { return float64(c.RecentBytes) })),
	counter("ring_enters_total", "io_uring_enter system calls; 0 without io_uring.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Enters) })),
	counter("ring_operations_total", "Operations through io_uring: sends, receives, writes, syncs.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Calls) })),
	counter("ring_spins_total", "Receives that polled before they slept.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Spins) })),
	counter("ring_spin_hits_total", "Receives that polled before they slept and found data.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.Hits) })),
	counter("ring_staged_bytes_total", "Bytes copied for direct I/O.", ringLabel,
		rings(func(c *engine.RingCounters) float64 { return float64(c.StagedBytes) })),
	counter("ring_canceled_operations_total",
		"Operations that the kernel canceled before they began, then resubmitted.",
		ringLabel, rings(func(c *engine.RingCounters) float64 { return float64(c.Revoked) })),
	counter("ring_bypassed_operations_total",
		"Operations made as system calls: single writes, and those without a ring.",
		ringLabel, rings(func(c *engine.RingCounters) float64 { return float64(c.Plain) })),
	counter("ring_refused_total", "Rings that could not be created or failed; system calls replace them.",
		ringLabel, rings(func(c *engine.RingCounters) float64 { return float64(c.Refused) })),
}

var peerMetrics = []metric{
	gauge("peer_health", "Health of a peer; 1 for the current state.", []string{"peer", "state"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				states(out, healthStates, s.Peers[i].Health, s.Peers[i].Site)
			}
		}),
	gauge("peer_link", "State of the link to a peer; 1 for the current state.", []string{"peer", "state"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				states(out, linkStates, s.Peers[i].Link, s.Peers[i].Site)
			}
		}),
	gauge("peer_learner", "1 while a peer is a learner, which counts for nothing; 0 else.", peerLabel,
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				learner := 0.0
				if s.Peers[i].Learner {
					learner = 1
				}
				out(learner, s.Peers[i].Site)
			}
		}),
	gauge("peer_transport_info", "Transport of the link to a peer, or of its next dial; always 1.",
		[]string{"peer", "transport"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				out(1, s.Peers[i].Site, s.Peers[i].Transport)
			}
		}),
	gauge("peer_waiting_info", "What a peer that has not caught up waits for; always 1.", []string{"peer", "on"},
		func(s *snapshot, out emit) {
			for i := range s.Peers {
				out(1, s.Peers[i].Site, s.Peers[i].WaitingOn)
			}
		}),
	gauge("peer_last_heard_timestamp_seconds", "When this site last heard from a peer; absent if never.", peerLabel,
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
	gauge("lag_known", "1 if a recent answer proves the lag of a peer.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) { out(number(l.State == engine.LagKnown)) })),
	gauge("caught_up_timestamp_seconds",
		"The peer has everything written before this time; absent if unknown.", lagLabels,
		lags(func(at time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Seconds != nil {
				out(seconds(at) - *l.Seconds)
			}
		})),
	gauge("lag_bytes", "Lag of a peer in bytes; absent if unknown.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Bytes != nil {
				out(float64(*l.Bytes))
			}
		})),
	gauge("lag_entries", "Lag of a peer in entries; absent if unknown.", lagLabels,
		lags(func(_ time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Entries != nil {
				out(float64(*l.Entries))
			}
		})),
	counter("peer_sessions_total", "Sessions that a peer answered; each one after the first is a reset.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.Sessions) })),
	counter("peer_sent_frames_total", "Frames of batches sent.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.SentFrames) })),
	counter("peer_sent_bytes_total", "Bytes of batches sent, including resent ones.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.SentBytes) })),
	counter("peer_accepted_sessions_total", "Sessions of a peer that this site welcomed.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.AcceptedSessions) })),
	counter("peer_received_frames_total", "Frames of batches received.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.ReceivedFrames) })),
	counter("peer_received_bytes_total", "Bytes of batches received, including resent ones.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.ReceivedBytes) })),
	gauge("peer_staged_bytes", "Bytes received, but not durable here yet.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.StagedBytes) })),
	gauge("standby_lag_known", "1 if a recent heartbeat of the primary proves the lag of this site.", peerLabel,
		behinds(func(_ time.Time, l *engine.LagStatus, out func(float64)) { out(number(l.State == engine.LagKnown)) })),
	gauge("standby_caught_up_timestamp_seconds",
		"This site has everything that was durable at the primary before this time; absent if unknown.", peerLabel,
		behinds(func(at time.Time, l *engine.LagStatus, out func(float64)) {
			if l.Seconds != nil {
				out(seconds(at) - *l.Seconds)
			}
		})),
	gauge("peer_window_bytes", "Send window of a peer, chosen by the engine.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.WindowBytes) })),
	gauge("peer_window_used_bytes", "Bytes in flight: sent, but not durable at the peer yet.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(p.WindowUsed) })),
	gauge("peer_stopped_logs", "Logs that are not sent to a peer; status lists them.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return float64(len(p.StoppedLogs)) })),
	gauge("peer_may_promote", "1 if a peer may be promoted; status gives the reason otherwise.", peerLabel,
		peers(func(p *engine.PeerStatus) float64 { return number(p.MayPromote) })),
}
