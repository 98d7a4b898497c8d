package event

import (
	"fmt"
	"time"

	"github.com/claudefs/repl/wire"
)

// PeerBehind: a peer came back without what it once confirmed of an own log.
type PeerBehind struct {
	Place
	Has, Confirmed wire.Position
}

func (*PeerBehind) Kind() Kind { return KindPeerBehind }

func (e *PeerBehind) Text(n Names) string {
	if !e.Has.Same(e.Confirmed) {
		return fmt.Sprintf("%s: site %s came back with seq %d of incarnation %s, it once confirmed seq %d of "+
			"incarnation %s",
			n.log(e.Log), n(e.Peer), e.Has.Seq, e.Has.Incarnation, e.Confirmed.Seq, e.Confirmed.Incarnation)
	}
	return fmt.Sprintf(
		"%s: site %s came back with seq %d, it once confirmed seq %d: an older image? sending again from there",
		n.log(e.Log), n(e.Peer), e.Has.Seq, e.Confirmed.Seq)
}

// LogStopped: an own log left the session to a peer.
type LogStopped struct {
	Place
	Code   wire.RefusalCode
	Reason string
}

func (*LogStopped) Kind() Kind { return KindLogStopped }

func (e *LogStopped) Text(n Names) string {
	return fmt.Sprintf("%s stopped towards site %s: %s", n.log(e.Log), n(e.Peer), e.Reason)
}

// LogRefused: we refused a log of a peer.
type LogRefused struct {
	Place
	Code   wire.RefusalCode
	Reason string
}

func (*LogRefused) Kind() Kind { return KindLogStopped }

func (e *LogRefused) Text(n Names) string {
	return fmt.Sprintf("refused %s from site %s: %s", n.log(e.Log), n(e.Peer), e.Reason)
}

// LostFetched: a peer has more of an own log, and gives it back.
type LostFetched struct {
	Place
	Tail wire.Position // of the journal
	Has  wire.Position
}

func (*LostFetched) Kind() Kind { return KindDataLost }

func (e *LostFetched) Text(n Names) string {
	return fmt.Sprintf("%s: the journal ends at seq %d, site %s has seq %d: fetching it back",
		n.log(e.Log), e.Tail.Seq, n(e.Peer), e.Has.Seq)
}

// LostBeforeStore: what lies between an own journal and the Store is nowhere, and the log
// goes on behind the Store: by an operator's word, or because no site keeps it.
type LostBeforeStore struct {
	Place
	Tail, Store wire.Position
	ByOperator  bool
}

func (*LostBeforeStore) Kind() Kind { return KindDataLost }

func (e *LostBeforeStore) Text(n Names) string {
	if e.ByOperator {
		return fmt.Sprintf("%s: the journal ends at seq %d, the Store is at seq %d: the log goes on behind that, "+
			"by the operator's word; what was acknowledged and not applied is lost",
			n.log(e.Log), e.Tail.Seq, e.Store.Seq)
	}
	return fmt.Sprintf("%s: the journal ends at seq %d, the Store is at seq %d, and no site keeps what lies "+
		"between: the log goes on behind the Store; what was acknowledged here only, and not applied, is lost",
		n.log(e.Log), e.Tail.Seq, e.Store.Seq)
}

// LostInDamage: a damaged own log ends where it can be read, because no site has more.
type LostInDamage struct {
	Place
	Tail wire.Position
}

func (*LostInDamage) Kind() Kind { return KindDataLost }

func (e *LostInDamage) Text(n Names) string {
	return fmt.Sprintf("%s: the damaged journal can be read up to seq %d, and no site has more: the log goes on "+
		"behind that; what was acknowledged here only, and lay in the damage, is lost", n.log(e.Log), e.Tail.Seq)
}

// DataRestored: a peer gave an own log back, up to Tail; it had Goal.
type DataRestored struct {
	Place
	Tail, Goal wire.Position
}

func (*DataRestored) Kind() Kind { return KindDataRestored }

func (e *DataRestored) Text(n Names) string {
	if e.Tail == e.Goal {
		return fmt.Sprintf("%s: site %s gave back everything up to seq %d", n.log(e.Log), n(e.Peer), e.Goal.Seq)
	}
	return fmt.Sprintf("%s: seq %d is here again, site %s has it up to seq %d",
		n.log(e.Log), e.Tail.Seq, n(e.Peer), e.Goal.Seq)
}

// Unverified: a site takes appends although not every peer confirmed where its logs end.
type Unverified struct {
	Place
	Site         wire.SiteID
	Logs, Shards int
	Waited       time.Duration
	Unheard      string // the peers, as people call them
}

func (*Unverified) Kind() Kind { return KindUnverified }

func (e *Unverified) Text(n Names) string {
	return fmt.Sprintf("site %s takes appends in %d of %d shards although not every peer confirmed their tails "+
		"within %s: %s",
		n(e.Site), e.Logs, e.Shards, e.Waited, e.Unheard)
}

// Stretch is (From, To] of a log, in the own journal or the mirror.
type Stretch struct {
	From, To wire.Position
	Own      bool
}

func (s *Stretch) copy() string {
	if s.Own {
		return "the own journal"
	}
	return "the mirror"
}

func (s *Stretch) String() string {
	return fmt.Sprintf("seqs %d to %d of %s", s.From.Seq+1, s.To.Seq, s.copy())
}

// LogDamaged: damage took a stretch of a log.
type LogDamaged struct {
	Place
	Stretch
}

func (*LogDamaged) Kind() Kind { return KindCorruption }

func (e *LogDamaged) Text(n Names) string {
	return fmt.Sprintf("%s: %s are damaged", n.log(e.Log), &e.Stretch)
}

// RepairBegun: a stretch is fetched from a peer.
type RepairBegun struct {
	Place
	Stretch
}

func (*RepairBegun) Kind() Kind { return KindLogRepair }

func (e *RepairBegun) Text(n Names) string {
	return fmt.Sprintf("%s: fetching %s from site %s", n.log(e.Log), &e.Stretch, n(e.Peer))
}

// LogRepaired: the stretch is here again.
type LogRepaired struct {
	Place
	Stretch
}

func (*LogRepaired) Kind() Kind { return KindLogRepaired }

func (e *LogRepaired) Text(n Names) string {
	return fmt.Sprintf("%s: %s are repaired", n.log(e.Log), &e.Stretch)
}

// RepairRefused: a peer cannot give what a copy lacks behind From, or gives another history.
type RepairRefused struct {
	Place
	Stretch
	Code   wire.RefusalCode
	Reason string
}

func (*RepairRefused) Kind() Kind { return KindRepairFailed }

func (e *RepairRefused) Text(n Names) string {
	return fmt.Sprintf("%s: %s behind seq %d cannot be repaired from site %s: %s",
		n.log(e.Log), e.copy(), e.From.Seq, n(e.Peer), e.Reason)
}

// RepairNotWritten: a stretch came and could not be written.
type RepairNotWritten struct {
	Place
	Stretch
	Err error
}

func (*RepairNotWritten) Kind() Kind { return KindRepairFailed }

func (e *RepairNotWritten) Text(n Names) string {
	return fmt.Sprintf("%s: %s came, but were not written: %v", n.log(e.Log), &e.Stretch, e.Err)
}

// MirrorProven: a log's own site proves where its mirror ends, which damage had left open.
type MirrorProven struct {
	Place
	Tail wire.Position
}

func (*MirrorProven) Kind() Kind { return KindLogRepaired }

func (e *MirrorProven) Text(n Names) string {
	return fmt.Sprintf("%s: site %s proves the tail of the mirror at seq %d", n.log(e.Log), n(e.Peer), e.Tail.Seq)
}

// MirrorAdopted: a mirror goes on behind the Store, because the log's site keeps nothing of
// what lies between.
type MirrorAdopted struct {
	Place
	Tail, Store wire.Position
}

func (*MirrorAdopted) Kind() Kind { return KindLogRepaired }

func (e *MirrorAdopted) Text(n Names) string {
	return fmt.Sprintf("%s: the mirror ends at seq %d, the Store is at seq %d, and site %s keeps nothing of what "+
		"lies between: the mirror goes on behind the Store", n.log(e.Log), e.Tail.Seq, e.Store.Seq, n(e.Peer))
}

// ApplyStopped: the applier of a log stopped.
type ApplyStopped struct {
	Place
	Err error
}

func (*ApplyStopped) Kind() Kind { return KindApplyStopped }

func (e *ApplyStopped) Text(n Names) string {
	return fmt.Sprintf("%s: applier stopped: %v", n.log(e.Log), e.Err)
}

// Mended: a shard here was made equal to that of a site.
type Mended struct{ Place }

func (*Mended) Kind() Kind { return KindMended }

func (e *Mended) Text(n Names) string {
	return fmt.Sprintf("shard %d was made equal to that of site %s, by digests", e.Log.Shard, n(e.Peer))
}
