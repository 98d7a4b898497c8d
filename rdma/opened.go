package rdma

import (
	"sync"
)

// opened is a device in use: by the transport until it fails or the transport is
// closed, and by its links. The last one closes it.
type opened struct {
	device Device
	rnrs   uint64 // counted before it was opened

	mu    sync.Mutex
	uses  int
	dead  bool
	conns map[*Conn]bool
	done  chan struct{} // the event goroutine's end
}

func openDevice(v Verbs, which DeviceName) (*opened, error) {
	device, err := v.Open(which)
	if err != nil {
		return nil, err
	}
	d := &opened{device: device, uses: 1, conns: make(map[*Conn]bool), done: make(chan struct{})}
	d.rnrs, _ = device.RNRCount()
	go d.events() // ends with StopEvents, when nobody uses the device any more
	return d, nil
}

// events tells links what the device says about them.
func (d *opened) events() {
	defer close(d.done)
	for {
		event, err := d.device.NextEvent()
		if err != nil {
			return
		}
		for _, c := range d.concerned(event) {
			c.fail(event)
		}
	}
}

func (d *opened) concerned(event Event) (conns []*Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if event.Kind == EventDeviceFatal {
		d.dead = true
	}
	for c := range d.conns {
		switch {
		case event.Kind == EventDeviceFatal,
			event.Kind == EventQueuePair && event.Number == c.objects.pair.Identity().QPN,
			event.Kind == EventCompletions && event.Number == c.objects.queue.Number():
			conns = append(conns, c)
		}
	}
	return conns
}

// use adds a user, unless the device is dead.
func (d *opened) use() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead || d.uses == 0 {
		return false
	}
	d.uses++
	return true
}

// kill lets the transport open the device again next time.
func (d *opened) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

func (d *opened) release() {
	d.mu.Lock()
	d.uses--
	last := d.uses == 0
	d.mu.Unlock()
	if !last {
		return
	}
	d.device.StopEvents()
	<-d.done
	_ = d.device.Close() // its children are closed; it is gone in any case
}

func (d *opened) add(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[c] = true
}

func (d *opened) remove(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}
