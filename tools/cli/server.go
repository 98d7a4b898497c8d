package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/wire"
)

// serverFlags are the flags of "cfs server".
type serverFlags struct {
	site, cluster, data string
	listen, admin       string
	peers, peerAdmins   []string
	shards              int
	primary             string
	insecure            bool
	segmentBytes        size
	mendRate            size
	io                  string
	streams             int
	addrFile            string
	logFormat           string
	verbose             bool
	failpoint           string // of the journals' disk; hidden
}

// What a journal segment may be.
const (
	segmentBytesMin  = 4 << 20
	segmentBytesStep = 4 << 10
)

// What --io may say; ioAuto is the default.
const (
	ioAuto     = "auto"
	ioRDMA     = "rdma"
	ioUring    = "io_uring"
	ioPortable = "portable"
)

// checkIO refuses what --io cannot be.
func checkIO(io string) error {
	switch io {
	case ioAuto, ioRDMA, ioUring, ioPortable:
		return nil
	}
	return usage("omit --io for auto", "--io %q is not auto, rdma, io_uring or portable", io)
}

// haveIO refuses --io rdma where this build or this machine has no RDMA, before
// anything is touched.
func haveIO(io string) error {
	if io != ioRDMA {
		return nil
	}
	if _, err := rdma.System().Devices(); err != nil {
		return noIO(fmt.Errorf("--io rdma: %w", err))
	}
	return nil
}

// needIO is both, for verbs that start servers.
func needIO(io string) error {
	if err := checkIO(io); err != nil {
		return err
	}
	return haveIO(io)
}

// noIO says what to do where --io insists on what is not there.
func noIO(err error) error {
	return failure(ExitRefused, err,
		"omit --io: links and journals take the best that is there, and status says what")
}

// siteName is what a site or a cluster may be called: names are typed by people
// at bad moments, and printed in tables.
var siteName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func (a *app) server() *cobra.Command {
	f := &serverFlags{}
	c := verb("server --site NAME --cluster NAME --data DIR [flags]",
		"run a site: the reference storage node", Change, 0, 0,
		func(c *cobra.Command, _ []string) error {
			peers, err := f.check()
			if err != nil {
				return err
			}
			if err := haveIO(f.io); err != nil {
				return err
			}
			return a.serve(c.Context(), f, peers)
		})
	c.Long = `Runs a site until SIGINT or SIGTERM: a file system's namespace and content, stored in --data,
journaled, and replicated to every --peer. Only the primary site accepts changes. It needs at least 128 MiB
of memory and uses up to 384 MiB.`
	c.Example = `example: two sites on one machine
  cfs server --cluster try --site site-a --data /tmp/a --listen 127.0.0.1:9500 --admin 127.0.0.1:9501 \
             --peer site-b=127.0.0.1:9600 --insecure
  cfs server --cluster try --site site-b --data /tmp/b --listen 127.0.0.1:9600 --admin 127.0.0.1:9601 \
             --peer site-a=127.0.0.1:9500 --insecure`
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.site, "site", "", "`NAME` of this site, unique in the cluster (required)")
	fs.StringVar(&f.cluster, "cluster", "", "`NAME` of the cluster, equal at all sites (required)")
	fs.StringVar(&f.data, "data", "", "data `DIR`, created if absent, one server at a time (required)")
	fs.StringVar(&f.listen, "listen", "", "`ADDR` for other sites, HOST:PORT, port 0 = any")
	fs.StringVar(&f.admin, "admin", "127.0.0.1:0", "`ADDR` for cfs fs and cfs admin: plain HTTP")
	fs.StringArrayVar(&f.peers, "peer", nil, "another site, `NAME=ADDR`; repeat for more sites or addresses")
	fs.StringArrayVar(&f.peerAdmins, "peer-admin", nil, "admin address of a peer, `NAME=ADDR`: clients learn it here")
	fs.StringVar(&f.primary, "primary", "", "`NAME` of the site that writes, equal at all sites (default the first)")
	fs.BoolVar(&f.insecure, "insecure", false, "links without TLS, which is not part of this release")
	fs.IntVar(&f.shards, "shards", 256, "shard count, `N`; fixed at creation, equal at all sites")
	fs.Var(&f.segmentBytes, "segment-bytes", "size of a journal segment file (default 64MiB)")
	fs.Var(&f.mendRate, "mend-rate", "bytes of rows a second that a mending fetches (default no limit)")
	fs.StringVar(&f.io, "io", ioAuto, "`HOW` links and journals are carried: auto, rdma, io_uring or portable")
	fs.IntVar(&f.streams, "streams", 1, "connections of each link to a peer, `N`; more for long fat paths")
	fs.StringVar(&f.addrFile, "addr-file", "", "write the real addresses to this `FILE` as JSON when ready")
	fs.StringVar(&f.logFormat, "log", "text", "log `FORMAT` on stderr: text or json")
	fs.BoolVar(&f.verbose, "verbose", false, "log debug messages too")
	fs.StringVar(&f.failpoint, "failpoint", "", "end at this `MOMENT` of the journals' disk, as flush:17:before")
	_ = fs.MarkHidden("failpoint") // cfs crash sets it; fails for a flag that is not there only
	return c
}

// check validates the flags, all of them, before anything is touched.
func (f *serverFlags) check() ([]engine.Peer, error) {
	help := "run: cfs server --help"
	switch {
	case f.site == "":
		return nil, usage(help, "--site is required")
	case f.cluster == "":
		return nil, usage(help, "--cluster is required")
	case f.data == "":
		return nil, usage(help, "--data is required")
	case f.shards < 1 || f.shards > wire.ShardCountMax:
		return nil, usage("omit --shards for 256", "--shards %d: want 1 to %d",
			f.shards, wire.ShardCountMax)
	case f.segmentBytes != 0 && (f.segmentBytes < segmentBytesMin || f.segmentBytes%segmentBytesStep != 0):
		return nil, usage("omit --segment-bytes for 64MiB", "--segment-bytes %d: at least 4MiB, in steps of 4KiB",
			f.segmentBytes)
	case f.streams < 1 || f.streams > wire.StreamsMax:
		return nil, usage("omit --streams for 1", "--streams %d: want 1 to %d", f.streams, wire.StreamsMax)
	case checkIO(f.io) != nil:
		return nil, checkIO(f.io)
	case f.logFormat != "text" && f.logFormat != "json":
		return nil, usage(help, "--log %q is not text or json", f.logFormat)
	case f.listen == "" && len(f.peers) > 0:
		return nil, usage("add --listen HOST:PORT", "--peer without --listen: other sites could not reach this one")
	case f.listen != "" && !f.insecure:
		return nil, usage("add --insecure on a trusted network, or omit --listen and --peer",
			"links need --insecure: TLS is not part of this release, and nobody gets plain links by accident")
	}
	for _, name := range [][2]string{{"--site", f.site}, {"--cluster", f.cluster}, {"--primary", f.primary}} {
		if err := checkName(name[0], name[1]); err != nil && name[1] != "" {
			return nil, err
		}
	}
	for _, addr := range []string{f.listen, f.admin} {
		if addr == "" {
			continue
		}
		if err := checkAddr(addr); err != nil {
			return nil, err
		}
	}
	peers, err := f.parsePeers()
	if err != nil {
		return nil, err
	}
	return peers, f.checkPrimary(peers)
}

// parsePeers reads --peer. Further addresses of one site are tried in turn.
func (f *serverFlags) parsePeers() ([]engine.Peer, error) {
	var peers []engine.Peer
	for _, text := range f.peers {
		site, addr, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usage("write --peer NAME=HOST:PORT, for example site-b=10.0.1.50:9500",
				"--peer %q has no %q", text, "=")
		}
		if err := checkName("--peer", site); err != nil {
			return nil, err
		}
		if site == f.site {
			return nil, usage("name the other sites only", "--peer %q names this site itself", text)
		}
		if err := checkAddr(addr); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(peers, func(p engine.Peer) bool { return p.Site == site })
		if at < 0 {
			peers = append(peers, engine.Peer{Site: site, Addrs: []string{addr}})
			continue
		}
		peers[at].Addrs = append(peers[at].Addrs, addr)
	}
	return peers, f.parsePeerAdmins(peers)
}

// parsePeerAdmins reads --peer-admin.
func (f *serverFlags) parsePeerAdmins(peers []engine.Peer) error {
	for _, text := range f.peerAdmins {
		site, addr, ok := strings.Cut(text, "=")
		if !ok {
			return usage("write --peer-admin NAME=HOST:PORT, for example site-b=10.0.1.50:9501",
				"--peer-admin %q has no %q", text, "=")
		}
		at := slices.IndexFunc(peers, func(p engine.Peer) bool { return p.Site == site })
		if at < 0 {
			return usage("name it with --peer too", "--peer-admin %q names no --peer", text)
		}
		if err := checkAddr(addr); err != nil {
			return err
		}
		peers[at].Admin = addr
	}
	return nil
}

// checkPrimary refuses a primary that is not a site of the cluster.
func (f *serverFlags) checkPrimary(peers []engine.Peer) error {
	if f.primary == "" || f.primary == f.site ||
		slices.ContainsFunc(peers, func(p engine.Peer) bool { return p.Site == f.primary }) {
		return nil
	}
	names := []string{f.site}
	for _, p := range peers {
		names = append(names, p.Site)
	}
	return usage("name one of "+strings.Join(names, ", "), "--primary %q is neither this site nor a peer", f.primary)
}

func checkName(flag, name string) error {
	if siteName.MatchString(name) {
		return nil
	}
	return usage("use up to 63 lower-case letters, digits, - and .", "%s: bad name %q", flag, name)
}

// hostName is what a host may be called, "" where any address of this machine is meant;
// hostZone is an address with a zone.
var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9_.-]{0,253}$`)
	hostZone = regexp.MustCompile(`^[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?$`)
)

// isHost says whether host is a name or an address.
func isHost(host string) bool {
	if hostName.MatchString(host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil && hostZone.MatchString(host)
}

// checkAddr says whether addr is HOST:PORT.
func checkAddr(addr string) error {
	next := "write HOST:PORT, for example 127.0.0.1:9500"
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usage(next, "address %q: %v", addr, reason(err))
	}
	if !isHost(host) {
		return usage(next, "address %q: bad host %q", addr, host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usage(next, "address %q: bad port %q", addr, port)
	}
	return nil
}

// reason is an address error without the address, which stands before it.
func reason(err error) string {
	if e, ok := errors.AsType[*net.AddrError](err); ok {
		return e.Err
	}
	return err.Error()
}
