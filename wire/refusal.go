package wire

// RefusalCode is why a session ended or a log was refused. Part of the format,
// never reuse.
type RefusalCode uint16

const (
	RefuseVersion            RefusalCode = 1
	RefuseCluster            RefusalCode = 2
	RefuseSite               RefusalCode = 3 // not the site that was meant, or not a configured peer
	RefuseSiteCollision      RefusalCode = 4 // same SiteID, other name
	RefuseShards             RefusalCode = 5
	RefuseSession            RefusalCode = 6 // an older (term, counter) than the highest seen
	RefuseFeature            RefusalCode = 7
	RefuseDigestKind         RefusalCode = 8
	RefusePrimary            RefusalCode = 9 // the ends disagree about who writes
	RefuseMalformed          RefusalCode = 10
	RefuseGoodbye            RefusalCode = 11 // no fault: the other end is closing
	RefuseSuperseded         RefusalCode = 12 // a newer session of the same pair took over
	RefuseInternal           RefusalCode = 13
	RefuseFenced             RefusalCode = 14 // the session's epoch is below ours, which Refusal.Epoch tells
	RefuseRemoved            RefusalCode = 16 // an operator removed the site
	RefuseUnknownIncarnation RefusalCode = 32
	RefuseChain              RefusalCode = 33 // same seq, other chain: histories differ
	RefuseGap                RefusalCode = 34 // first seq beyond the tail
	RefuseEpoch              RefusalCode = 35
	RefuseOrder              RefusalCode = 36 // stamps or seqs do not rise
	RefuseSuspect            RefusalCode = 37 // this copy is damaged and not yet repaired
	RefuseNotRetained        RefusalCode = 38 // the batches asked for are gone
	RefuseShardRange         RefusalCode = 39
	RefuseNotWriter          RefusalCode = 40
)
