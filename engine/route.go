package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

// Bounds of the pauses between tries of a better transport.
const (
	returnPauseMinDefault = time.Second
	returnPauseMaxDefault = time.Minute
)

// carrier is a transport that links may be carried by.
type carrier struct {
	link.Transport
	// judged: a link of it that breaks speaks against it, so that the next one is
	// carried otherwise. Where a lesser one takes the same way through the same
	// kernel, that would help nobody.
	judged bool
}

// route is how links to one peer are made: by which transport, and when to try a
// better one. What it decides, its ladder decides; it acts.
type route struct {
	e *Engine
	peerInfo

	mu     sync.Mutex
	addrs  []string // tried together; replaced, never changed
	ladder ladder
	link   *peerLink   // the newest dialed one that is open; nil = none
	timer  *time.Timer // the next try of a better transport; nil = none yet
	shown  string      // the transport that was reported last
	closed bool
}

// newRoute makes the route to a peer; its ladder has all carriers.
func (e *Engine) newRoute(p peerInfo, addrs []string) *route {
	var names []string
	for _, c := range e.path.carriers {
		names = append(names, c.Name())
	}
	return &route{
		e: e, peerInfo: p, addrs: slices.Clone(addrs), shown: names[0],
		ladder: newLadder(e.o.ReturnPauseMin, e.o.ReturnPauseMax, names),
	}
}

// addresses are where the peer is dialed; shared, not to be changed.
func (r *route) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs
}

// move has the next dials go to these addresses.
func (r *route) move(addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = slices.Clone(addrs)
}

// routeTo returns the route of a configured peer.
func (e *Engine) routeTo(site wire.SiteID) *route {
	for _, r := range e.routes() {
		if r.site == site {
			return r
		}
	}
	return nil
}

// dialPeer connects to a peer, in a goroutine of its own: the heart asks for
// one dial per peer at a time.
func (e *Engine) dialPeer(site wire.SiteID) {
	r := e.routeTo(site)
	if r == nil || !e.links.enter() {
		return
	}
	go func() { // Ends when the peer answers, or all its addresses have been tried.
		defer e.links.group.Done()
		conn, rung, err := r.dial()
		if err == nil {
			if r.open(conn, rung, false) {
				return
			}
			err = ErrClosed
		}
		e.step(&node.LinkDown{Peer: site, Err: err})
	}()
}

// dial tries the transports from the best that does not pause on down, each at all of
// the peer's addresses.
func (r *route) dial() (conn link.Conn, rung int, err error) {
	if len(r.addresses()) == 0 {
		return nil, 0, fmt.Errorf("site %08x has no address: %w", uint32(r.site), link.ErrUnreachable)
	}
	r.mu.Lock()
	rung = r.ladder.next(0, r.e.now().Mono)
	r.mu.Unlock()
	var faults []error
	for {
		if conn, err = r.dialBy(rung); err == nil {
			return conn, rung, nil
		}
		faults = append(faults, err)
		if !otherwise(err) || rung == len(r.e.path.carriers)-1 {
			return nil, 0, errors.Join(faults...)
		}
		r.mu.Lock()
		now := r.e.now().Mono
		r.ladder.failed(rung, now, 0, shortly(err))
		rung = r.ladder.next(rung+1, now)
		r.mu.Unlock()
	}
}

// dialBy dials the peer's addresses by one transport, as socket.Race does: the silence
// of one takes no time from the others.
func (r *route) dialBy(rung int) (link.Conn, error) {
	ctx, cancel := context.WithTimeout(r.e.life, r.e.o.HeartbeatTimeout)
	defer cancel()
	addrs := r.addresses()
	conn, _, err := socket.Race(ctx, len(addrs), func(ctx context.Context, i int) (link.Conn, error) {
		r.favor(ctx, addrs[i])
		conn, err := r.e.path.carriers[rung].Dial(ctx, addrs[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", addrs[i], err)
		}
		return conn, nil
	})
	return conn, err
}

// favor keeps places at the own listener for what a peer's name stands for now.
func (r *route) favor(ctx context.Context, addr string) {
	host, _, err := net.SplitHostPort(addr)
	if _, ok := r.e.listener.(link.Favorer); !ok || err != nil || host == "" {
		return
	}
	ips, _ := net.DefaultResolver.LookupHost(ctx, host) // the dial tells what is wrong with it
	for _, ip := range ips {
		r.e.favor(ip)
	}
}

// otherwise says that the peer may be there for another transport: what failed is
// not the way to it.
func otherwise(err error) bool {
	return errors.Is(err, rdma.ErrSetup) || errors.Is(err, uring.ErrUnsupported)
}

// shortly is an error for people who know which peer and transport it is about.
func shortly(err error) string {
	if f, ok := errors.AsType[*rdma.Failure](err); ok {
		return f.Why.Error()
	}
	return err.Error()
}

// open makes a connection a link; false while everything is being closed.
func (r *route) open(conn link.Conn, rung int, takeover bool) bool {
	l := r.e.links.add(r.e, conn, r.site)
	if l == nil {
		_ = conn.Close() // nobody used it
		return false
	}
	l.route, l.rung, l.takeover, l.since = r, rung, takeover, r.e.now().Mono
	r.up(l)
	l.start()
	return true
}

// up notes the newest link, and that a better one is to be tried if there is any.
func (r *route) up(l *peerLink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link = l
	r.plan()
	name := r.e.path.carriers[l.rung].Name()
	if name == r.shown {
		return
	}
	r.shown = name
	r.e.tell(&event.Transport{
		Place: event.Place{Peer: r.site}, By: name, Reason: r.ladder.reason(l.rung, l.since),
	})
}

// down notes that a link has ended; broke is why it speaks against its transport,
// nil if it does not.
func (r *route) down(l *peerLink, broke error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.e.now().Mono; broke != nil && r.e.path.carriers[l.rung].judged {
		r.ladder.failed(l.rung, now, now-l.since, shortly(broke))
	}
	if r.link == l {
		r.link = nil
		r.plan()
	}
}

// plan sets the timer for the next try. r.mu is held.
func (r *route) plan() {
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.link == nil || r.closed {
		return
	}
	if at, ok := r.ladder.better(r.link.rung); ok {
		r.timer = time.AfterFunc(max(0, at-r.e.now().Mono), r.tryBetter) // ends with its dial; end stops it
	}
}

// tryBetter dials by a better transport than that of the open link; the link that
// comes of it takes over.
func (r *route) tryBetter() {
	if !r.e.links.enter() {
		return
	}
	defer r.e.links.group.Done()
	r.mu.Lock()
	if r.link == nil {
		r.mu.Unlock()
		return // the next dial looks for itself
	}
	rung := r.ladder.next(0, r.e.now().Mono)
	if rung >= r.link.rung {
		r.plan() // it failed meanwhile
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	conn, err := r.dialBy(rung)
	r.mu.Lock()
	if err != nil {
		r.ladder.failed(rung, r.e.now().Mono, 0, shortly(err))
		r.plan()
		r.mu.Unlock()
		return
	}
	late := r.link != nil && r.link.rung <= rung
	r.mu.Unlock()
	if late {
		_ = conn.Close() // another dial was quicker
		return
	}
	r.open(conn, rung, true)
}

// end stops the tries.
func (r *route) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.plan()
}

// status is what carries links to the peer, and why nothing better: the open link's,
// or what the next dial takes.
func (r *route) status() (transport, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.e.now().Mono
	rung := r.ladder.next(0, now)
	if r.link != nil {
		rung = r.link.rung
	}
	return r.e.path.carriers[rung].Name(), r.ladder.reason(rung, now)
}

// broken returns why an ended link speaks against its transport: it was lost, or
// carried garbage, or nothing at all for as long as the heart waits. A close of either
// end does not.
func (l *peerLink) broken(recv error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.lost != nil:
		return l.lost
	case !errors.Is(recv, io.EOF) && !errors.Is(recv, link.ErrClosed):
		return recv
	case l.e.now().Mono-time.Duration(l.heard.Load()) >= l.e.o.HeartbeatTimeout:
		return fmt.Errorf("nothing came through for %s", l.e.o.HeartbeatTimeout)
	}
	return nil
}
