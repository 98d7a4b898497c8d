package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
	"github.com/claudefs/repl/engine/observe"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/tools/demo"
	"github.com/claudefs/repl/tools/fsnode"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/uring"
)

const (
	// requestWait is how long requests under way may take when the server ends.
	requestWait = 2 * time.Second
	// closeWait is how long the journals may take to be flushed and closed.
	closeWait = 30 * time.Second
	// headerWait is how long a client may take to say what it wants.
	headerWait = 10 * time.Second
)

// serve runs a site until ctx ends or the engine stops by itself.
func (a *app) serve(ctx context.Context, f *serverFlags, peers []engine.Peer) error {
	// The address first: if it is taken, the data directory stays untouched.
	listener, err := net.Listen("tcp", f.admin)
	if err != nil {
		return failure(ExitFailed, fmt.Errorf("--admin %s: %w", f.admin, err), portNext(err, "--admin"))
	}
	defer listener.Close()
	if err := checkAddrFile(f.addrFile); err != nil {
		return err
	}
	disk, err := failpointDisk(f)
	if err != nil {
		return failure(ExitUsage, err, "omit --failpoint: it is for cfs crash")
	}
	o := fsnode.Options{
		Cluster: f.cluster, Site: f.site, DataDir: f.data, Shards: f.shards, Listen: f.listen, Insecure: f.insecure,
		Admin: toldAdmin(listener.Addr()),
		Peers: peers, Primary: f.primary, SegmentBytes: int64(f.segmentBytes), IO: f.io, FS: disk, Streams: f.streams,
		MendRate: int64(f.mendRate), Logger: a.logger(f),
	}
	limit, file := memoryLimit()
	if err := fitMemory(&o, limit, file); err != nil {
		return err
	}
	// A reader of stderr that goes takes its pipe along, and a terminal itself: neither is
	// the end of a server.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	node, err := a.openNode(ctx, f, o)
	if node == nil {
		return err
	}
	web := &http.Server{Handler: handler(node), ReadHeaderTimeout: headerWait}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }() // ends with web.Close
	err = a.announce(f, node, listener)
	if err == nil {
		tellSystem(daemon.SdNotifyReady + "\nSTATUS=ready")
		err = await(ctx, node, served)
	}
	tellSystem(daemon.SdNotifyStopping + "\nSTATUS=closing")
	if node.Store().Err() != nil {
		return err // it does not close in good order any more; what is durable is all there is
	}
	return errors.Join(err, shut(web, node))
}

// toldAdmin is the admin address that clients are told: none where the server listens at every
// address of its machine, because a client could not use that.
func toldAdmin(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); !ok || tcp.IP.IsUnspecified() {
		return ""
	}
	return addr.String()
}

// failpointDisk is the journals' disk of a server that ends at a failpoint, on the
// path that --io names; nil without one. The process ends there as by SIGKILL: what
// it has written stays with the kernel, and nothing is closed. Its rings last as long
// as the process.
func failpointDisk(f *serverFlags) (vfs.FS, error) {
	if f.failpoint == "" {
		return nil, nil
	}
	point, err := vfs.ParseFailpoint(f.failpoint)
	if err != nil {
		return nil, fmt.Errorf("--failpoint: %w", err)
	}
	var disk vfs.FS = vfs.OS{}
	if f.io != ioPortable {
		ring, err := uring.OpenDisk(uring.DiskOptions{})
		if err != nil && f.io == ioUring {
			return nil, err
		}
		if err == nil {
			disk = ring
		}
	}
	return vfs.AtFailpoint(disk, point, func() { os.Exit(demo.ExitFailpoint) }), nil
}

// handler serves the engine's administration and metrics, and the file system.
func handler(node *fsnode.Node) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/fs/", node.Handler())
	mux.Handle("/metrics", observe.Handler(node.Engine(), observe.Process()...))
	mux.Handle("/", admin.Handler(node.Engine()))
	return mux
}

// announce tells the real addresses, port 0 resolved.
func (a *app) announce(f *serverFlags, node *fsnode.Node, listener net.Listener) error {
	at := addrs{
		Schema: 1, Kind: "addrs", Site: f.site, Listen: node.Engine().Addr(),
		Admin: listener.Addr().String(), PID: os.Getpid(),
	}
	fmt.Fprintf(a.stderr, "ready: %s of cluster %s  listen %s  admin %s  data %s\n",
		f.site, f.cluster, orNone(at.Listen), at.Admin, f.data)
	if host, ok := listener.Addr().(*net.TCPAddr); ok && !host.IP.IsLoopback() {
		a.logger(f).Warn("the admin address is open to other hosts, without TLS and without a login: "+
			"whoever reaches it reads and changes all data", "admin", at.Admin)
	}
	if f.addrFile == "" {
		return nil
	}
	return addrFileFailure(writeAddrs(f.addrFile, at))
}

// checkAddrFile refuses a file that could not be written later, when the server has
// begun to work. What stands at path is left alone.
func checkAddrFile(path string) error {
	if path == "" {
		return nil
	}
	trial := fmt.Sprintf("%s.%d", path, os.Getpid())
	err := os.WriteFile(trial, nil, 0o644)
	if err == nil {
		err = os.Remove(trial)
	}
	return addrFileFailure(err)
}

func addrFileFailure(err error) error {
	if err == nil {
		return nil
	}
	return failure(ExitFailed, fmt.Errorf("--addr-file: %w", err), "name a file in a directory that can be written")
}

// await waits for the end: asked for, or not.
func await(ctx context.Context, node *fsnode.Node, served <-chan error) error {
	const next = "fix the cause, then start the server again: it recovers every acknowledged entry"
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("admin listener: %w", err)
	case <-node.Engine().Done():
		return failure(ExitFailed, fmt.Errorf("engine stopped: %w", node.Engine().Err()), next)
	case <-node.Store().Broken():
		return failure(ExitFailed, node.Store().Err(), next)
	}
}

// shut ends the requests, then the node.
func shut(web *http.Server, node *fsnode.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestWait)
	defer cancel()
	if web.Shutdown(ctx) != nil {
		web.Close() // clients that stream are cut off; they come back
	}
	ctx, cancel = context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	return node.Close(ctx)
}

// openFailure says what to do about a data directory that cannot be opened.
func openFailure(f *serverFlags, err error) error {
	switch {
	case errors.Is(err, fsnode.ErrInUse), errors.Is(err, vfs.ErrLocked):
		return failure(ExitRefused, err, "stop the other server, or name another directory with --data")
	case errors.Is(err, rdma.ErrUnsupported), errors.Is(err, uring.ErrUnsupported):
		return noIO(err)
	case errors.Is(err, engine.ErrOptions), errors.Is(err, namespace.ErrOptions):
		return failure(ExitRefused, err, "use what the directory was created with, or name another one with --data")
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL), isNoHost(err):
		return failure(ExitFailed, err, portNext(err, "--listen"))
	case errors.Is(err, syscall.ENOSPC):
		return failure(ExitFailed, err, "make room on the file system of "+f.data+", then start the server again")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR),
		errors.Is(err, syscall.EPERM), isNotMade(err):
		return failure(ExitFailed, err, "let this user read and write that path, or name another directory with --data")
	}
	return failure(ExitFailed, err, "the error names the file; keep the directory as it is until the cause is known")
}

// isNoHost says whether a host's name means no address.
func isNoHost(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// isNotMade says whether a directory could not be made.
func isNotMade(err error) bool {
	path, ok := errors.AsType[*fs.PathError](err)
	return ok && path.Op == "mkdir"
}

func portNext(err error, flag string) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return "stop what listens there, or name another port with " + flag + " (0 = any)"
	}
	return "name an address of this machine with " + flag
}

func (a *app) logger(f *serverFlags) *slog.Logger {
	options := &slog.HandlerOptions{}
	if f.verbose {
		options.Level = slog.LevelDebug
	}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}

// addrs is what --addr-file gets.
type addrs struct {
	Schema int    `json:"schema"`
	Kind   string `json:"kind"`
	Site   string `json:"site"`
	Listen string `json:"listen"` // "" = no links
	Admin  string `json:"admin"`
	PID    int    `json:"pid"`
}

// writeAddrs writes the file in one step: who reads it sees all or nothing.
func writeAddrs(path string, v addrs) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", path, v.PID)
	if err := os.WriteFile(temporary, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return err
	}
	return nil
}
