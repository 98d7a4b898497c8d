package engine

import (
	"cmp"
	"fmt"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// Words of Status. Closed lists.
const (
	rolePrimary = "primary"
	roleStandby = "standby"
	heldByStore = "store"
)

// Status is one snapshot: command line, HTTP API, metrics and health print it.
func (e *Engine) Status() Status {
	e.heart.mu.Lock()
	heart := e.heart.node.Status(e.now())
	e.heart.mu.Unlock()
	held := e.epoch.Load()
	s := Status{
		Schema: 1, Kind: "status", At: heart.At, Cluster: e.id.clusterName, Site: e.id.siteName,
		Role: e.role(e.id.siteName), Primary: held.name, Epoch: uint64(held.at), Term: uint32(heart.Term),
		Shards: len(e.shards), Transport: e.path.carriers[0].Name(), TransportReason: e.transportReason(),
		Listen: e.Addr(), Insecure: e.o.Insecure, DataPath: e.dataPathStatus(), Incoming: e.incomingStatus(),
		Journals: []JournalStatus{}, Peers: []PeerStatus{}, StoppedLogs: e.stoppedLogs(heart.Stopped),
	}
	s.Appends = e.appendStatus(heart.Admission, heart.Withheld)
	for _, f := range e.journals() {
		s.Journals = append(s.Journals, e.journalStatus(f))
	}
	s.Disk, s.Apply, s.Mending = e.diskStatus(s.Journals), e.applyStatus(), e.mendingStatus()
	s.Orphans = e.orphanStatus()
	for i := range heart.Peers {
		s.Peers = append(s.Peers, e.peerStatus(&heart.Peers[i]))
	}
	s.MayPromote, s.MayPromoteReason = e.mayTakeOver()
	s.Health, s.Reason = e.health(&s)
	return s
}

// Health says where to write now. It is cheap enough for every client that looks for the writer.
func (e *Engine) Health() Hints {
	e.heart.mu.Lock()
	heart := e.heart.node.Status(e.now())
	e.heart.mu.Unlock()
	held, appends := e.epoch.Load(), e.appendStatus(heart.Admission, heart.Withheld)
	h := Hints{
		Schema: 1, Kind: "hints", Site: e.id.siteName, Epoch: uint64(held.at), Writer: held.name,
		Open: appends.State == AppendsOpen || appends.State == AppendsPartly, Reason: appends.Reason,
		Sites: []SiteHint{{e.id.siteName, e.o.Admin}},
	}
	if e.raising.Load() {
		h.Open, h.Reason = false, "another epoch begins"
	}
	if !h.Open && held.name == h.Site {
		h.RetrySeconds = hintsRetry.Seconds()
	}
	for _, r := range e.routes() {
		hint := SiteHint{Site: r.name}
		for i := range e.o.Peers {
			if e.o.Peers[i].Site == r.name {
				hint.Admin = e.o.Peers[i].Admin
			}
		}
		h.Sites = append(h.Sites, hint)
	}
	return h
}

func (e *Engine) incomingStatus() (s IncomingStatus) {
	if c, ok := e.listener.(link.IncomingCounter); ok {
		s = IncomingStatus(c.Incoming())
	}
	return s
}

func (e *Engine) role(site string) string {
	if site == e.epoch.Load().name {
		return rolePrimary
	}
	return roleStandby
}

func (e *Engine) appendStatus(shards map[node.Admission]int, withheld string) AppendStatus {
	totals := e.writer.Load().Totals()
	a := AppendStatus{
		Verified: shards[node.AdmitVerified], Unverified: shards[node.AdmitUnverified],
		Waiting: shards[node.AdmitWaiting], Refused: shards[node.AdmitRefused],
		Entries: totals.Entries, Bytes: totals.Bytes, PendingBytes: e.writer.Load().PendingBytes(),
	}
	open := a.Verified + a.Unverified
	switch {
	case e.Err() != nil || e.closing.Load():
		a.State, a.Reason = AppendsRefused, e.stoppedError().Error()
	case shards[node.AdmitStandby] > 0:
		a.State, a.Reason = AppendsStandby, fmt.Sprintf("site %s writes", e.epoch.Load().name)
	case a.Waiting > 0 && open == 0:
		a.State, a.Reason = AppendsWaiting, cmp.Or(withheld, "for a peer to confirm where the logs end: start it")
	case a.Refused == len(e.shards):
		a.State, a.Reason = AppendsRefused, cmp.Or(withheld, "every shard's log is stopped: see stopped_logs")
	case open < len(e.shards):
		a.State = AppendsPartly
		a.Reason = fmt.Sprintf("of %d shards, waiting for a peer: %d, stopped: %d; see stopped_logs",
			len(e.shards), a.Waiting, a.Refused)
	default:
		a.State = AppendsOpen
		if a.Unverified > 0 {
			a.Reason = fmt.Sprintf("not every peer confirmed where the logs of %d of %d shards end: start those that "+
				"were not heard, or forget what never comes", a.Unverified, len(e.shards))
		}
	}
	return a
}

func (e *Engine) journalStatus(f *flusher) JournalStatus {
	stats := f.j.Stats()
	s := JournalStatus{
		Name: f.name, State: JournalOK, Segments: stats.Segments, Bytes: stats.Bytes, Units: stats.Units,
		Damage: stats.Damaged, Holes: stats.Holes, Repaired: stats.Repaired, Missing: stats.Holes - stats.Repaired,
	}
	for _, hole := range f.j.Holes() {
		if hole.To == (wire.Position{}) {
			s.Suspect++
		}
	}
	if err := f.impediments(); err != nil {
		s.State, s.Reason = JournalImpeded, err.Error()
	}
	if err := f.err(); err != nil {
		s.State, s.Reason = JournalPoisoned, err.Error()
	}
	s.HeldBy = e.heldBy(f)
	return s
}

// heldBy names what a journal keeps its oldest segment for.
func (e *Engine) heldBy(f *flusher) string {
	log, held := f.j.Holder(e.floorOf(f.kind))
	if !held {
		return ""
	}
	e.heart.mu.Lock()
	site := e.heart.node.Holder(f.kind, log)
	name := e.heart.node.SiteName(site)
	e.heart.mu.Unlock()
	if site == 0 {
		return heldByStore
	}
	return name
}

func (e *Engine) applyStatus() ApplyStatus {
	s := ApplyStatus{State: ApplyOK, BacklogEntries: e.appliers.backlog(), Entries: e.appliers.applied.Load()}
	switch {
	case e.storeError() != nil || e.appliers.stopped.Load() > 0:
		s.State = ApplyStopped
	case s.BacklogEntries > 0:
		s.State = ApplyBehind
	}
	return s
}

func (e *Engine) storeError() error {
	e.errMu.Lock()
	defer e.errMu.Unlock()
	return cmp.Or(e.storeErr[:]...)
}

func (e *Engine) stoppedLogs(logs []node.StoppedLog) []StoppedLog {
	stopped := []StoppedLog{}
	for _, l := range logs {
		stopped = append(stopped, StoppedLog{
			Site: e.siteName(l.Log.Site), Shard: int(l.Log.Shard), Code: l.Code.String(), Reason: l.Reason,
		})
	}
	return stopped
}

func (e *Engine) peerStatus(p *node.PeerStatus) PeerStatus {
	s := PeerStatus{
		Site: p.Name, Role: e.role(p.Name), Link: p.Link, Addr: e.peerAddr(p.Site),
		Durable: lagStatus(p.Durable), Applied: lagStatus(p.Applied), WaitingOn: string(p.WaitingOn),
		WindowBytes: p.WindowBytes, WindowUsed: p.WindowUsed, SentFrames: p.FramesSent, SentBytes: p.BytesSent,
		Sessions: p.Sessions, ReceivedFrames: p.FramesReceived, ReceivedBytes: p.BytesReceived,
		AcceptedSessions: p.SessionsAccepted, StagedBytes: p.Staged, Behind: behindStatus(p),
		WouldLose: lagStatus(p.Durable), StoppedLogs: e.stoppedLogs(p.Stopped), LeftOutLogs: int(p.LeftOut),
		Learner: p.Learner,
	}
	s.Transport, s.TransportReason = e.peerTransport(p)
	if p.Pinned >= 0 {
		pinned := p.Pinned
		s.PinnedBytes = &pinned
	}
	if l := e.links.get(p.Dialed); l != nil {
		s.Addr = l.conn.RemoteAddr() // of several, and after a move, the one that answers
	}
	if l := e.links.get(cmp.Or(p.Dialed, p.Accepted)); l != nil {
		s.Streams = max(1, link.InfoOf(l.conn).Streams)
	}
	if !p.LastHeard.IsZero() {
		heard := p.LastHeard
		s.HeardAt = &heard
	}
	if p.CatchUpRate > 0 {
		rate, left := p.CatchUpRate, p.CatchUpSeconds
		s.CatchUpRate, s.CatchUpSeconds = &rate, &left
	}
	if p.RTT > 0 {
		rtt := p.RTT.Seconds()
		s.RTTSeconds = &rtt
	}
	switch {
	case s.Link == "refused":
		s.Health, s.Reason = HealthFailed, p.Reason
	case len(p.Stopped) > 0:
		s.Health, s.Reason = HealthFailed, logsAreStopped(len(p.Stopped))+": see stopped_logs"
	case p.LeftOut > 0:
		s.Health, s.Reason = HealthFailed, fmt.Sprintf(
			"stopped towards this site: %d of its logs; stopped_logs there says why", p.LeftOut)
	case s.Link != "live" && s.Link != "catching up":
		s.Health, s.Reason = HealthDegraded, linkReason(&s, p.Reason)
	case s.Durable.State != LagKnown && e.role(e.id.siteName) == rolePrimary: // else its logs are closed
		s.Health, s.Reason = HealthDegraded, "no fresh answer proves how far it is behind"
	default:
		s.Health = HealthOK
	}
	s.MayPromote, s.MayPromoteReason = e.mayPromote(&s)
	return s
}

// mayTakeOver says whether an operator may have this site take over.
func (e *Engine) mayTakeOver() (may bool, why string) {
	err := cmp.Or(e.Err(), e.own.err(), e.mirror.err(), e.storeError(), e.unmended())
	switch {
	case e.o.AppendAt:
		return false, "its host feeds the log, and moves the writer by itself"
	case e.role(e.id.siteName) == rolePrimary:
		return false, "it writes"
	case err != nil:
		return false, err.Error()
	}
	return true, ""
}

// mayPromote says whether an operator may make a peer the writer, as far as this site knows.
func (e *Engine) mayPromote(p *PeerStatus) (may bool, why string) {
	switch {
	case e.o.AppendAt:
		return false, "its host feeds the log, and moves the writer by itself"
	case p.Role == rolePrimary:
		return false, "it writes"
	case p.Learner:
		return false, "a learner, which does not hold everything yet"
	case p.Health == HealthFailed:
		return false, p.Reason
	}
	return true, ""
}

// chosenByPeer is the reason for what carries a link that this site did not dial.
const chosenByPeer = "chosen by the peer"

// peerTransport is what carries the session that this site dialed; while there is
// none, the one that it accepted; else what the next dial takes.
func (e *Engine) peerTransport(p *node.PeerStatus) (transport, reason string) {
	r := e.routeTo(p.Site)
	if l := e.links.get(p.Accepted); p.Dialed == 0 && l != nil {
		if i, ok := l.conn.(link.Informer); ok {
			if len(e.path.carriers) > 1 {
				reason = chosenByPeer
			}
			return i.Info().Transport, reason
		}
	}
	if r == nil {
		return "", ""
	}
	return r.status()
}

func linkReason(s *PeerStatus, reason string) string {
	if reason == "" {
		return "the link is " + s.Link
	}
	return fmt.Sprintf("the link is %s: %s", s.Link, reason)
}

func (e *Engine) peerAddr(site wire.SiteID) string {
	if r := e.routeTo(site); r != nil {
		if addrs := r.addresses(); len(addrs) > 0 {
			return addrs[0]
		}
	}
	return ""
}

// lagStatus shows numbers only when they are proven: unknown is never zero.
func lagStatus(l lag.Lag) LagStatus {
	seconds, entries := l.Time.Seconds(), l.Entries
	var bytes *int64
	if l.Bytes >= 0 {
		bytes = &l.Bytes
	}
	if !l.Known {
		return LagStatus{
			State: LagUnknown, AtLeastSeconds: &seconds, AtLeastBytes: bytes, AtLeastEntries: &entries,
		}
	}
	return LagStatus{State: LagKnown, Seconds: &seconds, Bytes: bytes, Entries: &entries}
}

// behindStatus is how far this site is behind p; nil if p does not write.
func behindStatus(p *node.PeerStatus) *LagStatus {
	if !p.Writes {
		return nil
	}
	s, seconds := &LagStatus{State: LagUnknown}, p.Behind.Time.Seconds()
	switch {
	case p.Behind.Known:
		s.State, s.Seconds = LagKnown, &seconds
		if seconds == 0 {
			s.Bytes, s.Entries = new(int64), new(int64)
		}
	case seconds > 0:
		s.AtLeastSeconds = &seconds
	}
	return s
}

// health is the word that an operator sees first, with the worst fact.
func (e *Engine) health(s *Status) (word, reason string) {
	for _, f := range e.journals() {
		if err := f.err(); err != nil {
			return HealthFailed, err.Error()
		}
	}
	if err := e.storeError(); err != nil {
		return HealthFailed, err.Error()
	}
	if torn := e.appliers.tornShards(); len(torn) > 0 && s.Mending.State == MendingNone {
		return HealthFailed, fmt.Sprintf("the mending of %d shards is not complete, the first is shard %d: "+
			"cfs admin replication mend %d --from SITE", len(torn), torn[0], torn[0])
	}
	if n := len(s.StoppedLogs); n > 0 {
		l := &s.StoppedLogs[0]
		return HealthFailed, fmt.Sprintf("%s; the first is site %s shard %d: %s",
			logsAreStopped(n), l.Site, l.Shard, l.Reason)
	}
	if s.Appends.State == AppendsRefused {
		return HealthFailed, "appends: " + s.Appends.Reason
	}
	for i := range s.Peers {
		if p := &s.Peers[i]; p.Health == HealthFailed {
			return HealthFailed, fmt.Sprintf("site %s: %s", p.Site, p.Reason)
		}
	}
	for i := range s.Peers {
		if p := &s.Peers[i]; p.Health != HealthOK {
			return HealthDegraded, fmt.Sprintf("site %s: %s", p.Site, p.Reason)
		}
	}
	if err := e.lockRemoved(); err != nil {
		return HealthDegraded, err.Error()
	}
	if a := &s.Appends; a.State == AppendsWaiting || a.State == AppendsPartly || a.Unverified > 0 {
		return HealthDegraded, "appends: " + a.Reason
	}
	if o := &s.Orphans; o.Reason != "" || o.Entries > 0 {
		return HealthDegraded, o.text()
	}
	for _, f := range e.journals() {
		if err := f.impediments(); err != nil {
			return HealthDegraded, fmt.Sprintf("%s journal: %v; it is tried again", f.name, err)
		}
		if holes := f.j.Holes(); len(holes) > 0 {
			h := &holes[0]
			return HealthDegraded, fmt.Sprintf("damage took %s of the %s journal that nothing has filled yet: a peer "+
				"that has it gives it back; the first is of site %s shard %d behind seq %d",
				stretches(len(holes)), f.name, e.siteName(h.Log.Site), h.Log.Shard, h.From.Seq)
		}
	}
	return HealthOK, ""
}

func logsAreStopped(n int) string {
	if n == 1 {
		return "1 log is stopped"
	}
	return fmt.Sprintf("%d logs are stopped", n)
}

func stretches(n int) string {
	if n == 1 {
		return "1 stretch"
	}
	return fmt.Sprintf("%d stretches", n)
}
