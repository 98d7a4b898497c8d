package ends

const (
	maxSites   = 3
	maxLogs    = 5
	maxSeq     = 3 // START and two appends
	maxApplied = maxLogs * maxSeq
)

// An Epoch names its writer: counter·4 + site, compared as a number. 0 is that of a fresh disk.
type Epoch uint8

func next(heard Epoch, writer int) Epoch { return (heard>>2+1)<<2 | Epoch(writer) }

func (e Epoch) holder() int { return int(e & 3) }

// A row of a START says where an incarnation ends. Log is the index + 1; 0: none.
type row struct{ log, seq uint8 }

// An incarnation is one log: batch 1 is its START, whose rows are here. Several sites hold copies
// of different lengths; what they hold is in [site].
type incarnation struct {
	epoch Epoch
	rows  [maxSites]row // by the site that wrote the named log

	// What follows is the checker's own; no rule reads it.
	safe uint8 // acknowledged at Durable(1) up to here, and each opening since then reached a holder
	late uint8 // its writer applied up to here after a raise, before it knew an end
}

// A site is what one disk keeps, and below that what a restart forgets.
type site struct {
	epoch   Epoch
	tail    [maxLogs]uint8 // the journals hold (low, tail]
	low     [maxLogs]uint8
	known   uint8          // STARTs whose rows are known, a bit per log
	file    [maxLogs]uint8 // orphan list: (file-1, tail]; 0 is none
	page    [maxLogs]uint8 // only without Starts (H1): end taken from a page, + 1
	n       uint8
	applied [maxApplied]uint8 // the Store: what it decided, in order, log<<2 | seq
	spooled bool              // the file of a mend is complete
	spoolN  uint8
	spool   [maxApplied]uint8
	torn    bool
	learner bool  // was empty, is not yet equal
	discard uint8 // log that the operator gives up, + 1

	verified bool // heard every peer since it opened
	admitted bool // promoted without history: open without START
	walked   bool // restarted: readers begin again below the orphans
	staged   uint8
	filled   uint8 // peers whose told positions the journals cover, a bit each
}

// A State is the whole world: all sites, and what the explorer may still do to them.
type State struct {
	logs  [maxLogs]incarnation
	nLogs uint8
	sites [maxSites]site

	imageOf uint8 // whose older image is kept, + 1
	image   site

	promotions, crashes, wipes, images, releases, discards, accepts uint8
}

func (s *site) count(l int) uint8 { // how far the Store is in one log
	c := uint8(0)
	for _, a := range s.applied[:s.n] {
		if int(a>>2) == l {
			c = a & 3
		}
	}
	return c
}

// cursor is where the Store stands in the logs of one site: its last entry of them.
func (w *State) cursor(s *site, writer int) (log int, seq uint8) {
	return w.cursorOf(s.applied[:s.n], writer)
}

func (w *State) cursorOf(list []uint8, writer int) (log int, seq uint8) {
	for i := len(list) - 1; i >= 0; i-- {
		if l := int(list[i] >> 2); w.logs[l].epoch.holder() == writer {
			return l, list[i] & 3
		}
	}
	return -1, 0
}

// storeEpoch is the highest epoch among the cursors.
func (w *State) storeEpoch(s *site) Epoch {
	var e Epoch
	for _, a := range s.applied[:s.n] {
		e = max(e, w.logs[a>>2].epoch)
	}
	return e
}

// ownLog is the log of the site's epoch in its journals, or -1.
func (w *State) ownLog(x int) int {
	s := &w.sites[x]
	for l := int(w.nLogs) - 1; l >= 0; l-- {
		if s.tail[l] > 0 && w.logs[l].epoch == s.epoch {
			return l
		}
	}
	return -1
}

func (w *State) history(s *site) bool { return s.tail != [maxLogs]uint8{} || s.n > 0 }

func (s *site) encode(b []byte) []byte {
	b = append(b, byte(s.epoch), s.known, s.n, s.spoolN, s.discard, s.staged, s.filled)
	b = append(b, s.tail[:]...)
	b = append(b, s.low[:]...)
	b = append(b, s.file[:]...)
	b = append(b, s.page[:]...)
	b = append(b, s.applied[:s.n]...)
	b = append(b, s.spool[:s.spoolN]...)
	flags := byte(0)
	for i, f := range []bool{s.spooled, s.torn, s.learner, s.verified, s.admitted, s.walked} {
		if f {
			flags |= 1 << i
		}
	}
	return append(b, flags)
}

// encode appends the canonical bytes: equal bytes, equal futures. Lists carry their lengths.
func (w *State) encode(b []byte, sites int) []byte {
	b = append(b, w.nLogs, w.imageOf, w.promotions, w.crashes, w.wipes, w.images, w.releases, w.discards, w.accepts)
	for i := range w.logs[:w.nLogs] {
		l := &w.logs[i]
		b = append(b, byte(l.epoch), l.safe, l.late)
		for _, r := range l.rows {
			b = append(b, r.log, r.seq)
		}
	}
	for x := range w.sites[:sites] {
		b = w.sites[x].encode(b)
	}
	if w.imageOf > 0 {
		b = w.image.encode(b)
	}
	return b
}
