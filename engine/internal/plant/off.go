//go:build !plant

package plant

// Name is the mistake that this process makes: none.
const Name = ""

// Of the journal.
const (
	// AckBeforeWrite counts a unit as durable while its bytes wait for the next one.
	AckBeforeWrite = false
	// AckBeforeFlush counts a unit as durable once it is written.
	AckBeforeFlush = false
	// FlushRetried flushes again after a failed flush, and believes the second
	// answer.
	FlushRetried = false
	// ErrorSwallowed goes on after a failed write or flush as if it had ended well.
	ErrorSwallowed = false
	// DirNotSynced makes a new segment's bytes durable and not its name.
	DirNotSynced = false
	// RecoveredNotFlushed counts what recovery read from the system's cache.
	RecoveredNotFlushed = false
	// OldNotFlushed counts segments behind the newest head that holds without a flush.
	OldNotFlushed = false
	// HeadNeverUsed takes a newest head that does not hold for one that never counted.
	HeadNeverUsed = false
	// OneHeadKept gives segments back until the newest head alone says what it says.
	OneHeadKept = false
	// LeavingUntold tells nobody that the last reader left a segment that may go.
	LeavingUntold = false
	// FileLackFatal stops a journal that finds no descriptor for its next segment.
	FileLackFatal = false
	// StageTailKept leaves staged tails where a Stage that failed had moved them.
	StageTailKept = false
	// RepairNameLost makes a repair's bytes durable and not its name.
	RepairNameLost = false
	// MarkAhead writes the unit's own number as durable through.
	MarkAhead = false
	// StaleUnit counts units beyond the end that a later opening declared.
	StaleUnit = false
	// GapAcked acknowledges a unit while one before it is under way.
	GapAcked = false
	// PlaceUnchecked counts a unit whatever place and number it names.
	PlaceUnchecked = false
	// TailLost leaves logs that were idle out of the next segment's head.
	TailLost = false
	// ClockForgotten leaves the clock's bound out of the next segment's head.
	ClockForgotten = false
	// TornMiddle takes damage for a torn tail without looking at what lies behind.
	TornMiddle = false
	// RotUnread reads batches without comparing their digests.
	RotUnread = false
	// ApplyBeforeFlush lets readers of the mirror see a unit once it is written.
	ApplyBeforeFlush = false
	// RepairUnread reads past the repairs of damage.
	RepairUnread = false
	// ClaimsUncounted lets an open batch grow without counting it as pending.
	ClaimsUncounted = false
	// HoleUnseen takes a log whose next batch damage took for one that is whole.
	HoleUnseen = false
	// TailUnlisted leaves the last log out where a journal tells where its logs end.
	TailUnlisted = false
	// TailUntold does not tell a writer where its logs ended before.
	TailUntold = false
	// BoundOnce persists a clock bound for the first stamps only.
	BoundOnce = false
	// ShipBeforeFlush lets readers of the own journal see a unit once it is written.
	ShipBeforeFlush = false
)

// Of the stream.
const (
	// AnswersMisplaced goes on reading where it is when another question comes.
	AnswersMisplaced = false
)

// Of the heart.
const (
	// FailedTailKept takes a new session's batches where a failed stage left the tails.
	FailedTailKept = false
	// AppendUnproven admits appends before any peer has said where it stands.
	AppendUnproven = false
	// ResumeFromSent resumes a session behind what was sent, not behind what the
	// peer has.
	ResumeFromSent = false
	// AckOnReceipt acknowledges a frame as durable when it has arrived.
	AckOnReceipt = false
	// BadFrameAcked takes what holds of a frame whose digests do not, and
	// acknowledges the frame.
	BadFrameAcked = false
	// OwnDamageKept leaves what damage took from an own log as it is.
	OwnDamageKept = false
	// BackUntold tries once only, when it may be too early, to serve peers that had
	// damaged what is here again.
	BackUntold = false
	// AckOverRefusal counts a frame's ack for logs that the peer has refused.
	AckOverRefusal = false
	// EarlyWelcome begins a session while batches of the former one are under way.
	EarlyWelcome = false
	// StaleSession takes frames of an older session.
	StaleSession = false
	// RetainBySent gives back what was sent, not what is durable at the peer.
	RetainBySent = false
	// RetainPastStore gives back what the Store has applied and not flushed.
	RetainPastStore = false
	// RetainPastAbsent gives back what a peer that is away still needs.
	RetainPastAbsent = false
	// CursorAhead saves a peer's cursor where the source has sent to.
	CursorAhead = false
	// FloorsStuck never raises a floor, so that nothing is ever given back.
	FloorsStuck = false
	// MirrorFloorAlone gives back what another site's mirror still lacks.
	MirrorFloorAlone = false
	// CursorsUnsaved never writes what peers have confirmed.
	CursorsUnsaved = false
	// NoBackPressure reads on, and asks on, whatever waits for the medium.
	NoBackPressure = false
	// LagByIgnorance reports a lag of zero when nobody knows.
	LagByIgnorance = false
	// AppliedLagByDurable reports how far the peer's journal is behind as how far its
	// Store is.
	AppliedLagByDurable = false
	// LagTimeConstant reports one and the same age for whatever is missing.
	LagTimeConstant = false
	// DurableByReceived wakes who waits for durable when a peer has received.
	DurableByReceived = false
	// MirrorStuck has a mirror wait for what its writer does not keep, although the Store is past it.
	MirrorStuck = false
	// StoreIgnored lets a log take appends although the Store has entries that its journal lost.
	StoreIgnored = false
	// FreshWriter lets a new directory write once VerifyWait has passed, whatever others name.
	FreshWriter = false
	// LearnerCounts passes on what a learner confirms, before it holds everything.
	LearnerCounts = false
	// VerifiedUnheard takes a log for verified although a peer was not heard.
	VerifiedUnheard = false
)

// Of the applier.
const (
	// CursorFirst commits the cursor on its own, before the effects.
	CursorFirst = false
	// EffectsFirst commits the effects on their own, before the cursor.
	EffectsFirst = false
	// AppliedAgain takes the batch that ends at the cursor for a new one.
	AppliedAgain = false
	// WaitKept leaves logs waiting for a repair that is in place.
	WaitKept = false
)

// Of epochs.
const (
	// StartUncovered takes a START whose rows are not covered.
	StartUncovered = false
	// RowsIgnored applies what lies beyond the end of a log.
	RowsIgnored = false
	// PastIgnored goes on applying to a Store that is past an end.
	PastIgnored = false
	// OwnNotHeld applies what an earlier writer wrote last before it knows where that ends.
	OwnNotHeld = false
	// FillSkipped opens a shard before what peers have of older logs is here and applied.
	FillSkipped = false
	// OldEpochWelcome welcomes a session of an epoch that is over.
	OldEpochWelcome = false
	// StartsUnkept forgets where closed logs end, with the batches that said so.
	StartsUnkept = false
	// SeqOfAnyLife compares sequence numbers of different incarnations.
	SeqOfAnyLife = false
)
