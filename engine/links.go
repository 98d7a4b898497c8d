package engine

// One link, from the connection to its end:
//
//  1. links.add names it; start runs its two goroutines, and the receiving one steps LinkUp.
//  2. receive hands each frame to the heart: frameIn verifies batches, waits while a journal
//     has too much to flush, and steps FrameIn.
//  3. push queues what the heart wants done, in its order; send works through the queue, and
//     do reads, ships and answers by source.go and answer.go.
//  4. closeIn, fail or the peer end it: the queue is sent for closeGrace, the connection
//     closes, send gives its pins back, and receive steps LinkDown.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

const (
	// queueBytesMax bounds the control frames that wait for one link. The heart
	// sends few: a link that lets more than the pages of 65,536 logs gather is
	// stalled, and closed.
	queueBytesMax = 16 << 20
	queueOpsMax   = 1 << 16
	// closeGrace is how long a closing link may take to send what is queued.
	closeGrace = time.Second
)

// links are the open links by their id.
type links struct {
	mu      sync.Mutex
	open    map[node.LinkID]*peerLink
	leaving map[*peerLink]struct{} // of open: closing, and their peers can write here
	last    node.LinkID
	closed  bool
	group   sync.WaitGroup // of links and dials
	judging chan struct{}  // a place for each accepted link whose hello the heart looks at
}

// get returns an open link, or nil.
func (ls *links) get(id node.LinkID) *peerLink {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.open[id]
}

// enter counts one more goroutine, unless everything is being closed.
func (ls *links) enter() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	ls.group.Add(1)
	return true
}

// add names a new link and counts its two goroutines; nil while everything is
// being closed.
func (ls *links) add(e *Engine, conn link.Conn, peer wire.SiteID) *peerLink {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil
	}
	if ls.open == nil {
		ls.open, ls.leaving = make(map[node.LinkID]*peerLink), make(map[*peerLink]struct{})
		ls.judging = make(chan struct{}, judgingMax)
	}
	ls.last++
	l := &peerLink{
		e: e, id: ls.last, peer: peer, conn: conn,
		ready: make(chan struct{}, 1), gone: make(chan struct{}), over: make(chan struct{}),
		closing: make(chan struct{}), shut: make(chan struct{}),
	}
	l.source.lending, _ = conn.(link.LendingConn)
	ls.open[l.id] = l
	ls.group.Add(2)
	return l
}

func (ls *links) remove(id node.LinkID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.leaving, ls.open[id])
	delete(ls.open, id)
}

// leave lists a closing link whose peer writes into memory here.
func (ls *links) leave(l *peerLink) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.open[l.id] == l {
		ls.leaving[l] = struct{}{}
	}
}

// awaitLeft returns when the peers of such links, but l, can write nothing any more:
// they end before anything newer is accepted. It takes closeGrace and the transport's
// own bound at most.
func (ls *links) awaitLeft(l *peerLink) {
	ls.mu.Lock()
	leaving := make([]*peerLink, 0, len(ls.leaving))
	for o := range ls.leaving {
		if o != l {
			leaving = append(leaving, o)
		}
	}
	ls.mu.Unlock()
	for _, o := range leaving {
		<-o.gone
	}
}

// closeAll ends every link and waits until their goroutines have ended.
func (ls *links) closeAll() {
	ls.mu.Lock()
	ls.closed = true
	open := make([]*peerLink, 0, len(ls.open))
	for _, l := range ls.open {
		open = append(open, l)
	}
	ls.mu.Unlock()
	for _, l := range open {
		l.close()
	}
	ls.group.Wait()
}

// peerLink is one link with its two goroutines. One receives and tells the
// heart; the other works through the queue of operations, so that a slow peer
// or disk holds up nobody else (I10).
type peerLink struct {
	e    *Engine
	id   node.LinkID
	peer wire.SiteID // 0 = accepted
	conn link.Conn

	mu      sync.Mutex
	queue   opQueue
	why     error // why it ends, if this end knows
	grace   *time.Timer
	leaving bool          // closing is closed
	ready   chan struct{} // capacity 1
	gone    chan struct{} // closed when receiving has ended
	over    chan struct{} // closed when the sender has ended
	spares  opQueue       // the sender's

	source   source
	inbound  inbound
	answered bool          // the sender's, of an accepted link
	closing  chan struct{} // closed when the heart has closed it: nothing is read any more
	shut     chan struct{} // closed when conn is
	shutOnce sync.Once

	// Of a dialed link.
	route    *route
	rung     int           // of the route's ladder
	takeover bool          // the heart did not ask for it
	since    time.Duration // Mono
	heard    atomic.Int64  // Mono of the last frame
	moved    movement      // the clock's
	lost     error         // what sending found, under mu
}

// opQueue holds operations with all that they refer to, so that the heart's
// memory is its own again after the step.
type opQueue struct {
	ops     []queuedOp
	bytes   []byte
	indexes []int
	cursors []wire.Cursor
}

// queuedOp is an Op whose slices are ranges of its queue, because those move as
// they grow.
type queuedOp struct {
	op                   node.Op
	frameLo, frameHi     int
	batchesLo, batchesHi int
	haveLo, haveHi       int
}

func (q *opQueue) push(op *node.Op) {
	o := queuedOp{op: *op, frameLo: len(q.bytes), batchesLo: len(q.indexes), haveLo: len(q.cursors)}
	q.bytes = append(q.bytes, op.Frame...)
	q.indexes = append(q.indexes, op.Batches...)
	q.cursors = append(q.cursors, op.Have...)
	o.frameHi, o.batchesHi, o.haveHi = len(q.bytes), len(q.indexes), len(q.cursors)
	o.op.Frame, o.op.Batches, o.op.Have = nil, nil, nil
	q.ops = append(q.ops, o)
}

// at returns the i-th operation whole.
func (q *opQueue) at(i int) node.Op {
	o := &q.ops[i]
	op := o.op
	op.Frame = q.bytes[o.frameLo:o.frameHi]
	op.Batches = q.indexes[o.batchesLo:o.batchesHi]
	op.Have = q.cursors[o.haveLo:o.haveHi]
	return op
}

func (q *opQueue) empty() {
	*q = opQueue{ops: q.ops[:0], bytes: q.bytes[:0], indexes: q.indexes[:0], cursors: q.cursors[:0]}
}

// push queues an operation for the sender. It never blocks.
func (l *peerLink) push(op *node.Op) {
	l.mu.Lock()
	l.queue.push(op)
	if op.Kind == node.OpClose {
		if l.source.lending != nil {
			l.e.links.leave(l)
		}
		if l.closeIn(closeGrace, errors.New(op.Reason)); !l.leaving {
			l.leaving = true
			close(l.closing)
		}
	}
	if ops, bytes := len(l.queue.ops), len(l.queue.bytes); bytes > queueBytesMax || ops > queueOpsMax {
		l.closeIn(0, fmt.Errorf("%d operations with %d bytes of control frames wait: the link is stalled", ops, bytes))
	}
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// closeIn has the link closed in a while, because a transport's Close may take a moment
// and whoever pushes holds the heart's mutex. The first call counts. l.mu is held.
func (l *peerLink) closeIn(d time.Duration, why error) {
	if l.grace == nil {
		l.setWhy(why)
		l.grace = time.AfterFunc(d, l.close) // Ends with it; stopped when the link is gone.
	}
}

// setWhy keeps the first reason. l.mu is held.
func (l *peerLink) setWhy(err error) {
	if l.why == nil {
		l.why = err
	}
}

// fail ends the link for a reason of this end.
func (l *peerLink) fail(err error) {
	l.mu.Lock()
	l.setWhy(err)
	if errors.Is(err, link.ErrLost) {
		l.lost = err
	}
	l.mu.Unlock()
	l.close()
}

// close ends the connection.
func (l *peerLink) close() {
	l.shutOnce.Do(func() {
		_ = l.conn.Close() // gone, whatever it says
		close(l.shut)
	})
}

// start starts the link's goroutines; the receiving one tells the heart of it.
func (l *peerLink) start() {
	go l.send()    // Ends when receiving has ended.
	go l.receive() // Ends when the link does.
}

// send works through the queue until the link is gone.
func (l *peerLink) send() {
	defer l.e.links.group.Done()
	defer close(l.over)
	defer l.source.end()
	for {
		select {
		case <-l.ready:
		case <-l.gone:
			return
		}
		l.mu.Lock()
		l.queue, l.spares = l.spares, l.queue
		l.mu.Unlock()
		for i := range l.spares.ops {
			op := l.spares.at(i)
			if err := l.do(&op); err != nil {
				l.fail(err)
				<-l.gone
				return
			}
		}
		l.spares.empty()
	}
}

// do carries out one operation.
func (l *peerLink) do(op *node.Op) error {
	switch op.Kind {
	case node.OpSend:
		if l.route == nil && !l.answered { // a welcome, or a refusal
			l.answered = true
			l.e.links.awaitLeft(l)
			l.admit(op.Frame)
		}
		l.source.parts = append(l.source.parts[:0], op.Frame)
		return l.conn.Send(l.source.parts)
	case node.OpSeek:
		l.seek(op.Have)
		return nil
	case node.OpRead:
		l.read(op.Bytes)
		return nil
	case node.OpShip:
		return l.ship(op)
	case node.OpAnswer:
		l.answer(op)
		return nil
	case node.OpGrant:
		return l.grant(op)
	}
	return fmt.Errorf("closed: %s", op.Reason) // OpClose: everything before it was sent.
}

// inbound is the receiving side's memory, kept from frame to frame.
type inbound struct {
	in      node.FrameIn
	refs    []wire.BatchRef
	headers []wire.BatchHeader
}

// receive tells the heart of frames until the link ends.
func (l *peerLink) receive() {
	defer l.e.links.group.Done()
	l.heard.Store(int64(l.e.now().Mono))
	err := l.meet()
	for err == nil {
		select {
		case <-l.closing:
			<-l.shut
		default:
		}
		var frame *link.Frame
		if frame, err = l.conn.Recv(); err == nil {
			l.heard.Store(int64(l.e.now().Mono))
			l.frameIn(frame)
			frame.Release()
		}
	}
	l.close()
	close(l.gone)
	<-l.over
	if l.route != nil { // before the heart dials again
		l.route.down(l, l.broken(err))
	}
	l.mu.Lock()
	l.setWhy(err)
	err = l.why
	if l.grace != nil {
		l.grace.Stop()
	}
	l.mu.Unlock()
	l.e.links.remove(l.id)
	l.e.step(&node.LinkDown{Link: l.id, Peer: l.peer, Err: err})
}

// frameIn verifies a frame's batches and tells the heart. While a journal has
// too much to flush, the link is not read: the peer feels it by its window.
func (l *peerLink) frameIn(frame *link.Frame) {
	a := &l.inbound
	a.in = node.FrameIn{Link: l.id, Envelope: frame.Envelope, Ext: frame.Ext()}
	a.refs, a.headers = a.refs[:0], a.headers[:0]
	switch frame.Envelope.Kind {
	case wire.FrameBatches, wire.FrameFetched:
		if !l.e.mirror.waitRoom() || frame.Envelope.Kind == wire.FrameFetched && !l.e.own.waitRoom() {
			return
		}
		a.refs, a.in.BatchErr = wire.Unpack(&frame.Envelope, frame.Bytes, a.refs)
		for i := range a.refs {
			a.headers = append(a.headers, a.refs[i].Header)
		}
		a.in.Headers = a.headers
		if a.in.BatchErr == nil {
			a.in.Starts, a.in.BatchErr = wire.StartsOf(a.refs)
		}
	default:
		a.in.Body = frame.Body()
	}
	l.e.stepWith(&a.in, frameBatches{a.refs, frame})
}

var (
	_ journal.Releaser = (*link.Frame)(nil)
	_ journal.Scarce   = (*link.Frame)(nil)
)

// A frame of a megabyte takes seconds on a slow path, and no other comes meanwhile.
// That is not a silence as long as its bytes do: the kernel counts them.

// movement is what the kernel had counted when a silent link was looked at last.
type movement struct {
	heard    time.Duration // when the silence began, Mono
	received uint64
}

// receiving lists the links that have been silent for so long, and to which bytes came
// since they were looked at last in this silence.
func (ls *links) receiving(now, silent time.Duration) (ids []node.LinkID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for id, l := range ls.open {
		if heard := time.Duration(l.heard.Load()); now-heard >= silent && l.moves(heard) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (l *peerLink) moves(heard time.Duration) bool {
	before := l.moved
	l.moved = movement{heard, link.InfoOf(l.conn).ReceivedBytes}
	return before.heard == heard && l.moved.received > before.received
}
