package sim

import (
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/wire"
)

// Which site writes, as the world knows it: an epoch names its writer, and the site that was
// admitted in the highest epoch is the one that writes. A process knows the epoch that it holds.

// writerIn is the place of the site that writes in an epoch.
func (w *world) writerIn(e wire.Epoch) int {
	if site := role.WriterOf(e); site != 0 {
		return w.siteOf(site).place
	}
	return 0 // as every configuration says
}

// writer is the site that writes: of a cloned one the copy that can be reached.
func (w *world) writer() *site { return w.sites[w.writerIn(w.epoch)] }

// writes says whether a copy of the site that writes is asked.
func (s *site) writes() bool { return s.place == s.w.writerIn(s.w.epoch) }

// writes says whether the process writes, by the epoch that it holds.
func (p *process) writes() bool { return p.site.place == p.site.w.writerIn(p.epoch) }

// standby is the other site, in worlds of two.
func (w *world) standby() *site { return w.sites[1-w.writer().place] }
