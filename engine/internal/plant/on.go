//go:build plant

package plant

import "os"

// Name is the mistake that this process makes; "" = none.
var Name = os.Getenv("CLAUDEFS_PLANT")

var names []string

// planted enters a mistake into the list, and says whether it is the chosen one.
func planted(name string) bool {
	names = append(names, name)
	return name == Name
}

// Names lists every mistake.
func Names() []string { return names }

// See off.go for what they do.
var (
	AckBeforeWrite      = planted("ack-before-write")
	AckBeforeFlush      = planted("ack-before-flush")
	FlushRetried        = planted("flush-retried")
	ErrorSwallowed      = planted("error-swallowed")
	DirNotSynced        = planted("dir-not-synced")
	RecoveredNotFlushed = planted("recovered-not-flushed")
	OldNotFlushed       = planted("old-not-flushed")
	HeadNeverUsed       = planted("head-never-used")
	OneHeadKept         = planted("one-head-kept")
	LeavingUntold       = planted("leaving-untold")
	FileLackFatal       = planted("file-lack-fatal")
	StageTailKept       = planted("stage-tail-kept")
	RepairNameLost      = planted("repair-name-lost")
	FailedTailKept      = planted("failed-tail-kept")
	MarkAhead           = planted("mark-ahead")
	StaleUnit           = planted("stale-unit")
	GapAcked            = planted("gap-acked")
	PlaceUnchecked      = planted("place-unchecked")
	TailLost            = planted("tail-lost")
	ClockForgotten      = planted("clock-forgotten")
	TornMiddle          = planted("torn-middle")
	RotUnread           = planted("rot-unread")
	ApplyBeforeFlush    = planted("apply-before-flush")
	RepairUnread        = planted("repair-unread")
	ClaimsUncounted     = planted("claims-uncounted")
	HoleUnseen          = planted("hole-unseen")
	TailUnlisted        = planted("tail-unlisted")
	BoundOnce           = planted("bound-once")
	TailUntold          = planted("tail-untold")
	ShipBeforeFlush     = planted("ship-before-flush")

	AnswersMisplaced = planted("answers-misplaced")

	AppendUnproven      = planted("append-unproven")
	ResumeFromSent      = planted("resume-from-sent")
	AckOnReceipt        = planted("ack-on-receipt")
	BadFrameAcked       = planted("bad-frame-acked")
	OwnDamageKept       = planted("own-damage-kept")
	BackUntold          = planted("back-untold")
	AckOverRefusal      = planted("ack-over-refusal")
	EarlyWelcome        = planted("early-welcome")
	StaleSession        = planted("stale-session")
	RetainBySent        = planted("retain-by-sent")
	RetainPastStore     = planted("retain-past-store")
	RetainPastAbsent    = planted("retain-past-absent")
	CursorAhead         = planted("cursor-ahead")
	FloorsStuck         = planted("floors-stuck")
	MirrorFloorAlone    = planted("mirror-floor-alone")
	CursorsUnsaved      = planted("cursors-unsaved")
	NoBackPressure      = planted("no-back-pressure")
	LagByIgnorance      = planted("lag-by-ignorance")
	AppliedLagByDurable = planted("applied-lag-by-durable")
	LagTimeConstant     = planted("lag-time-constant")
	FreshWriter         = planted("fresh-writer")
	VerifiedUnheard     = planted("verified-unheard")
	LearnerCounts       = planted("learner-counts")
	DurableByReceived   = planted("durable-by-received")
	MirrorStuck         = planted("mirror-stuck")
	StoreIgnored        = planted("store-ignored")

	CursorFirst     = planted("cursor-first")
	EffectsFirst    = planted("effects-first")
	AppliedAgain    = planted("applied-again")
	WaitKept        = planted("wait-kept")
	StartUncovered  = planted("start-uncovered")
	RowsIgnored     = planted("rows-ignored")
	PastIgnored     = planted("past-ignored")
	OwnNotHeld      = planted("own-not-held")
	FillSkipped     = planted("fill-skipped")
	OldEpochWelcome = planted("old-epoch-welcome")
	StartsUnkept    = planted("starts-unkept")
	SeqOfAnyLife    = planted("seq-of-any-life")
)
