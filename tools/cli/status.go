package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/wire"
)

// screen collects the lines of a status.
type screen struct{ strings.Builder }

// painted is text that may hold colours: it is shown as it is.
type painted string

// line adds a line. What a node or a user named is shown plainly: see tty.Plain.
func (s *screen) line(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = tty.Plain(text)
		}
	}
	fmt.Fprintf(s, format, args...)
	s.WriteByte('\n')
}

// show prints the screen on w, wrapped at words to the columns of a terminal.
func (s *screen) show(w io.Writer) error {
	_, err := io.WriteString(w, tty.Fit(w, s.String()))
	return err
}

// statusScreen is the first screen: the site, then one block for each peer.
func statusScreen(s *engine.Status, o *output) *screen {
	b := new(screen)
	b.line("%s  %s  %s", s.Site, s.Role, healthText(o, s.Health, s.Reason))
	b.line("  cluster %s  primary %s  epoch %s  term %d  %s",
		s.Cluster, s.Primary, wire.Epoch(s.Epoch), s.Term, plural(s.Shards, "shard", "shards"))
	b.line("  listen %s  %s%s", orNone(s.Listen),
		transportText(s.Transport, s.TransportReason), insecureText(s.Insecure))
	if o.wide() && s.DataPath.Links != "" {
		b.line("  data path: links %s  journal files %s  (%s)", s.DataPath.Links, s.DataPath.Files, s.DataPath.Reason)
	}
	if in := &s.Incoming; o.wide() || in.Evicted+in.Refused > 0 {
		b.line("  incoming %s accepted since open, %d silent now, %d evicted, %d refused",
			plural(in.Accepted, "connection", "connections"), in.Silent, in.Evicted, in.Refused)
	}
	b.line("  appends %s", appendText(&s.Appends))
	if text := diskText(s); text != "" {
		b.line("  %s", text)
	}
	if s.Apply.State != engine.ApplyOK || o.wide() {
		b.line("  apply %s  backlog %s  %s applied since open", s.Apply.State,
			plural(s.Apply.BacklogEntries, "entry", "entries"), plural(s.Apply.Entries, "entry", "entries"))
	}
	if m := &s.Mending; m.State != engine.MendingNone && m.State != "" || m.Torn > 0 || o.wide() {
		b.line("  %s", mendingText(m))
	}
	if text := orphansText(&s.Orphans); text != "" {
		b.line("  %s", text)
	}
	if s.Role == "standby" || o.wide() {
		b.line("  may promote: %s", promoteText(s.MayPromote, s.MayPromoteReason))
	}
	for i := range s.Journals {
		if j := &s.Journals[i]; o.wide() || j.State != engine.JournalOK || j.Damage > 0 || j.Holes > 0 {
			b.line("  %s", journalText(j))
		}
	}
	b.stoppedLogs(s.StoppedLogs)
	for i := range s.Peers {
		b.WriteByte('\n')
		b.peer(s, &s.Peers[i], o)
	}
	if len(s.Peers) == 0 {
		b.line("\nno peers: nothing is replicated")
	}
	return b
}

// peer prints one peer's block. Logs that the site's own block has named already
// are not named again.
func (b *screen) peer(s *engine.Status, p *engine.PeerStatus, o *output) {
	b.line("%s  %s  %s", p.Site, p.Role, healthText(o, p.Health, p.Reason))
	transport := p.Transport
	if p.Streams > 1 {
		transport += fmt.Sprintf(" ×%d", p.Streams)
	}
	b.line("  link %s  %s  rtt %s  window %s of %s", linkText(p), transportText(transport, p.TransportReason),
		rttText(p.RTTSeconds), humanBytes(p.WindowUsed), humanBytes(p.WindowBytes))
	b.line("  durable %s   applied %s", lagText(s, p, &p.Durable), lagText(s, p, &p.Applied))
	b.line("  waiting on %s", orNothing(p.WaitingOn))
	if p.Link == "catching up" && p.CatchUpRate != nil && p.CatchUpSeconds != nil {
		b.line("  catches up with %s/s, done in %s if nothing new is written", humanBytes(int64(*p.CatchUpRate)),
			humanSeconds(*p.CatchUpSeconds))
	}
	if p.Learner {
		b.line("  learner: counts for nothing until it holds everything; %s", learnerText(p))
	}
	if p.Behind != nil {
		b.line("  %s", behindText(s, p))
	}
	if s.Role == "primary" {
		b.line("  failover to %s now: would lose %s", p.Site, loseText(s, p, &p.WouldLose))
		b.line("  may promote: %s", promoteText(p.MayPromote, p.MayPromoteReason))
	}
	if o.wide() {
		b.line("  sent %s, %s in %s since open", plural(p.SentFrames, "frame", "frames"), humanBytes(p.SentBytes),
			plural(p.Sessions, "session", "sessions"))
		b.line("  received %s, %s in %s since open, %s not flushed", plural(p.ReceivedFrames, "frame", "frames"),
			humanBytes(p.ReceivedBytes), plural(p.AcceptedSessions, "session", "sessions"), humanBytes(p.StagedBytes))
	}
	if p.LeftOutLogs > 0 {
		b.line("  leaves %s of its own out: `cfs admin replication status` there says why",
			plural(p.LeftOutLogs, "log", "logs"))
	}
	b.stoppedLogs(slices.DeleteFunc(slices.Clone(p.StoppedLogs), func(l engine.StoppedLog) bool {
		return slices.ContainsFunc(s.StoppedLogs, func(own engine.StoppedLog) bool {
			return own.Site == l.Site && own.Shard == l.Shard
		})
	}))
}

// stoppedLogs prints logs that do not move, with what to do about each.
func (b *screen) stoppedLogs(logs []engine.StoppedLog) {
	const shown = 8 // one cause usually stops many logs, and the first few tell it
	for i, l := range logs {
		if i == shown {
			b.line("  … and %s more: -o json lists all", plural(len(logs)-shown, "stopped log", "stopped logs"))
			return
		}
		b.line("  stopped: log (%s, shard %d): %s: %s", l.Site, l.Shard, l.Code, l.Reason)
		if i == 0 || logs[i-1].Code != l.Code {
			b.line("    next: %s", nextForStopped(l.Code))
		}
	}
}

// nextSteps says what to do about a stopped log, by its code.
var nextSteps = map[string]string{
	"unknown incarnation": "one of the two sites was set up again: move its data directory away, keep it, " +
		"and start that site while the other is up; it fetches the history back",
	"chain":   "the histories differ: stop writing this shard, see `cfs admin replication verify`",
	"gap":     "batches between the two sites are missing: the log resumes when the source sends them",
	"epoch":   "the sender writes in an older epoch: compare the primary that both sites' status names",
	"order":   "a batch came out of order: restart the sender; if it stays, keep both data directories",
	"suspect": "this copy is damaged: it is repaired from any peer that has the log; bring one up",
	"not retained": "the peer is further behind than what is kept: at the peer, " +
		"`cfs admin replication mend SHARD --from` this site",
	"shard range": "the two sites have different shard counts: one was created with a wrong --shards",
	"not writer":  "the sender may not write this log: check --primary at both sites",
}

func nextForStopped(code string) string {
	if next, ok := nextSteps[code]; ok {
		return next
	}
	return "fix the cause above, then restart the node"
}

func healthText(o *output, health, reason string) painted {
	text := o.color(health, tty.Plain(health))
	if reason != "" {
		text += ": " + tty.Plain(reason)
	}
	return painted(text)
}

func transportText(transport, reason string) string {
	if transport == "" {
		return "transport none"
	}
	if reason != "" {
		return "transport " + transport + " (" + reason + ")"
	}
	return "transport " + transport
}

func insecureText(insecure bool) string {
	if insecure {
		return "  links without TLS"
	}
	return ""
}

func appendText(a *engine.AppendStatus) string {
	text := a.State
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	var parts []string
	for _, part := range []struct {
		name  string
		count int
	}{{"verified", a.Verified}, {"unverified", a.Unverified}, {"waiting", a.Waiting}, {"refused", a.Refused}} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.name))
		}
	}
	if len(parts) > 0 {
		text += "  (shards: " + strings.Join(parts, ", ") + ")"
	}
	text += fmt.Sprintf("  %s, %s since open", plural(a.Entries, "entry", "entries"), humanBytes(int64(a.Bytes)))
	if a.PendingBytes > 0 {
		text += ", " + humanBytes(a.PendingBytes) + " not yet durable"
	}
	return text
}

func journalText(j *engine.JournalStatus) string {
	text := fmt.Sprintf("journal %s %s  %s, %s, %s", j.Name, j.State,
		plural(j.Segments, "segment", "segments"), humanBytes(j.Bytes), plural(j.Units, "flush unit", "flush units"))
	if j.HeldBy != "" {
		text += ", kept for " + j.HeldBy
	}
	if j.Reason != "" {
		text += ": " + j.Reason
	}
	if j.Damage > 0 || j.Holes > 0 {
		text += "  " + damageText(j)
	}
	return text
}

// damageText says what was found, what is repaired, and what is still missing.
func damageText(j *engine.JournalStatus) string {
	text := "damage at " + plural(j.Damage, "place", "places")
	switch {
	case j.Holes == 0:
		return text + " took nothing"
	case j.Missing == 0:
		return text + fmt.Sprintf(" took %s, all repaired", plural(j.Holes, "stretch", "stretches"))
	}
	took := plural(j.Holes, "stretch", "stretches")
	text += fmt.Sprintf(" took %s: %d repaired, %d missing", took, j.Repaired, j.Missing)
	if j.Suspect > 0 {
		text += ", " + plural(j.Suspect, "suspect log", "suspect logs")
	}
	return text
}

func linkText(p *engine.PeerStatus) string {
	if p.Addr == "" {
		return p.Link
	}
	return p.Link + " " + p.Addr
}

func rttText(seconds *float64) string {
	if seconds == nil {
		return "unknown"
	}
	return humanSeconds(*seconds)
}

// lagText writes one lag; unknown says since when, and what was never confirmed.
func lagText(s *engine.Status, p *engine.PeerStatus, l *engine.LagStatus) string {
	if l.State != engine.LagKnown || l.Seconds == nil {
		text := "unknown (" + silenceText(s, p)
		if l.AtLeastSeconds != nil && *l.AtLeastSeconds > 0 {
			text += ", at least " + humanSeconds(*l.AtLeastSeconds) + " behind"
		}
		return text + ")"
	}
	if l.Entries != nil && *l.Entries == 0 {
		return humanSeconds(*l.Seconds)
	}
	text := humanSeconds(*l.Seconds)
	if parts := amounts(l.Bytes, l.Entries); len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// sizeText is a lag in one line without brackets.
func sizeText(seconds float64, bytes, entries *int64) string {
	return strings.Join(append([]string{humanSeconds(seconds)}, amounts(bytes, entries)...), ", ")
}

func amounts(bytes, entries *int64) (parts []string) {
	if bytes != nil {
		parts = append(parts, humanBytes(*bytes))
	}
	if entries != nil {
		parts = append(parts, plural(*entries, "entry", "entries"))
	}
	return parts
}

// learnerText says what a learner is missing, and how long that takes.
func learnerText(p *engine.PeerStatus) string {
	bytes, entries := p.Durable.Bytes, p.Durable.Entries
	if p.Durable.State != engine.LagKnown {
		bytes, entries = p.Durable.AtLeastBytes, p.Durable.AtLeastEntries
	}
	text := "what it is missing is not known"
	if parts := amounts(bytes, entries); len(parts) > 0 {
		text = "it is missing " + strings.Join(parts, ", ")
	}
	if p.CatchUpSeconds != nil {
		text += ", about " + humanSeconds(*p.CatchUpSeconds) + " at its present rate"
	}
	return text
}

// behindText says how far this site is behind the writer p.
func behindText(s *engine.Status, p *engine.PeerStatus) string {
	text := fmt.Sprintf("how far %s is behind %s: unknown", s.Site, p.Site)
	switch b := p.Behind; {
	case b.Seconds != nil && *b.Seconds == 0:
		text = fmt.Sprintf("%s has everything that %s had at its newest heartbeat", s.Site, p.Site)
	case b.Seconds != nil:
		text = fmt.Sprintf("%s is %s behind %s", s.Site, humanSeconds(*b.Seconds), p.Site)
	case b.AtLeastSeconds != nil:
		text += ", at least " + humanSeconds(*b.AtLeastSeconds)
	default:
		text += " (no fresh heartbeat of a session)"
	}
	if n := s.Apply.BacklogEntries; n > 0 {
		text += fmt.Sprintf("; its Store has yet to show %s", plural(n, "entry", "entries"))
	}
	return text
}

// silenceText says how long nothing was heard of p.
func silenceText(s *engine.Status, p *engine.PeerStatus) string {
	if p.HeardAt == nil {
		return "never heard since start"
	}
	return "no ack for " + humanSeconds(max(0, s.At.Sub(*p.HeardAt).Seconds()))
}

// loseText says what a failover would lose: while unknown, at least what the peer has
// not confirmed.
func loseText(s *engine.Status, p *engine.PeerStatus, l *engine.LagStatus) string {
	switch {
	case l.State == engine.LagKnown && l.Entries != nil && *l.Entries == 0:
		return "nothing"
	case l.State != engine.LagKnown && l.AtLeastEntries != nil && l.AtLeastSeconds != nil && *l.AtLeastEntries > 0:
		return fmt.Sprintf("at least %s (%s)", sizeText(*l.AtLeastSeconds, l.AtLeastBytes, l.AtLeastEntries),
			silenceText(s, p))
	case l.State != engine.LagKnown && l.AtLeastEntries != nil:
		return fmt.Sprintf("unknown (%s; it had confirmed everything)", silenceText(s, p))
	}
	return lagText(s, p, l)
}

// diskText is what is free for the journals, when it is full, and who holds what of them.
func diskText(s *engine.Status) string {
	if s.Disk.FreeBytes == nil || s.Disk.SizeBytes == nil {
		return ""
	}
	text := fmt.Sprintf("disk %s free of %s", humanBytes(*s.Disk.FreeBytes), humanBytes(*s.Disk.SizeBytes))
	if s.Disk.FullSeconds != nil {
		text += ", full in " + humanSeconds(*s.Disk.FullSeconds) + " as the journals grow now"
	}
	for i := range s.Peers {
		if p := &s.Peers[i]; p.PinnedBytes != nil && *p.PinnedBytes > 0 {
			text += fmt.Sprintf("  kept for %s %s", p.Site, humanBytes(*p.PinnedBytes))
		}
	}
	return text
}

func promoteText(may bool, reason string) string {
	answer := "no"
	if may {
		answer = "yes"
	}
	if reason != "" {
		answer += " (" + reason + ")"
	}
	return answer
}

func orNone(s string) string { return cmp.Or(s, "none") }

func orNothing(s string) string { return cmp.Or(s, "nothing") }
