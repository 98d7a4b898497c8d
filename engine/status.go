package engine

import (
	"sync"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
)

// Words of a Status, closed lists. Programs compare them: none is ever changed.
const (
	HealthOK       = "OK"
	HealthDegraded = "DEGRADED"
	HealthFailed   = "FAILED"

	AppendsOpen    = "open"
	AppendsWaiting = "waiting"
	AppendsStandby = "standby"
	AppendsRefused = "refused"
	AppendsPartly  = "partly"

	JournalOK       = "ok"
	JournalImpeded  = "impeded"
	JournalPoisoned = "poisoned"

	ApplyOK      = "ok"
	ApplyBehind  = "behind"
	ApplyStopped = "stopped"

	LagKnown   = "known"
	LagUnknown = "unknown"

	MendingNone      = "none"
	MendingComparing = "comparing"
	MendingFetching  = "fetching"
	MendingApplying  = "applying"
	MendingWaiting   = "waiting"
)

// Status is the state of one site, as JSON in schema 1: additive changes only.
// Units are in the keys; unknown is null next to a state.
type Status struct {
	Schema int       `json:"schema"` // 1
	Kind   string    `json:"kind"`   // "status"
	At     time.Time `json:"at"`

	Cluster         string `json:"cluster"`
	Site            string `json:"site"`
	Role            string `json:"role"` // "primary" or "standby"
	Primary         string `json:"primary"`
	Epoch           uint64 `json:"epoch"`
	Term            uint32 `json:"term"`
	Shards          int    `json:"shards"`
	Health          string `json:"health"` // "OK", "DEGRADED", "FAILED"
	Reason          string `json:"reason"` // "" when OK
	Transport       string `json:"transport"`
	TransportReason string `json:"transport_reason"` // why not a faster one
	Listen          string `json:"listen"`
	Insecure        bool   `json:"insecure"`

	DataPath DataPathStatus `json:"data_path"`
	Incoming IncomingStatus `json:"incoming"`

	Appends     AppendStatus    `json:"appends"`
	Journals    []JournalStatus `json:"journals"` // own, mirror
	Disk        DiskStatus      `json:"disk"`
	Apply       ApplyStatus     `json:"apply"`
	Mending     MendingStatus   `json:"mending"`
	Orphans     OrphanStatus    `json:"orphans"`
	Peers       []PeerStatus    `json:"peers"` // sorted by site
	StoppedLogs []StoppedLog    `json:"stopped_logs"`

	// MayPromote: an operator may have this site take over, as far as it knows. A learner does not
	// know that it is one: the writer's status says so.
	MayPromote       bool   `json:"may_promote"`
	MayPromoteReason string `json:"may_promote_reason"` // why not
}

// DataPathStatus tells what carries links and journal files, and why that.
type DataPathStatus struct {
	Links  string `json:"links"`  // "tcp", "io_uring"; or the name of the transport that the host named
	Files  string `json:"files"`  // "portable", "io_uring", "the host's"
	Reason string `json:"reason"` // of what the engine chose; "named by the host" where it chose nothing
}

// IncomingStatus counts connections to the own listener, before their hello is judged; 0
// where nothing listens, or by a transport that does not count.
type IncomingStatus struct {
	Silent   int    `json:"silent_count"`   // now: that have not sent a whole first frame
	Accepted uint64 `json:"accepted_total"` // since open; those of peers too
	Evicted  uint64 `json:"evicted_total"`  // silent ones that were closed for a newer one
	Refused  uint64 `json:"refused_total"`  // that found no place
}

// AppendStatus tells whether this site takes appends.
type AppendStatus struct {
	State        string `json:"state"` // "open", "waiting", "standby", "refused", "partly"
	Reason       string `json:"reason"`
	Verified     int    `json:"shards_verified"`
	Unverified   int    `json:"shards_unverified"` // admitted although no peer could confirm their tails
	Waiting      int    `json:"shards_waiting"`
	Refused      int    `json:"shards_refused"`
	Entries      uint64 `json:"entries_total"` // since open
	Bytes        uint64 `json:"bytes_total"`
	PendingBytes int64  `json:"pending_bytes"`
}

// JournalStatus is one journal.
type JournalStatus struct {
	Name     string `json:"name"`  // "own", "mirror"
	State    string `json:"state"` // "ok", "impeded", "poisoned"
	Reason   string `json:"reason"`
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
	Units    uint64 `json:"units_total"`
	Damage   int    `json:"damage_count"`         // places that do not hold, of what is kept
	Holes    int    `json:"holes_count"`          // stretches of logs that damage took
	Repaired int    `json:"holes_repaired_count"` // of them: fetched and in place
	Missing  int    `json:"holes_open_count"`     // of them: nothing has filled yet
	Suspect  int    `json:"suspect_logs"`         // of the missing: nothing proves where the log ends
	// HeldBy is what the oldest segment is kept for: a site that has yet to confirm what is
	// in it, or "store", this site's own; "" where nothing keeps one.
	HeldBy string `json:"held_by"`
}

// ApplyStatus is what the own Store has yet to show.
type ApplyStatus struct {
	State          string `json:"state"` // "ok", "behind", "stopped"
	BacklogEntries int64  `json:"backlog_entries"`
	Entries        uint64 `json:"entries_total"` // since open
}

// MendingStatus is the mending of a shard of this site, and how far it is.
type MendingStatus struct {
	State        string   `json:"state"`  // "none", "comparing", "fetching", "applying", "waiting"
	Reason       string   `json:"reason"` // while waiting
	From         string   `json:"from"`   // the site whose state it gets
	Shard        int      `json:"shard"`
	Rows         uint64   `json:"compared_rows"`
	DifferRows   uint64   `json:"differ_rows"` // in parts that differ
	FetchedRows  uint64   `json:"fetched_rows"`
	FetchedBytes int64    `json:"fetched_bytes"`
	AppliedBytes int64    `json:"applied_bytes"`
	ETASeconds   *float64 `json:"eta_seconds"`       // of the state; null when not known
	Torn         int      `json:"torn_shards_count"` // whose mending has changed them, and is not complete
}

// OrphanStatus is the entries that did not survive a failover and are kept in files here.
type OrphanStatus struct {
	Entries int64 `json:"entries"` // that are listed
	Logs    int   `json:"logs_count"`
	// Reason is why some are in no file, or a file does not hold; "" = all is well. Until they are,
	// their shards are not mended and their batches not given back.
	Reason string `json:"reason"`
}

// LagStatus is a lag at one level; the numbers are null when unknown.
type LagStatus struct {
	State   string   `json:"lag_state"` // "known" or "unknown"
	Seconds *float64 `json:"lag_seconds"`
	Bytes   *int64   `json:"lag_bytes"`
	Entries *int64   `json:"lag_entries"`
	// While unknown: what the peer has not confirmed, by its last answer or its saved
	// cursors. It may have got a little of that, under way when the link ended, and may
	// have lost what it confirmed. AtLeastSeconds counts since the oldest such entry.
	AtLeastSeconds *float64 `json:"at_least_seconds"`
	AtLeastBytes   *int64   `json:"at_least_bytes"` // null where nothing tells it
	AtLeastEntries *int64   `json:"at_least_entries"`
}

// PeerStatus is one peer.
type PeerStatus struct {
	Site            string     `json:"site"`
	Role            string     `json:"role"`
	Health          string     `json:"health"`
	Reason          string     `json:"reason"`
	Link            string     `json:"link"`
	Addr            string     `json:"addr"`
	Transport       string     `json:"transport"`        // of the link, or of the next dial
	TransportReason string     `json:"transport_reason"` // why nothing better; "" where there is nothing better
	Streams         int        `json:"streams"`          // connections of the open link; 0 = no link
	HeardAt         *time.Time `json:"last_heard_at"`
	RTTSeconds      *float64   `json:"rtt_seconds"`
	Durable         LagStatus  `json:"durable"`
	Applied         LagStatus  `json:"applied"`
	WaitingOn       string     `json:"waiting_on"`
	// PinnedBytes of the own journal are kept because the peer has not confirmed them;
	// null = not measured yet.
	PinnedBytes *int64 `json:"pinned_bytes"`
	WindowBytes int64  `json:"window_bytes"`
	WindowUsed  int64  `json:"window_used_bytes"`
	SentFrames  uint64 `json:"sent_frames_total"`
	SentBytes   int64  `json:"sent_bytes_total"`
	Sessions    uint64 `json:"sessions_total"` // that the peer answered; each but the first is a reset
	// What came from the peer, and what of it waits for a flush here.
	ReceivedFrames   uint64 `json:"received_frames_total"`
	ReceivedBytes    int64  `json:"received_bytes_total"`
	AcceptedSessions uint64 `json:"accepted_sessions_total"` // that this site welcomed
	StagedBytes      int64  `json:"staged_bytes"`
	// While the peer lacks something: how fast it confirmed lately, and how long what it
	// lacks takes at that rate, without what is written meanwhile; null when not known.
	CatchUpRate    *float64 `json:"catch_up_bytes_per_second"`
	CatchUpSeconds *float64 `json:"catch_up_eta_seconds"`
	// Behind is how far this site is behind the peer in time, durable here, as of its newest
	// heartbeat; null if the peer does not write. Its bytes and entries are known only when 0.
	Behind *LagStatus `json:"standby_lag"`
	// WouldLose is what a failover to this peer would lose now: its durable lag.
	WouldLose        LagStatus `json:"would_lose_now"`
	MayPromote       bool      `json:"may_promote"`
	MayPromoteReason string    `json:"may_promote_reason"`
	// Learner: it was taken in while this site ran, and counts in no Durable or Applied until it
	// holds everything. Durable says what it is missing, CatchUpSeconds how long that takes.
	Learner     bool         `json:"learner"`
	StoppedLogs []StoppedLog `json:"stopped_logs"`
	// LeftOutLogs is how many of its own logs the peer leaves out of its session with this
	// site; its stopped logs say why.
	LeftOutLogs int `json:"left_out_logs_count"`
}

// StoppedLog is a log that does not move, and why.
type StoppedLog struct {
	Site   string `json:"site"`
	Shard  int    `json:"shard"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// Hints tell a client where to write, as JSON in schema 1. A writer that is cut off does not know
// yet that another one is in a higher epoch: of several sites' hints those of the highest epoch hold.
type Hints struct {
	Schema int    `json:"schema"` // 1
	Kind   string `json:"kind"`   // "hints"
	Site   string `json:"site"`
	Epoch  uint64 `json:"epoch"`
	Writer string `json:"writer"` // the site that writes in Epoch
	Open   bool   `json:"open"`   // this site takes appends now, in some shards at least
	Reason string `json:"reason"` // why not, or not in all shards
	// RetrySeconds is when to ask again, while this site is the writer and takes no appends; 0 else.
	RetrySeconds float64    `json:"retry_after_seconds"`
	Sites        []SiteHint `json:"sites"` // this one, and its peers
}

// SiteHint is where a site's HTTP API is.
type SiteHint struct {
	Site  string `json:"site"`
	Admin string `json:"admin"` // HOST:PORT; "" = not known
}

// hintsRetry is when a client asks again whether a writer takes appends.
const hintsRetry = time.Second

// Samples of how the journals grow are taken when a status is: not closer than
// filledGap, and no older than filledMax.
const (
	filledGap = 5 * time.Second
	filledMax = 10 * time.Minute
)

// DiskStatus is the file system of the journals; null if it is unknown, as on a
// memory disk.
type DiskStatus struct {
	FreeBytes *int64 `json:"free_bytes"` // for an ordinary user
	SizeBytes *int64 `json:"size_bytes"`
	// FullSeconds is when it is full if the journals go on growing as they did in the last
	// ten minutes at most; null while they do not grow, or too little was seen.
	FullSeconds *float64 `json:"time_to_full_seconds"`
}

// filling remembers how large the journals were. Invariant: at most filledMax/filledGap+1
// samples, oldest first.
type filling struct {
	mu      sync.Mutex
	samples []filled
}

type filled struct {
	at    time.Time
	bytes int64
}

// rate is how many bytes a second the journals have grown by; 0 = not, or not known.
func (f *filling) rate(now time.Time, bytes int64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.samples) > 0 && now.Sub(f.samples[0].at) > filledMax {
		f.samples = f.samples[1:]
	}
	if n := len(f.samples); n == 0 || now.Sub(f.samples[n-1].at) >= filledGap {
		f.samples = append(f.samples, filled{now, bytes})
	}
	took := now.Sub(f.samples[0].at)
	if took < filledGap {
		return 0
	}
	return max(0, float64(bytes-f.samples[0].bytes)/took.Seconds())
}

// diskStatus is asked once per status.
func (e *Engine) diskStatus(journals []JournalStatus) (s DiskStatus) {
	free, size := vfs.Room(e.o.Dir)
	if size == 0 {
		return s
	}
	s.FreeBytes, s.SizeBytes = &free, &size
	bytes := int64(0)
	for i := range journals {
		bytes += journals[i].Bytes
	}
	if rate := e.filling.rate(time.Now(), bytes); rate > 0 {
		full := float64(free) / rate
		s.FullSeconds = &full
	}
	return s
}
