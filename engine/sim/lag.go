package sim

import (
	"github.com/claudefs/repl/engine/node"
	simstream "github.com/claudefs/repl/engine/stream"
)

// lag: a lag that is known is not zero while the source waits for the peer's word,
// nor below what the peer's medium lacks of what was acknowledged here (I14). What the
// peer said when it came back counts before its chain is proven, and its word after.
func (c *checker) lag(primary *site, status node.Status) {
	for _, p := range status.Peers {
		s := c.w.siteOf(p.Site)
		waiting, lacking := int64(0), int64(0)
		for log, ops := range c.w.load.of(primary).mirrored[s.place] {
			waiting += int64(len(ops))
			for _, n := range ops {
				ref := &c.w.load.ops[n].ref
				if !s.justRestored() && !c.has(s.index, node.Mirror, log, ref.Incarnation, ref.Seq) {
					lacking++
				}
			}
		}
		for _, lag := range [2]simstream.Lag{p.Durable, p.Applied} {
			if lag.Known && (lag.Entries < lacking || lag.Entries == 0 && waiting > 0) {
				c.w.fail("I14", "lag of %s is reported as known, %d entries, %d wait for it, %d are not there, link %s",
					p.Name, lag.Entries, waiting, lacking, p.Link)
			}
		}
	}
}
