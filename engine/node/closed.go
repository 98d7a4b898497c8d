package node

import (
	"time"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// What becomes of logs that are written no more, because a higher epoch began:
//
//	the writer of the epoch       the others
//	fill: what a peer's pages     the START of the writer's log is not taken before
//	show beyond our copies        its rows are covered; what lacks is
//	   │                             │
//	   └──── pull, by any site that has it ────▶ staged behind the mirror's tail
//	   ▼                             ▼
//	Store at every end            the session begins again, and START is taken
//	   ▼
//	START names each end: the log is open

// fillWait is how long the writer of a new epoch waits for what peers said they have, while nothing
// of it comes.
const fillWait = 30 * time.Second

// closed is what this node knows of the ends of closed logs.
type closed struct{ n *Node }

// Due is up to where the entries of a log of a shard survive; see role.Ends.
func (n *Node) Due(s wire.Shard, at wire.Position) wire.Position { return n.role.Known.Of(s).Due(at) }

// Common is up to where a Store that stands at p of a log has what one that stands at q has. One in a
// later incarnation has the older ones up to their ends.
func (n *Node) Common(log wire.LogID, p, q wire.Position) wire.Position {
	if p.Incarnation != q.Incarnation && n.t.Order(log, p, q) == wire.OrderBefore {
		return n.Due(log.Shard, p)
	}
	return q
}

// Ready says whether a shard may be opened; see admission.Ends.
func (c closed) Ready(s wire.Shard) bool {
	n := c.n
	if plant.FillSkipped {
		return true
	}
	if n.desk.Pulls(s) {
		return false
	}
	if o := &n.own[s]; !n.t.Covers(o.ID, o.applied, n.Due(s, o.Tail)) { // its orphans are never applied
		return false
	}
	for _, site := range n.mirrors.Sites {
		if !n.mirrors.Stands(&site.Logs[s]) {
			return false
		}
	}
	return true
}

// Opening is the START of a shard's log; see admission.Ends.
func (c closed) Opening(s wire.Shard) *step.Open {
	n := c.n
	open := n.out.Opening(s, n.role.Epoch)
	for _, site := range n.mirrors.Sites {
		_, stamp := n.mirrors.Staged(wire.LogID{Site: site.Site, Shard: s})
		open.After = max(open.After, stamp)
	}
	if len(open.Rows) == 0 {
		return nil
	}
	return &open
}

// fills says whether this site is to open logs in the epoch held, and may lack some of the
// ends of older ones.
func (n *Node) fills() bool { return n.role.Own() && n.role.Epoch > role.First }

// fill asks for what a peer's page shows of closed logs beyond our copies: of the site that
// writes, which knows where they end, and of everybody before this one opens a shard.
func (n *Node) fill(p *peer, row *wire.PageEntry) {
	log, end := row.Log, row.Durable
	switch {
	case n.role.Epoch == role.First, !n.role.Own() && !n.role.Writes(p.Site):
		return
	case end.Seq == 0 || n.mirrorLog(log) == nil:
		return
	case n.own[log.Shard].Open():
		n.endUnknown(log.Shard)
		return
	}
	if tail, _ := n.mirrors.Staged(log); !n.t.Covers(log, tail, end) {
		n.desk.Pull(log, end)
		n.filling.begin()
	}
}

// endUnknown opens a shard that nobody had written, as far as was known when this site became the
// writer: a peer has something of it, which ends before its first entry. Without a START that
// would stay applied there. Nothing happens where an append was first: its START names nothing.
func (n *Node) endUnknown(s wire.Shard) {
	if o := &n.own[s]; o.Tail.Seq == 0 {
		n.out.Open(s, n.role.Epoch)
	}
}

// giveBackShown has pages show what came back of own logs at a site that does not write: the one
// that does waits for it with its START, see stream/opens.go.
func (n *Node) giveBackShown(headers []wire.BatchHeader) {
	if n.role.Own() {
		return
	}
	for i := range headers {
		if n.ownLog(headers[i].Log()) != nil {
			n.mirrors.OweOwn(headers[i].Log())
		}
	}
}

// pulled follows what a flush brought of closed logs.
func (n *Node) pulled(log wire.LogID) {
	m := n.mirrorLog(log)
	n.desk.Came(log, m.Durable)
	if n.filling.at > 0 {
		n.filling.came()
	}
	n.mirrorFloor(log, m)
	n.gate.Ready(log.Shard)
}

// filling is the end of the wait for what peers said they have.
type filling struct {
	n  *Node
	at time.Duration // 0 = nothing is waited for
}

// begin waits from here on, unless it does.
func (f *filling) begin() {
	if f.at == 0 && f.n.fills() {
		f.came()
	}
}

// came gives what still comes its time once more.
func (f *filling) came() { f.at = f.n.t.Now.Mono + fillWait }

// Due is when shards open without what did not come.
func (f *filling) Due() time.Duration {
	if f.at == 0 {
		return step.Never
	}
	return f.at
}

// Tick gives up what did not come.
func (f *filling) Tick() {
	if f.n.t.Now.Mono < f.Due() {
		return
	}
	f.at = 0
	for _, s := range f.n.gate.Unready() {
		f.n.desk.Unpull(s)
		f.n.gate.Ready(s)
	}
}
