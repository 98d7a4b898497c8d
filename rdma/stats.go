package rdma

import "sync/atomic"

// Stats counts since New, over all links of a transport.
type Stats struct {
	Links          uint64 // that were set up
	SetupsRefused  uint64 // connections at listeners that became none
	FramesSent     uint64
	SentBytes      uint64
	FramesReceived uint64
	ReceivedBytes  uint64
	Sends          uint64 // entries of send queues: writes and notices
	Writes         uint64 // of those, RDMA writes
	WriteImms      uint64 // of those, with immediate: one per frame, or none where the device refuses them
	Signalled      uint64 // of Sends, that asked for a completion
	Inline         uint64 // of Writes, that were inline
	Notices        uint64 // of Sends, beside those that go with frames
	Credits        uint64 // of Notices
	CreditWaits    uint64 // frames that waited for a credit or for room in the peer's ring
	CopiedBytes    uint64 // copied before they were sent
	LandCopied     uint64 // copied out of the ring, because frames were short
	RNRs           uint64 // of the whole port since the device was opened; see RNRsKnown
	RNRsKnown      bool
	UnpinnedBytes  uint64 // of ring, stage and Regions that the newest link could not register
}

type counts struct {
	links, setupsRefused, framesSent, sentBytes, framesReceived, receivedBytes atomic.Uint64
	sends, writes, writeImms, signalled, inline, notices, credits              atomic.Uint64
	creditWaits, copied, landCopied, unpinned                                  atomic.Uint64
}

// Stats returns the counters as they are now.
func (t *Transport) Stats() Stats {
	c := &t.counts
	s := Stats{
		Links: c.links.Load(), SetupsRefused: c.setupsRefused.Load(), FramesSent: c.framesSent.Load(),
		SentBytes: c.sentBytes.Load(), FramesReceived: c.framesReceived.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Sends: c.sends.Load(), Writes: c.writes.Load(), WriteImms: c.writeImms.Load(), Signalled: c.signalled.Load(),
		Inline: c.inline.Load(), Notices: c.notices.Load(), Credits: c.credits.Load(),
		CreditWaits: c.creditWaits.Load(), CopiedBytes: c.copied.Load(), LandCopied: c.landCopied.Load(),
		UnpinnedBytes: c.unpinned.Load(),
	}
	if d, err := t.use(); err == nil {
		var count uint64
		if count, s.RNRsKnown = d.device.RNRCount(); s.RNRsKnown {
			s.RNRs = count - d.rnrs
		}
		d.release()
	}
	return s
}
