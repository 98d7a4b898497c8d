package rdma

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/claudefs/repl/wire/link"
)

// outgoing is the frame being sent; for the sending goroutine.
type outgoing struct {
	message uint64
	remote  uint64 // where the next write goes
	parts   []SGE  // of the write in the making
	bytes   int    // of it
	tail    bool   // the last of parts ends where the stage does
	began   uint64 // the stage's end before the write
	filled  uint64 // the stage's end with it
	pieces  int    // writes posted before the last one
	copied  int
	release func() // of SendLent, until somebody is to call it
	lent    bool   // some part is sent from where it lies
	list    [2]Send
	note    [1]SGE
}

// Send implements link.Conn. The parts are copied to the link's registered stage,
// once: an answer from the far device, before which they could not be the caller's
// again, takes longer. SendLent does without.
func (c *Conn) Send(parts [][]byte) error { return c.send(parts, nil) }

// SendLent implements link.LendingConn. Parts of 1 KiB and more that lie in
// Options.Regions are sent from there; the others are copied. release is called when
// the device has completed the frame, or the peer has released it, whichever comes
// first (nobody reads the parts after either; a packet that is sent again is one
// that the peer's device has and drops). Sends complete by the sixteen: up to
// fifteen frames stay lent while nothing follows them and the peer holds them.
func (c *Conn) SendLent(parts [][]byte, release func()) error { return c.send(parts, release) }

func (c *Conn) send(parts [][]byte, release func()) error {
	c.out.release, c.out.lent = release, false
	err := c.sendErr
	if err == nil || c.isClosed() {
		err = c.sendFrame(parts)
	}
	if err != nil && !errors.Is(err, link.ErrClosed) {
		c.sendErr = err
	}
	// Nothing was lent to the device, or nothing got that far.
	if release := c.out.release; release != nil {
		c.out.release = nil
		release()
	}
	return err
}

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *Conn) sendFrame(parts [][]byte) error {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	c.mu.Lock()
	if err := c.sendable(); err != nil {
		c.mu.Unlock()
		return err
	}
	if err := link.CheckParts(parts); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("rdma with %s: %w", c.remote, err)
	}
	c.sending = true
	err := c.reserve(size)
	c.mu.Unlock()
	if err == nil {
		err = c.fill(parts)
	}
	c.mu.Lock()
	if err == nil {
		err = c.post(true)
	}
	if err != nil && c.out.lent && c.out.release != nil {
		// Parts may be in the hands of the device: they are free at the end.
		c.flightsOfTheLost(c.out.release)
		c.out.release = nil
	}
	c.sending = false
	c.moved.Broadcast()
	c.mu.Unlock()
	return err
}

// flightsOfTheLost keeps lent parts until the link is torn down.
func (c *Conn) flightsOfTheLost(release func()) { c.objects.lost = append(c.objects.lost, release) }

// sendable says why nothing can be sent. c.mu is held.
func (c *Conn) sendable() error {
	switch {
	case c.closed:
		return c.closedError()
	case c.peerBye:
		return fmt.Errorf("by %s: %w", c.remote, link.ErrClosed)
	}
	return c.broken
}

// reserve waits for a credit and for room in the peer's ring. c.mu is held.
func (c *Conn) reserve(size int) error {
	for waited := false; ; waited = true {
		if err := c.sendable(); err != nil {
			return err
		}
		if at, room := c.far.next(size); room {
			o := &c.out
			o.message = c.far.take(at)
			o.remote = c.peer.RingAddress + at.start%uint64(c.peer.RingBytes)
			o.parts, o.bytes, o.tail, o.pieces, o.copied = o.parts[:0], 0, false, 0, 0
			o.began, o.filled = c.stage.hi, c.stage.hi
			return nil
		}
		if !waited {
			c.t.counts.creditWaits.Add(1)
		}
		if !c.asked {
			c.asked, c.wantStarve = true, true
			c.flush()
		}
		c.moved.Wait()
	}
}

// fill makes the frame's writes, and posts all but the last one.
func (c *Conn) fill(parts [][]byte) error {
	o := &c.out
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		if key, ok := c.objects.keyOf(part); ok && o.release != nil && len(part) >= lendBytesMin {
			if err := c.make(len(o.parts) == cap(o.parts)); err != nil {
				return err
			}
			o.parts = append(o.parts, SGE{part, key})
			o.bytes += len(part)
			o.tail, o.lent = false, true
			continue
		}
		if err := c.copy(part); err != nil {
			return err
		}
	}
	return nil
}

// make posts the write in the making if it has no room for another part.
func (c *Conn) make(full bool) error {
	if !full {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.post(false)
}

// copy puts a part into the stage, in as many pieces as there is room for.
func (c *Conn) copy(part []byte) error {
	o := &c.out
	for len(part) > 0 {
		room, err := c.stageRoom()
		if err != nil {
			return err
		}
		n := copy(room, part)
		if o.tail && o.filled%uint64(len(c.stage.bytes)) != 0 {
			last := &o.parts[len(o.parts)-1]
			last.Bytes = last.Bytes[:len(last.Bytes)+n]
		} else {
			if err := c.make(len(o.parts) == cap(o.parts)); err != nil {
				return err
			}
			// The capacity reaches to the stage's end: copies that follow extend the part.
			o.parts = append(o.parts, SGE{room[:n:cap(room)], c.objects.ownRegion.LocalKey()})
		}
		o.tail = true
		o.bytes += n
		o.copied += n
		part = part[n:]
		o.filled += uint64(n)
	}
	return nil
}

// stageRoom waits for a free piece of the stage; what the frame has there goes out
// before.
func (c *Conn) stageRoom() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if room := c.stage.room(c.out.filled); len(room) > 0 {
			return room, nil
		}
		if c.out.bytes > 0 {
			if err := c.post(false); err != nil {
				return nil, err
			}
			continue
		}
		if err := c.sendable(); err != nil {
			return nil, err
		}
		c.moved.Wait()
	}
}

// post queues the write in the making; last tells the peer of the frame. It waits
// for room in the send queue. c.mu is held.
func (c *Conn) post(last bool) error {
	for c.posted-c.completed >= uint64(c.objects.sendsMax-sendsKeptForNotices) {
		if err := c.sendable(); err != nil {
			return err
		}
		c.moved.Wait()
	}
	if err := c.sendable(); err != nil {
		return err
	}
	o := &c.out
	w := &o.list[0]
	*w = Send{
		ID: c.posted + 1, Op: OpWrite, Parts: o.parts, Remote: o.remote, RemoteKey: c.peer.RingKey,
		Inline: last && !o.lent && o.pieces == 0 && o.bytes <= c.objects.inline,
	}
	list := o.list[:1]
	if last && c.immediate {
		w.Op, w.Imm = OpWriteImm, immediate(o.message, c.far.at(o.message).size())
	}
	w.Signalled = c.signal(o.filled)
	if last && !c.immediate {
		list = o.list[:2]
		size := uint32(c.far.at(o.message).size())
		list[1] = c.notice(&o.note, c.posted+2, notice{noticeFrame, size, o.message})
	}
	if err := c.postList(list); err != nil {
		if errors.Is(err, ErrNoImmediate) && c.immediate {
			c.immediate = false
			return c.post(last)
		}
		return err
	}
	c.account(w, last)
	return nil
}

// account notes what a write that was queued keeps busy. c.mu is held.
func (c *Conn) account(w *Send, last bool) {
	o := &c.out
	n := &c.t.counts
	n.writes.Add(1)
	if w.Inline { // the stage is as if nothing had been there
		n.inline.Add(1)
		o.filled = o.began
		c.stage.signalAt = min(c.stage.signalAt, o.began)
	}
	c.stage.hi = o.filled
	fl := flight{send: w.ID, message: o.message, stageEnd: c.stage.hi}
	if last {
		c.sent = o.message
		n.framesSent.Add(1)
		n.sentBytes.Add(uint64(c.far.at(o.message).size()))
		n.copied.Add(uint64(o.copied))
		if o.lent {
			fl.release, o.release = o.release, nil
		}
	} else {
		o.pieces++
	}
	if w.Op == OpWriteImm {
		n.writeImms.Add(1)
	}
	c.flights.push(fl)
	o.remote += uint64(o.bytes)
	o.parts, o.bytes, o.tail, o.began = o.parts[:0], 0, false, c.stage.hi
}

// signal decides whether the next send asks for a completion: every sixteenth does,
// so that the send queue never fills with silent ones, and the one that makes a
// quarter of the stage, up to stageEnd, wait for its end. c.mu is held.
func (c *Conn) signal(stageEnd uint64) bool {
	c.unsignalled++
	if c.unsignalled < signalEvery && stageEnd < c.stage.signalAt+uint64(len(c.stage.bytes)/4) {
		return false
	}
	c.unsignalled, c.stage.signalAt = 0, stageEnd
	return true
}

// postList queues sends that are numbered from posted+1 on. c.mu is held.
func (c *Conn) postList(list []Send) error {
	n, err := c.objects.pair.PostSends(list)
	c.posted += uint64(n)
	for i := range list[:n] {
		if list[i].Signalled {
			c.t.counts.signalled.Add(1)
		}
	}
	c.t.counts.sends.Add(uint64(n))
	if err != nil && !errors.Is(err, ErrNoImmediate) {
		c.lose(err)
		return c.broken
	}
	return err
}

// notices is the memory of notices in both directions.
type notices struct {
	in, out []byte // receives, sends: one after another
	parts   [1]SGE
	list    [1]Send
}

// notice makes the send of a notice, in the place that belongs to its number.
func (c *Conn) notice(parts *[1]SGE, id uint64, n notice) Send {
	at := int(id%uint64(c.objects.sendsMax)) * noticeBytes
	b := c.notices.out[at : at+noticeBytes]
	n.put(b)
	parts[0] = SGE{b, c.objects.ownRegion.LocalKey()}
	inline := c.objects.inline >= noticeBytes
	return Send{ID: id, Op: OpSend, Parts: parts[:], Inline: inline, Signalled: c.signal(c.stage.hi)}
}

// notify sends a notice, if the queue has room for it. c.mu is held.
func (c *Conn) notify(n notice) bool {
	if !c.posting || c.posted-c.completed >= uint64(c.objects.sendsMax) {
		return false
	}
	c.notices.list[0] = c.notice(&c.notices.parts, c.posted+1, n)
	if c.postList(c.notices.list[:]) != nil {
		return false
	}
	c.t.counts.notices.Add(1)
	return true
}

// flush sends the notices that are due. What finds no room is tried again when a
// completion makes some. c.mu is held.
func (c *Conn) flush() {
	if c.wantStarve {
		c.wantStarve = !c.notify(notice{kind: noticeStarve, number: c.far.taken})
	}
	freed := c.near.freed - c.credited
	if freed == 0 {
		return
	}
	bytes := c.near.at(c.near.freed).end - c.near.at(c.credited+1).start
	if !c.starving && freed < uint64(len(c.near.list)/4) && bytes < uint64(c.near.ringBytes/4) {
		return
	}
	if c.notify(notice{kind: noticeCredit, number: c.near.freed}) {
		c.credited, c.starving = c.near.freed, false
		c.t.counts.credits.Add(1)
	}
}

// complete gives back what sends up to a number kept busy. c.mu is held.
func (c *Conn) complete(send uint64) {
	c.completed = max(c.completed, min(send, c.posted))
	for !c.flights.empty() && c.flights.oldest().send <= send {
		c.land(c.flights.pop())
	}
}

// credit notes that the peer has released messages up to a number. c.mu is held.
func (c *Conn) credit(number uint64) error {
	if number < c.far.freed || number > c.sent {
		return fmt.Errorf("credit for message %d, %d were sent and %d credited", number, c.sent, c.far.freed)
	}
	c.far.freed = number
	c.asked, c.wantStarve = false, false
	for !c.flights.empty() && c.flights.oldest().message <= number {
		c.land(c.flights.pop())
	}
	return nil
}

// land takes back what one send kept busy. c.mu is held.
func (c *Conn) land(fl flight) {
	c.stage.lo = max(c.stage.lo, fl.stageEnd)
	if fl.release != nil {
		c.released = append(c.released, fl.release)
	}
}

// keyOf finds the region that all of b lies in.
func (o *objects) keyOf(b []byte) (key uint32, ok bool) {
	// Unsafe rule 2 (Pointer to uintptr, not back): addresses are only compared.
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for i := range o.lent {
		if r := &o.lent[i]; at >= r.lo && at+uintptr(len(b)) <= r.hi {
			return r.region.LocalKey(), true
		}
	}
	return 0, false
}
