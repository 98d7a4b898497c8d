package node

import (
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// The words of a step, as the shells know them: package step has them, because the rooms
// of the heart speak them too.
type (
	Now          = step.Now
	Config       = step.Config
	Peer         = step.Peer
	Log          = step.Log
	Boot         = step.Boot
	LinkID       = step.LinkID
	Journal      = step.Journal
	Input        = step.Input
	Tick         = step.Tick
	End          = step.End
	LinkUp       = step.LinkUp
	LinkDown     = step.LinkDown
	FrameIn      = step.FrameIn
	Sought       = step.Sought
	ReadDone     = step.ReadDone
	OwnDurable   = step.OwnDurable
	Durable      = step.Durable
	StageFailed  = step.StageFailed
	Repaired     = step.Repaired
	Persisted    = step.Persisted
	Applied      = step.Applied
	StoreDurable = step.StoreDurable
	JournalDown  = step.JournalDown
	ApplyStopped = step.ApplyStopped
	LogDamaged   = step.LogDamaged
	Granted      = step.Granted
	AddPeer      = step.AddPeer
	Forget       = step.Forget
	Loss         = step.Loss
	VerifyAsk    = step.VerifyAsk
	VerifyAnswer = step.VerifyAnswer
	Mended       = step.Mended
	Effects      = step.Effects
	OpKind       = step.OpKind
	Op           = step.Op
	StageKind    = step.StageKind
	Stage        = step.Stage
	Clear        = step.Clear
	Persist      = step.Persist
	Progress     = step.Progress
	Admission    = step.Admission
	Admit        = step.Admit
	Open         = step.Open
	Asked        = step.Asked
	Told         = step.Told
	StoppedLog   = step.StoppedLog
)

const (
	RemovedMax              = step.RemovedMax
	PeerCountMax            = step.PeerCountMax
	WindowBytesDefault      = step.WindowBytesDefault
	VerifyWaitDefault       = step.VerifyWaitDefault
	HeartbeatTimeoutDefault = step.HeartbeatTimeoutDefault

	Own              = step.Own
	Mirror           = step.Mirror
	OpDial           = step.OpDial
	OpClose          = step.OpClose
	OpSend           = step.OpSend
	OpSeek           = step.OpSeek
	OpRead           = step.OpRead
	OpShip           = step.OpShip
	OpAnswer         = step.OpAnswer
	OpGrant          = step.OpGrant
	StageMirror      = step.StageMirror
	StageRestore     = step.StageRestore
	StageRepair      = step.StageRepair
	AdmitWaiting     = step.AdmitWaiting
	AdmitVerified    = step.AdmitVerified
	AdmitUnverified  = step.AdmitUnverified
	AdmitRefused     = step.AdmitRefused
	AdmitStandby     = step.AdmitStandby
	PointWindowOfOne = step.PointWindowOfOne
	PointBatchAFrame = step.PointBatchAFrame
	PointGrantOfOne  = step.PointGrantOfOne
)

var (
	ErrSuspect  = step.ErrSuspect
	ErrDiverged = step.ErrDiverged
	ErrPeers    = step.ErrPeers
	ErrHeard    = step.ErrHeard
	ErrLinked   = step.ErrLinked
	ErrWriter   = step.ErrWriter
	ErrNoPeer   = step.ErrNoPeer
	ErrOver     = step.ErrOver
	ErrNoLink   = step.ErrNoLink
	ErrDataLost = step.ErrDataLost
	ErrWithheld = step.ErrWithheld
)

// Members merges the peers that a configuration names with those on record.
func Members(named []Peer, sites []wire.SiteRecord, removed []wire.RemovedSite) []step.Member {
	return step.Members(named, sites, removed)
}

// Check says why no node can be made of c and b.
func Check(c *Config, b *Boot) error { return step.Check(c, b) }
