package engine

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
	"unicode"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/wire"
)

// Defaults and bounds of the options.
const (
	shardsDefault       = 256
	pendingBytesDefault = 32 << 20
	pendingBytesMin     = 4 << 20 // any one entry fits beside a full batch
	windowBytesMin      = 2 << 20 // any one batch fits
	recentBytesDefault  = 32 << 20
	recentBytesMin      = 4 << 20 // any one unit fits
	segmentBytesDefault = 64 << 20
	segmentBytesMin     = 4 << 20
	segmentBytesStep    = 4 << 10
	heartbeatTimeoutMin = 500 * time.Millisecond // two heartbeats
	durationMax         = time.Hour
	bytesMax            = 1 << 40
	nameBytesMax        = 255
	peersMax            = node.PeerCountMax
)

// Validate reports all faults of o at once, each with the name of its field, as one
// error that wraps ErrOptions. It touches no file and no network; Open calls it.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if text := checkName(o.Cluster); text != "" {
		fault("Cluster is %q: %s", o.Cluster, text)
	}
	if text := checkName(o.Site); text != "" {
		fault("Site is %q: %s", o.Site, text)
	}
	if o.Dir == "" {
		fault("Dir is empty: name a directory for this engine only")
	}
	if o.Store == nil {
		fault("Store is nil: the engine applies entries to the host's state")
	}
	inRange := func(name string, value, low, high int64) {
		if value != 0 && (value < low || value > high) {
			fault("%s is %d: want 0 (default) or %d to %d", name, value, low, high)
		}
	}
	inRange("Shards", int64(o.Shards), 1, wire.ShardCountMax)
	inRange("PendingBytesMax", o.PendingBytesMax, pendingBytesMin, bytesMax)
	inRange("WindowBytesMax", o.WindowBytesMax, windowBytesMin, bytesMax)
	inRange("RecentBytesMax", o.RecentBytesMax, recentBytesMin, bytesMax)
	inRange("SegmentBytes", o.SegmentBytes, segmentBytesMin, bytesMax)
	inRange("MendRate", o.MendRate, 1, bytesMax)
	inRange("Streams", int64(o.Streams), 1, wire.StreamsMax)
	if o.SegmentBytes >= segmentBytesMin && o.SegmentBytes%segmentBytesStep != 0 {
		fault("SegmentBytes is %d: want a multiple of %d", o.SegmentBytes, segmentBytesStep)
	}
	if text := o.checkHeads(); text != "" {
		fault("%s", text)
	}
	if o.VerifyWait < 0 || o.VerifyWait > durationMax {
		fault("VerifyWait is %v: want 0 (default) or up to %v", o.VerifyWait, durationMax)
	}
	if t := o.HeartbeatTimeout; t != 0 && (t < heartbeatTimeoutMin || t > durationMax) {
		fault("HeartbeatTimeout is %v: want 0 (default) or %v to %v", t, heartbeatTimeoutMin, durationMax)
	}
	switch o.IO {
	case "", ioAuto, ioRDMA, ioUring, ioPortable:
	default:
		fault("IO is %q: want %q (default), %q, %q or %q", o.IO, ioAuto, ioRDMA, ioUring, ioPortable)
	}
	faults = append(faults, o.validateRDMA()...)
	faults = append(faults, o.validatePeers()...)
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

// checkHeads says what is wrong where the journals' segments are too small for what each
// of them begins with: where every log stands, and every peer in it.
func (o *Options) checkHeads() string { return o.headsFor(len(o.Peers)) }

// headsFor is checkHeads for so many peers, whoever named them.
func (o *Options) headsFor(peers int) string {
	shards, segment := cmp.Or(o.Shards, shardsDefault), cmp.Or(o.SegmentBytes, segmentBytesDefault)
	if shards < 1 || shards > wire.ShardCountMax || peers > peersMax {
		return "" // reported already
	}
	need := journal.SegmentBytesFor(shards, peers)
	switch {
	case need == 0:
		return fmt.Sprintf("Shards is %d with %d peers: no segment's head has room for so many logs and cursors; "+
			"use fewer of either", shards, peers)
	case need > segment:
		return fmt.Sprintf("SegmentBytes is %d: the head of a segment has no room for %d shards and %d peers; "+
			"use %d or more, or fewer shards", segment, shards, peers, need)
	}
	return ""
}

// validateRDMA checks how links by RDMA are made, and when they are tried again.
func (o *Options) validateRDMA() []error {
	var faults []error
	r := o.rdma()
	if err := r.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("RDMA: %w", err))
	}
	if r.Pool != nil || r.Regions != nil {
		faults = append(faults, errors.New("RDMA.Pool and RDMA.Regions are set by the engine: leave them empty"))
	}
	low, high := cmp.Or(o.ReturnPauseMin, returnPauseMinDefault), cmp.Or(o.ReturnPauseMax, returnPauseMaxDefault)
	if low < 0 || high < low || high > durationMax {
		faults = append(faults, fmt.Errorf("ReturnPauseMin is %v, ReturnPauseMax %v: want min <= max <= %v, "+
			"or 0 for the defaults (%v, %v)", low, high, durationMax, returnPauseMinDefault,
			returnPauseMaxDefault))
	}
	return faults
}

// rdma is RDMA with the verbs that are meant.
func (o *Options) rdma() rdma.Options {
	r := o.RDMA
	if r.Verbs == nil {
		r.Verbs = rdma.System()
	}
	return r
}

// validatePeers checks who this engine talks to, and how.
func (o *Options) validatePeers() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if (o.Listen != "" || len(o.Peers) > 0) && !o.Insecure {
		fault("Listen is %q with %d peers, and Insecure is false: links have no TLS in this release; "+
			"on a trusted network set Insecure (cfs server: --insecure): there is no TLS yet",
			o.Listen, len(o.Peers))
	}
	if text := o.checkAddr(o.Listen); text != "" && o.Listen != "" {
		fault("Listen is %q: %s", o.Listen, text)
	}
	if o.Admin != "" && !isHostPort(o.Admin) {
		fault("Admin is %q: want HOST:PORT", o.Admin)
	}
	if len(o.Peers) > peersMax {
		fault("Peers has %d sites: want at most %d", len(o.Peers), peersMax)
	}
	sites := map[wire.SiteID]string{wire.SiteIDOf(o.Cluster, o.Site): o.Site}
	for i, p := range o.Peers {
		if text := checkName(p.Site); text != "" {
			fault("Peers[%d].Site is %q: %s", i, p.Site, text)
			continue
		}
		id := wire.SiteIDOf(o.Cluster, p.Site)
		if other, taken := sites[id]; taken && other == p.Site {
			fault("Peers[%d].Site is %q: that site is named already", i, p.Site)
		} else if taken {
			fault("Peers[%d].Site is %q: its id %08x is also that of %q; name one of them otherwise",
				i, p.Site, uint32(id), other)
		}
		sites[id] = p.Site
		for _, addr := range p.Addrs {
			if text := o.checkAddr(addr); text != "" {
				fault("Peers[%d].Addrs of site %q has %q: %s", i, p.Site, addr, text)
			}
		}
		if p.Admin != "" && !isHostPort(p.Admin) {
			fault("Peers[%d].Admin of site %q is %q: want HOST:PORT", i, p.Site, p.Admin)
		}
		if len(p.Addrs) == 0 && o.primaryName() == o.Site {
			fault("Peers[%d].Addrs of site %q is empty: the primary dials its peers", i, p.Site)
		}
	}
	if o.Primary != "" && len(o.Peers) > 0 && !o.knows(o.Primary) { // else Open looks, at what is on record
		fault("Primary is %q: neither this site, %q, nor a peer has that name", o.Primary, o.Site)
	}
	return faults
}

// isHostPort says whether addr names a host and a port.
func isHostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && port != ""
}

// checkName says what is wrong with a name that goes into files, frames and
// tables; "" is nothing.
func checkName(name string) string {
	switch {
	case name == "":
		return "a name is required"
	case len(name) > nameBytesMax:
		return fmt.Sprintf("%d bytes, want at most %d", len(name), nameBytesMax)
	}
	for _, r := range name {
		if r == unicode.ReplacementChar || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Sprintf("%q is not allowed in a name", r)
		}
	}
	return ""
}

// checkAddr says what is wrong with an address; "" is nothing. A transport of the
// host's own has addresses of its own.
func (o *Options) checkAddr(addr string) string {
	if o.Transport != nil && addr != "" {
		return ""
	}
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return "write HOST:PORT"
	}
	return ""
}

func (o *Options) knows(site string) bool {
	return site == o.Site || slices.ContainsFunc(o.Peers, func(p Peer) bool { return p.Site == site })
}

// primaryName is the site that writes: named, or the first by name, so that
// equal options at all sites agree.
func (o *Options) primaryName() string {
	if o.Primary != "" {
		return o.Primary
	}
	first := o.Site
	for _, p := range o.Peers {
		first = min(first, p.Site)
	}
	return first
}

// withDefaults returns a copy with every zero knob set, but for the transport.
func (o Options) withDefaults() Options {
	o.Shards = cmp.Or(o.Shards, shardsDefault)
	o.PendingBytesMax = cmp.Or(o.PendingBytesMax, pendingBytesDefault)
	o.WindowBytesMax = cmp.Or(o.WindowBytesMax, node.WindowBytesDefault)
	o.RecentBytesMax = cmp.Or(o.RecentBytesMax, recentBytesDefault)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, segmentBytesDefault)
	o.VerifyWait = cmp.Or(o.VerifyWait, node.VerifyWaitDefault)
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, node.HeartbeatTimeoutDefault)
	o.IO = cmp.Or(o.IO, ioAuto)
	o.ReturnPauseMin = cmp.Or(o.ReturnPauseMin, returnPauseMinDefault)
	o.ReturnPauseMax = cmp.Or(o.ReturnPauseMax, returnPauseMaxDefault)
	o.Primary = o.primaryName()
	o.Peers = slices.Clone(o.Peers)
	return o
}
