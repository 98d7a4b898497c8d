package sim

// stall is how a peer stands still for long, while it can be reached and its
// process runs.
type stall uint8

const (
	// stallReading takes links and reads nothing: what was sent stays in sockets.
	stallReading stall = iota + 1
	// stallFlushing reads and answers, but no flush of its disk ends.
	stallFlushing
)

// stallPeer lets the second site stand still until the world heals.
func (w *world) stallPeer(how stall) {
	switch how {
	case stallReading:
		w.net.paths[0][1].unread = true
	case stallFlushing:
		w.sites[1].disk.hung = true
	}
}

// unhang has a site flush what a hung disk kept waiting.
func (s *site) unhang() {
	if !s.disk.hung {
		return
	}
	s.disk.hung = false
	if s.p == nil {
		return
	}
	for _, f := range [2]*flusher{s.p.own, s.p.mirror} {
		if f.asked {
			f.asked = false
			f.kick()
		}
	}
}
