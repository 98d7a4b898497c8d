package step

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/claudefs/repl/wire"
)

// PeerCountMax is how many peers a site has at most, those that are registered and not configured
// any more included: a mirror remembers in one word which of them it owes a page.
const PeerCountMax = 63

// RemovedMax is how many removed sites a site remembers, as many as its control state does: the
// oldest are forgotten first, and then refused as any stranger is.
const RemovedMax = 64

// Defaults that the shells know as well: an engine shows its options with them.
const (
	WindowBytesDefault      = 64 << 20
	VerifyWaitDefault       = 3 * time.Second
	HeartbeatTimeoutDefault = 3 * time.Second
)

// heartbeatEveryDefault, or a quarter of the timeout where that is less.
const heartbeatEveryDefault = 250 * time.Millisecond

// restoreBytesDefault: as much as a mirror has.
const restoreBytesDefault = 4 << 20

// Now is the time of a step. Mono drives timers; Wall is the node's clock.
type Now struct {
	Mono time.Duration // since an arbitrary start, never goes back
	Wall time.Time
}

// Config is what does not change while a node runs.
type Config struct {
	Cluster     wire.ClusterID
	ClusterName string
	Site        wire.SiteID
	SiteName    string
	Node        wire.NodeID
	Shards      uint32
	Primary     wire.SiteID // who writes domain 0
	Epoch       wire.Epoch  // in which it does; default 1, the first
	// PrimaryNamed: an operator named Primary for this start. A directory that does not
	// know yet who writes then takes his word; else it waits for that of every peer.
	PrimaryNamed bool
	Peers        []Peer // configured peers, sorted by site

	WindowBytesMax   int64         // per peer; default 64 MiB
	WindowBytesMin   int64         // default 1 MiB
	FrameBytesMax    int           // of batches in one frame; default 2 MiB less an envelope
	HeartbeatEvery   time.Duration // default 250ms, at most a quarter of HeartbeatTimeout
	HeartbeatTimeout time.Duration // silence that makes lag unknown and ends the link; default 3s
	RestoreBytesMax  int64         // given back and not flushed, before more is asked for; default 4 MiB
	PageEvery        time.Duration // default 1s
	VerifyWait       time.Duration // how long appends wait for a peer's word after open; default 3s
	RedialMin        time.Duration // default 50ms
	RedialMax        time.Duration // default 2s
	Seed             uint64        // for jitter

	// Sometimes lets a simulator choose what is rare: whether to do now, at the
	// named point, what is always allowed. nil = never.
	Sometimes func(point string) bool
}

// Peer is a site that this one talks to.
type Peer struct {
	Site wire.SiteID
	Name string
	// NoAddress: it is never reached by a dial, so that its pages, which say what it
	// mirrors of other sites, cannot come. Of a configured peer.
	NoAddress bool
}

// Log is where a log ends in a journal.
type Log struct {
	ID        wire.LogID
	Tail      wire.Position
	LastStamp wire.Stamp
	LastIndex uint64
	Epoch     wire.Epoch // of the incarnation that the tail is in; 0 = the first, or nothing is there
}

// Boot is what the node finds when it starts.
type Boot struct {
	Term          wire.Term
	Tickets       uint64 // the last one that this process has given to a stage
	Own           []Log  // sorted; own journal
	Mirror        []Log  // sorted; mirror journal
	OwnSuspect    []wire.LogID
	MirrorSuspect []wire.LogID
	Starts        []wire.Start          // what both journals keep of STARTs above the first epoch
	Peers         []wire.RegisteredPeer // sorted by site; from the control state
	Sites         []wire.SiteRecord     // sorted by site; from there, too: configured besides Config.Peers
	Removed       []wire.RemovedSite    // from there, too: what Config.Peers says of these counts for nothing
	Backlogs      map[wire.SiteID]int64 // bytes of the own journal that lie behind a peer's cursors, where measured
	Applied       []wire.Cursor         // the Store's cursors, sorted by log
	// Founded: the directory has it on record, or what is in it shows, that Config.Primary
	// writes. Else this is a new directory: see Effects.Found.
	Founded bool
}

// Check says why no node can be made of c and b: there are more than PeerCountMax peers.
func Check(c *Config, b *Boot) error {
	sites, old := map[wire.SiteID]bool{}, []string(nil)
	for _, m := range Members(c.Peers, b.Sites, b.Removed) {
		sites[m.Site] = true
	}
	configured := len(sites)
	for i := range b.Peers {
		if p := &b.Peers[i]; !sites[p.Site] {
			sites[p.Site], old = true, append(old, p.Name)
		}
	}
	if len(sites) <= PeerCountMax {
		return nil
	}
	return fmt.Errorf("site %s has %d configured peers and %d registered ones that are not configured, %s among them: "+
		"at most %d in all: %w", c.SiteName, configured, len(old), strings.Join(old[:min(3, len(old))], ", "),
		PeerCountMax, ErrPeers)
}

// frameBytesDefault takes any one batch, and with envelope and extensions it fits
// the 2 MiB that receivers hold frames of that size in; one byte more, and each
// would take 4 MiB.
const frameBytesDefault = 2<<20 - 512

const _ = uint(frameBytesDefault - wire.BatchBytesMax)

// Points of Config.Sometimes.
const (
	PointGrantOfOne  = "grant-of-one"  // grants one batch at a time
	PointWindowOfOne = "window-of-one" // nothing is read while anything is under way
	PointBatchAFrame = "batch-a-frame" // a frame ends with the batch that it has
)

func (c *Config) Chance(point string) bool { return c.Sometimes != nil && c.Sometimes(point) }

func (c *Config) SetDefaults() {
	c.Epoch = max(c.Epoch, 1)
	c.WindowBytesMax = cmp.Or(c.WindowBytesMax, WindowBytesDefault)
	c.WindowBytesMin = min(cmp.Or(c.WindowBytesMin, 1<<20), c.WindowBytesMax)
	c.FrameBytesMax = min(cmp.Or(c.FrameBytesMax, frameBytesDefault), wire.FrameBytesMax-wire.EnvelopeBytes)
	c.RestoreBytesMax = cmp.Or(c.RestoreBytesMax, restoreBytesDefault)
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, HeartbeatTimeoutDefault)
	c.HeartbeatEvery = cmp.Or(c.HeartbeatEvery, min(heartbeatEveryDefault, c.HeartbeatTimeout/4))
	c.PageEvery = cmp.Or(c.PageEvery, time.Second)
	c.VerifyWait = cmp.Or(c.VerifyWait, VerifyWaitDefault)
	c.RedialMin = cmp.Or(c.RedialMin, 50*time.Millisecond)
	c.RedialMax = max(cmp.Or(c.RedialMax, 2*time.Second), c.RedialMin)
}
