package rdma

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// spinMax is how long the pump looks for a completion before it sleeps, as the
// io_uring links do: longer spins gain nothing against a wake-up.
const spinMax = 20 * time.Microsecond

// pump takes the link's completions until it breaks or closes.
func (c *Conn) pump() {
	defer c.workers.Done()
	var batch [completionsPerPoll]Completion
	var repost [completionsPerPoll]Receive
	var spin link.Spinner
	for {
		n, err := c.look(batch[:], &spin)
		if err == nil && n == 0 {
			if c.over() { // and all that had come is taken
				return
			}
			n, err = c.sleep(batch[:])
		}
		c.mu.Lock()
		if err != nil {
			c.lose(err)
		}
		c.take(batch[:n], repost[:0])
		tell := c.takeReleased()
		c.mu.Unlock()
		for _, release := range tell {
			release()
		}
		if err != nil {
			return
		}
	}
}

func (c *Conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.posting
}

// look polls, and goes on for spinMax as long as that pays, letting others run.
func (c *Conn) look(batch []Completion, spin *link.Spinner) (int, error) {
	n, err := c.objects.queue.Poll(batch)
	if n > 0 || err != nil || c.t.o.NoSpin || !spin.Worth() {
		return n, err
	}
	for begin := time.Now(); n == 0 && err == nil && time.Since(begin) < spinMax; {
		runtime.Gosched()
		n, err = c.objects.queue.Poll(batch)
	}
	spin.Done(n > 0)
	return n, err
}

// sleep arms the queue, polls once more, since what came before the arming is not
// told, and waits. A queue pair that goes to ERR flushes its receives, which ends the
// wait too.
func (c *Conn) sleep(batch []Completion) (int, error) {
	if err := c.objects.queue.Arm(); err != nil {
		return 0, err
	}
	if n, err := c.objects.queue.Poll(batch); n > 0 || err != nil {
		return n, err
	}
	return 0, c.objects.queue.Wait()
}

// take deals with a list of completions. Receives are posted again before anybody
// can learn that they were used. c.mu is held.
func (c *Conn) take(batch []Completion, repost []Receive) {
	if len(batch) == 0 {
		return
	}
	if err := failure(batch); err != nil {
		c.lose(err)
	}
	for i := range batch {
		done := &batch[i]
		switch {
		case done.Status != StatusSuccess:
		case done.Kind == CompletedSend:
			c.complete(done.ID)
		default:
			if err := c.message(done); err != nil {
				c.lose(err)
			}
			repost = append(repost, c.receive(done.ID))
		}
	}
	if len(repost) > 0 && c.posting {
		if _, err := c.objects.pair.PostReceives(repost); err != nil {
			c.lose(err)
		}
	}
	if c.posting {
		c.flush()
	}
	c.moved.Broadcast()
	c.arrived.Broadcast()
}

// failure is the first of a list that says more than that all was flushed.
func failure(batch []Completion) error {
	var flushed error
	for i := range batch {
		switch done := &batch[i]; done.Status {
		case StatusSuccess:
		case StatusFlushed:
			flushed = fmt.Errorf("queue pair %d: %s", done.QPN, done.Status)
		default:
			return fmt.Errorf("queue pair %d: %s (vendor code %d)", done.QPN, done.Status, done.Vendor)
		}
	}
	return flushed
}

// message deals with one that the peer sent. It is checked like anything that comes
// from outside: its number is the next one, its size has credit. c.mu is held.
func (c *Conn) message(done *Completion) error {
	if done.Kind == CompletedReceiveImm {
		number, bytes := splitImmediate(done.Imm)
		if want := uint32(c.near.taken+1) & immediateNumbers; number != want {
			return fmt.Errorf("message %d, want %d, modulo 2^10: %w", number, want, wire.ErrProtocol)
		}
		if int(done.Bytes) > bytes {
			return fmt.Errorf("message %d of %d bytes, %d were written: %w", c.near.taken+1, bytes, done.Bytes,
				wire.ErrProtocol)
		}
		return c.frameLanded(bytes)
	}
	if done.Bytes != noticeBytes {
		return fmt.Errorf("notice of %d bytes: %w", done.Bytes, wire.ErrProtocol)
	}
	n, err := decodeNotice(c.receive(done.ID).Part.Bytes)
	if err != nil {
		return err
	}
	switch n.kind {
	case noticeFrame:
		if want := c.near.taken + 1; n.number != want || n.bytes > wire.FrameBytesMax {
			return fmt.Errorf("message %d of %d bytes, want %d: %w", n.number, n.bytes, want, wire.ErrProtocol)
		}
		return c.frameLanded(int(n.bytes))
	case noticeCredit:
		return c.credit(n.number)
	case noticeStarve:
		c.starving = true
	case noticeBye:
		c.bye(n.number)
	}
	return nil
}

// frameLanded notes a message in the ring.
func (c *Conn) frameLanded(bytes int) error {
	taken, err := c.near.land(bytes)
	if err == nil {
		c.refs[taken%uint64(len(c.refs))] = 0
		c.t.counts.receivedBytes.Add(uint64(bytes))
	}
	return err
}

// receive is the entry of the receive queue with this ID: a place for a notice.
func (c *Conn) receive(id uint64) Receive {
	b := c.notices.in[id*noticeBytes:][:noticeBytes:noticeBytes]
	return Receive{ID: id, Part: SGE{b, c.objects.ownRegion.LocalKey()}}
}

// takeReleased returns whom to tell that lent parts are free. c.mu is held.
func (c *Conn) takeReleased() []func() {
	if len(c.released) == 0 {
		return nil
	}
	tell := c.released
	c.released = c.spare[:0]
	c.spare = tell
	return tell
}

// fail is for events: the device tells of a queue pair or completion queue.
func (c *Conn) fail(event Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	why := errors.New(event.Text)
	if event.Kind == EventDeviceFatal {
		why = fmt.Errorf("%s: %w", event.Text, ErrDeviceGone)
	}
	c.lose(why)
	c.objects.queue.Wake()
}
