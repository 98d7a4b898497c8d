package step

import "errors"

// Reasons for which a log is not admitted; wrapped with site, shard and seqs.
var (
	// ErrSuspect: the journal is damaged and nothing proves where the log ends.
	ErrSuspect = errors.New("log is suspect after damage")
	// ErrDiverged: a peer holds another history of the log.
	ErrDiverged = errors.New("history not confirmed")
	// ErrPeers: more peers than a node can have.
	ErrPeers = errors.New("too many peers")
	// ErrHeard: the peer has answered, and may come back for what it lacks.
	ErrHeard = errors.New("peer was heard")
	// ErrLinked: the peer is linked now, so that it is not gone.
	ErrLinked = errors.New("peer is linked")
	// ErrWriter: the peer writes this cluster.
	ErrWriter = errors.New("peer is the primary")
	// ErrNoPeer: no site of that name is registered or configured.
	ErrNoPeer = errors.New("no such peer")
	// ErrOver: another epoch begins, and with it a new heart: ask that.
	ErrOver = errors.New("another epoch begins")
	// ErrNoLink: a peer cannot be asked now.
	ErrNoLink = errors.New("no link")
	// ErrDataLost: a peer or the Store has entries that the journal lost.
	ErrDataLost = errors.New("acknowledged data is missing")
	// ErrWithheld: it is not settled that this site writes, see epoch.go.
	ErrWithheld = errors.New("it is not settled which site writes")
)
