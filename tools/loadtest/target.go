package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// The sites of a run. The near one writes.
const (
	clusterName = "bench"
	siteNear    = "near"
	siteFar     = "far"
)

// openWait bounds what an end may take to open, and the ends to meet.
const openWait = 20 * time.Second

// closeWait bounds what an end may take to close.
const closeWait = 10 * time.Second

// carrier is what carries a target's bytes, as it turned out.
type carrier struct {
	transport string
	reason    string
}

// nearEnd is a target with a life.
type nearEnd interface {
	Target
	// carrier tells what carries the bytes.
	carrier() carrier
	// behind is how many bytes the far end has yet to make durable; false if
	// that is unknown.
	behind() (int64, bool)
	close() error
}

// farEnd is a target's other half.
type farEnd interface {
	addr() string
	carrier() carrier
	close() error
}

// openNear opens the near end of c against the far end at addr.
func openNear(ctx context.Context, c *Config, dir, addr string) (nearEnd, error) {
	if c.Level == LevelLink {
		return dialLink(ctx, c, addr)
	}
	return openNearEngine(ctx, c, dir, addr)
}

// openFar opens the far end of c, listening at addr.
func openFar(ctx context.Context, c *Config, dir, addr string) (farEnd, error) {
	if c.Level == LevelLink {
		return listenLink(c, addr)
	}
	e, err := engine.Open(ctx, engineOptions(c, siteFar, dir, engine.Peer{Site: siteNear}, addr))
	if err != nil {
		return nil, err
	}
	return &farEngine{e}, nil
}

func engineOptions(c *Config, site, dir string, peer engine.Peer, listen string) engine.Options {
	return engine.Options{
		Cluster: clusterName, Site: site, Primary: siteNear, Dir: dir, Store: newSink(c.Shards), Shards: c.Shards,
		Listen: listen, Insecure: true, Peers: []engine.Peer{peer}, IO: c.carriedBy(),
	}
}

// carriedBy is Options.IO. RDMA would go past the proxy that makes the way long.
func (c *Config) carriedBy() string {
	if c.Link != "auto" || !c.distant() || !rdma.Built {
		return c.Link
	}
	if uring.Supported() == nil {
		return "io_uring"
	}
	return "portable"
}

// farEngine is the standby.
type farEngine struct{ engine *engine.Engine }

func (f *farEngine) addr() string     { return f.engine.Addr() }
func (f *farEngine) carrier() carrier { return carrierOf(f.engine) }
func (f *farEngine) close() error     { return closeEngine(f.engine) }

func carrierOf(e *engine.Engine) carrier {
	s := e.Status()
	return carrier{s.Transport, s.TransportReason}
}

func closeEngine(e *engine.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	return e.Close(ctx)
}

// nearEngine is the primary, loaded through its public API. Its lanes are shards.
type nearEngine struct {
	engine  *engine.Engine
	level   engine.Level
	keys    [][][]byte // of each shard's entries
	payload []byte
}

func openNearEngine(ctx context.Context, c *Config, dir, addr string) (nearEnd, error) {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	e, err := engine.Open(ctx, engineOptions(c, siteNear, dir, engine.Peer{Site: siteFar, Addrs: []string{addr}}, ""))
	if err != nil {
		return nil, err
	}
	n := &nearEngine{engine: e, keys: make([][][]byte, c.Shards), payload: payload(c.SizeBytes)}
	switch c.Level {
	case LevelAsync:
		n.level = engine.Async
	case LevelLocal:
		n.level = engine.Local
	case LevelDurable:
		n.level = engine.Durable(1)
	case LevelApplied:
		n.level = engine.Applied(1)
	}
	for i := range n.keys {
		n.keys[i] = [][]byte{fmt.Appendf(nil, "bench key %6d", i)}
	}
	if err := n.meet(ctx); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// meet waits until the far end has an entry of the near one.
func (n *nearEngine) meet(ctx context.Context) error {
	ref, err := n.Put(ctx, 0)
	if err == nil {
		err = n.engine.Wait(ctx, ref, engine.Durable(1))
	}
	if err != nil {
		peer := n.engine.Status().Peers[0]
		return fmt.Errorf("the far end at %s has nothing after %s (%s): %w", peer.Addr, openWait,
			cmp.Or(peer.Reason, "the link is "+peer.Link), err)
	}
	return nil
}

func (n *nearEngine) Lanes() int { return len(n.keys) }

func (n *nearEngine) Put(ctx context.Context, lane int) (wire.Ref, error) {
	entry := engine.Entry{Op: engine.OpHost, Keys: n.keys[lane], Payload: n.payload}
	return n.engine.Append(ctx, engine.Shard(lane), &entry, engine.Async)
}

func (n *nearEngine) Wait(ctx context.Context, ref wire.Ref) error {
	return n.engine.Wait(ctx, ref, n.level)
}

func (n *nearEngine) carrier() carrier { return carrierOf(n.engine) }

func (n *nearEngine) behind() (int64, bool) {
	if lag := n.engine.Status().Peers[0].Durable; lag.Bytes != nil {
		return *lag.Bytes, true
	}
	return 0, false
}

func (n *nearEngine) close() error { return closeEngine(n.engine) }

// payload is random: nothing on the way can make it smaller.
func payload(size int) []byte {
	b := make([]byte, size)
	random := rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'})
	_, _ = random.Read(b) // never fails
	return b
}

// transport is a link.Transport and how to close it.
type transport struct {
	link.Transport
	closing io.Closer // nil = nothing to close
	reason  string
}

// openTransport opens what carries a bare link.
func openTransport(c *Config) (t transport, err error) {
	how := c.carriedBy()
	t.reason = "asked for"
	if how == linkRDMA || how == "auto" && rdma.Built {
		verbs, err := rdma.New(rdma.Options{Verbs: rdma.System()})
		switch {
		case err == nil && how == linkRDMA:
			return transport{verbs, verbs, t.reason}, nil
		case err == nil:
			return transport{verbs, verbs, "this machine has an RDMA device"}, nil
		case how == linkRDMA:
			return t, fmt.Errorf("link %q: %w", how, err)
		}
	}
	if how != "portable" {
		ring, err := uring.NewTransport(uring.TransportOptions{})
		switch {
		case err == nil && how == "io_uring":
			return transport{ring, ring, t.reason}, nil
		case err == nil:
			return transport{ring, ring, "this machine has io_uring"}, nil
		case how == "io_uring":
			return t, fmt.Errorf("link %q: %w", how, err)
		}
		t.reason = err.Error()
	}
	t.Transport, err = tcp.New(tcp.Options{})
	return t, err
}

func (t *transport) carrier() carrier { return carrier{t.Name(), t.reason} }

func (t *transport) close() error {
	if t.closing == nil {
		return nil
	}
	return t.closing.Close()
}
