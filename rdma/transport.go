package rdma

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const transportName = "rdma"

// Transport opens links over RDMA. Its methods may be called by any goroutine.
type Transport struct {
	o      Options
	counts counts

	mu     sync.Mutex
	device *opened // nil until it is needed, and after it died
	closed bool
}

var _ link.Transport = (*Transport)(nil)

// New returns a transport with its device open, or says why not: the error wraps
// ErrUnsupported where the build or the machine has no RDMA.
func New(options Options) (*Transport, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	t := &Transport{o: options.withDefaults()}
	d, err := t.use()
	if err != nil {
		return nil, fmt.Errorf("rdma: %w", err)
	}
	d.release()
	return t, nil
}

// Name implements link.Transport.
func (t *Transport) Name() string { return transportName }

// Device is what the device can do, or why there is none just now.
func (t *Transport) Device() (Capabilities, error) {
	d, err := t.use()
	if err != nil {
		return Capabilities{}, err
	}
	defer d.release()
	return d.device.Capabilities(), nil
}

// use returns the device for one more user; one that died is opened again, since it
// may be back.
func (t *Transport) use() (*opened, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("rdma transport: %w", link.ErrClosed)
	}
	if t.device != nil {
		if t.device.use() {
			return t.device, nil
		}
		t.device.release()
		t.device = nil
	}
	d, err := openDevice(t.o.Verbs, t.o.Device)
	if err != nil {
		return nil, err
	}
	t.device = d
	d.use()
	return d, nil
}

// Close gives the device back as soon as the last link is closed. Links and
// listeners live on, but make no new links.
func (t *Transport) Close() error {
	t.mu.Lock()
	d := t.device
	t.device, t.closed = nil, true
	t.mu.Unlock()
	if d != nil {
		d.release()
	}
	return nil
}

// ErrSetup: the peer was reached, but there is no link by RDMA with it: it has none,
// a device is gone, or nothing comes through. Another transport may do. The error
// wraps link.ErrUnreachable too.
var ErrSetup = errors.New("rdma setup")

// Dial implements link.Transport. addr is host:port of the peer's control listener.
// When it returns, the peer's device has answered over the new queue pair.
func (t *Transport) Dial(ctx context.Context, addr string) (link.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.HandshakeMax)
	defer cancel()
	o := t.o.socket()
	control, err := socket.Dial(ctx, addr, &o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	c, err := t.offerLink(control)
	if !stop() && err == nil {
		_ = c.Close() // nobody waits for it any more
		err = ctx.Err()
	}
	if err != nil {
		_ = control.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, ctx.Err())
		}
		return nil, &Failure{Peer: addr, Why: err, class: []error{link.ErrUnreachable, ErrSetup}}
	}
	return c, nil
}

// offerLink is the dialer's side of the setup.
func (t *Transport) offerLink(control net.Conn) (*Conn, error) {
	c, err := t.newConn(control, t.o.Regions)
	if err != nil {
		return nil, err
	}
	if err := c.offer(control); err != nil {
		c.abandon()
		return nil, err
	}
	if err := c.prove(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// prove has the peer's device answer over the queue pair, so that a fabric which
// carries nothing is found out before anybody relies on it: the setup itself came by
// TCP. A credit for nothing says nothing; its completion is the answer. It waits as
// long as the device tries.
func (c *Conn) prove() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsignalled = signalEvery
	if !c.notify(notice{kind: noticeCredit}) {
		return cmp.Or(c.broken, errSendQueue)
	}
	last := c.posted
	for c.completed < last && c.broken == nil {
		c.moved.Wait()
	}
	return c.broken
}

var errSendQueue = errors.New("the send queue takes nothing")

// errNoAnswer: a listener of another transport takes the hello for garbage.
var errNoAnswer = errors.New("the peer hung up on the setup: it has no RDMA, or does not listen for it")

func (c *Conn) offer(control net.Conn) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	own := c.objects.offer(id, c.immediate)
	if _, err := control.Write(setup(setupHello, own.append(nil))); err != nil {
		return err
	}
	r := setupReader{from: control}
	body, err := r.expect(setupWelcome)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return errNoAnswer
	}
	if err != nil {
		return err
	}
	if err := c.peer.decode(body); err != nil {
		return err
	}
	if c.peer.Link != id {
		return fmt.Errorf("welcome to link %x, want %x: %w", c.peer.Link, id, wire.ErrProtocol)
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.objects.pair.ReadyToSend(); err != nil {
		return err
	}
	if _, err := control.Write(setup(setupReady, nil)); err != nil {
		return err
	}
	return c.ready()
}

// acceptLink is the listener's side, once the peer's hello was read: welcome is told
// when this end can receive, and nothing is sent before the dialer can.
func (t *Transport) acceptLink(control net.Conn, r *setupReader, peer *offer) (*Conn, error) {
	c, err := t.newConn(control, nil)
	if err != nil {
		refuse(control, err)
		return nil, err
	}
	c.peer = *peer
	if err := c.welcome(r); err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

func (c *Conn) welcome(r *setupReader) error {
	if err := c.connect(); err != nil {
		refuse(c.control, err)
		return err
	}
	own := c.objects.offer(c.peer.Link, c.t.immediate(c.device))
	if _, err := c.control.Write(setup(setupWelcome, own.append(nil))); err != nil {
		return err
	}
	if _, err := r.expect(setupReady); err != nil {
		return err
	}
	if err := c.objects.pair.ReadyToSend(); err != nil {
		return err
	}
	return c.ready()
}

// refuse tells the dialer why there is no link. It may be gone already.
func refuse(control net.Conn, why error) {
	text := why.Error()
	_, _ = control.Write(setup(setupRefusal, []byte(text[:min(len(text), setupBodyBytesMax)])))
}

func (t *Transport) immediate(d *opened) bool { return d.device.Capabilities().Immediate }

// newConn makes a link's objects, with receives posted; regions are what it lends from.
func (t *Transport) newConn(control net.Conn, regions [][]byte) (*Conn, error) {
	d, err := t.use()
	if err != nil {
		return nil, err
	}
	o, err := openObjects(t, d.device, regions)
	if err != nil {
		if errors.Is(err, ErrDeviceGone) {
			d.kill()
		}
		d.release()
		return nil, err
	}
	c := &Conn{
		t: t, device: d, control: control, objects: *o, immediate: t.immediate(d), ringHolds: 1,
		local: control.LocalAddr().String(), remote: control.RemoteAddr().String(),
	}
	c.moved.L, c.arrived.L = &c.mu, &c.mu
	c.near = newSpans(len(o.ring), o.entries-noticesMax)
	c.refs = make([]int32, len(c.near.list))
	c.stage.bytes = o.own[o.stageAt:]
	c.flights.list = make([]flight, o.sendsMax)
	c.out.parts = make([]SGE, 0, o.partsMax)
	half := o.entries * noticeBytes
	c.notices.in, c.notices.out = o.own[:half:half], o.own[half:2*half:2*half]
	receives := make([]Receive, o.entries)
	for i := range receives {
		receives[i] = c.receive(uint64(i))
	}
	if _, err := o.pair.PostReceives(receives); err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// connect takes the peer's offer: from here on it may write into the ring.
func (c *Conn) connect() error {
	c.immediate = c.immediate && c.peer.Immediate
	c.far = newSpans(int(c.peer.RingBytes), int(c.peer.Receives)-noticesMax)
	return c.objects.pair.ReadyToReceive(c.peer.Identity)
}

// ready starts the link, whose control connection has no deadline any more.
func (c *Conn) ready() error {
	if err := c.control.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.t.counts.links.Add(1)
	c.start()
	return nil
}

// abandon gives back what never became a link.
func (c *Conn) abandon() {
	c.objects.close()
	UnmapMemory(c.objects.ring)
	c.device.release()
}

func appendNumber(b []byte, number uint64) []byte { return binary.LittleEndian.AppendUint64(b, number) }

func byeNumber(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
