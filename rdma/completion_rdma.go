//go:build rdma && linux && cgo

package rdma

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/claudefs/repl/cgo/verbs"
)

const (
	// completionsPerCrossing is how many completions one Poll returns at most.
	completionsPerCrossing = 64
	// eventsPerAck: ibv_ack_cq_events takes a lock, so events are acknowledged in lots.
	eventsPerAck = 64
)

type systemQueue struct {
	device  *systemDevice
	number  uint32
	channel *verbs.CompChannel
	queue   *verbs.CQ
	list    *verbs.WCList
	told    *descriptor
	unacked int
	overrun atomic.Bool

	pairs  int // under device.mu
	closed bool
}

func (d *systemDevice) OpenCompletionQueue(capacity int) (queue CompletionQueue, err error) {
	q := &systemQueue{device: d}
	defer func() {
		if err != nil {
			q.release()
			queue, err = nil, d.wrap(err)
		}
	}()
	d.mu.Lock()
	d.numbered++
	q.number = d.numbered
	d.mu.Unlock()
	if q.channel, err = d.context.CreateCompChannel(); err != nil {
		return nil, err
	}
	if q.told, err = newDescriptor(q.channel.FD(), q.takeEvent); err != nil {
		return nil, err
	}
	if q.list, err = verbs.NewWCList(completionsPerCrossing); err != nil {
		return nil, err
	}
	if q.queue, err = d.context.CreateCQ(capacity, uintptr(q.number), q.channel, 0); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.queues[q.number] = q
	d.children++
	d.mu.Unlock()
	return q, nil
}

// release gives back what there is, and returns the first error.
func (q *systemQueue) release() (err error) {
	if q.queue != nil {
		q.queue.AckEvents(q.unacked)
		err = q.queue.Close()
	}
	if q.told != nil {
		q.told.close()
	}
	if q.channel != nil {
		if e := q.channel.Close(); err == nil {
			err = e
		}
	}
	if q.list != nil {
		_ = q.list.Close() // once: it cannot fail
	}
	return err
}

func (q *systemQueue) Number() uint32 { return q.number }

func (q *systemQueue) Poll(into []Completion) (int, error) {
	if q.overrun.Load() {
		return 0, fmt.Errorf("%s: completion queue of %d entries: %w", q.device.caps.Device, q.queue.Entries(),
			ErrOverrun)
	}
	if q.device.gone.Load() {
		return 0, fmt.Errorf("%s: poll: %w", q.device.caps.Device, ErrDeviceGone)
	}
	n, err := q.queue.Poll(q.list, min(len(into), completionsPerCrossing))
	if err != nil {
		return 0, q.device.wrap(err)
	}
	for i := range n {
		w := q.list.At(i)
		into[i] = Completion{
			ID: w.ID, QPN: w.QPN, Status: Status(w.Status), Kind: completionKind(w.Opcode), Bytes: w.Bytes, Imm: w.Imm,
			Vendor: w.VendorError,
		}
	}
	return n, nil
}

func completionKind(o verbs.WCOpcode) CompletionKind {
	switch o {
	case verbs.WCRecv:
		return CompletedReceive
	case verbs.WCRecvRDMAImm:
		return CompletedReceiveImm
	}
	return CompletedSend
}

func (q *systemQueue) Arm() error { return q.device.wrap(q.queue.ReqNotify(false)) }

func (q *systemQueue) Wait() error {
	if err := q.told.wait(); err != nil && !errors.Is(err, net.ErrClosed) { // by Wake
		return q.device.wrap(err)
	}
	return nil
}

func (q *systemQueue) takeEvent() error {
	if _, err := q.channel.GetCQEvent(); err != nil {
		return err
	}
	if q.unacked++; q.unacked == eventsPerAck {
		q.queue.AckEvents(q.unacked)
		q.unacked = 0
	}
	return nil
}

func (q *systemQueue) Wake() { q.told.wake() }

func (q *systemQueue) Close() error {
	d := q.device
	d.mu.Lock()
	switch {
	case q.closed:
		d.mu.Unlock()
		return nil
	case q.pairs > 0:
		d.mu.Unlock()
		return fmt.Errorf("%s: completion queue: close: %d queue pairs: %w", d.caps.Device, q.pairs, ErrInUse)
	}
	q.closed = true
	delete(d.queues, q.number)
	d.mu.Unlock()
	// Not under the lock: the library waits until NextEvent has acknowledged.
	err := q.release()
	d.child(-1)
	return d.wrap(err)
}
