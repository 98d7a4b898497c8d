package faultproxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// chunkBytes × queueChunks is what a tunnel holds under way in a direction.
	chunkBytes  = 64 << 10
	queueChunks = 256
)

// tunnel is one connection through a proxy.
//
//	near ─ fill ─▶ queue ─ drain ─▶ far     by ways[0], to the target
//	near ◀─ drain ─ queue ◀─ fill ─ far     by ways[1]
type tunnel struct {
	near *net.TCPConn
	once sync.Once
	done chan struct{} // closed by reset

	mu  sync.Mutex
	far *net.TCPConn // nil until the target was reached
}

func newTunnel(near *net.TCPConn) *tunnel { return &tunnel{near: near, done: make(chan struct{})} }

// chunk is a piece of the stream, or with end set its end: that takes its time
// too, and no cut lets it through.
type chunk struct {
	memory []byte
	n      int
	due    time.Time
	end    error // io.EOF, or what broke the connection behind this chunk
}

// reset breaks both ends, now or, if the target is being dialed, when it is
// reached. Any goroutine may call it.
func (t *tunnel) reset() {
	t.once.Do(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		abort(t.near)
		if t.far != nil {
			abort(t.far)
		}
		close(t.done) // last: whoever sees it may close the sockets in order
	})
}

// abort makes the close a TCP reset. Both calls fail only on a socket that has
// ended already.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// release closes both ends in order, when nothing uses them any more.
func (t *tunnel) release() {
	_ = t.near.Close()
	if t.far != nil {
		_ = t.far.Close()
	}
}

// run forwards until both directions have ended or the tunnel was reset.
func (t *tunnel) run(ctx context.Context, p *Proxy) {
	defer t.release()
	for _, w := range p.ways { // a dial needs both directions
		if !w.open(t.done) {
			return
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.targetNow())
	if err != nil {
		t.reset()
		return
	}
	if !t.join(conn.(*net.TCPConn)) {
		return
	}
	var directions sync.WaitGroup
	// Each ends at its stream's end or at reset.
	directions.Go(func() { t.forward(p.ways[0], p.ways[1], t.near, t.far) })
	directions.Go(func() { t.forward(p.ways[1], p.ways[0], t.far, t.near) })
	directions.Wait()
}

func (t *tunnel) join(far *net.TCPConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.far = far
	select {
	case <-t.done:
		abort(far)
		return false
	default:
		return true
	}
}

func (t *tunnel) forward(w, back *way, from, to *net.TCPConn) {
	queue := make(chan chunk, queueChunks)
	idle := make(chan chunk, queueChunks+2) // the queue's, and one in each hand
	var filling sync.WaitGroup
	filling.Go(func() { t.fill(w, from, queue, idle) }) // ends at the stream's end or at reset
	t.drain(w, back, to, queue, idle)
	filling.Wait()
}

func (t *tunnel) fill(w *way, from *net.TCPConn, queue chan<- chunk, idle <-chan chunk) {
	timer := newTimer()
	defer timer.Stop()
	var spares [][]byte
	underWay := 0
	for {
		room := w.room(underWay)
		var c chunk
		if room == 0 {
			select {
			case c = <-idle:
			case <-t.done:
				return
			}
		} else {
			select {
			case c = <-idle:
			default:
			}
		}
		if c.memory != nil {
			spares = append(spares, c.memory)
			underWay -= c.n
			continue
		}
		if len(spares) == 0 {
			spares = append(spares, make([]byte, chunkBytes))
		}
		memory := spares[len(spares)-1]
		spares = spares[:len(spares)-1]
		n, err := from.Read(memory[:room])
		underWay += n
		due, resume := w.schedule(time.Now(), n)
		select {
		case queue <- chunk{memory: memory, n: n, due: due, end: err}:
		case <-t.done:
			return
		}
		if err != nil || !t.until(resume, timer) {
			return
		}
	}
}

func (t *tunnel) drain(w, back *way, to *net.TCPConn, queue <-chan chunk, idle chan<- chunk) {
	timer := newTimer()
	defer timer.Stop()
	for {
		var c chunk
		select {
		case c = <-queue:
		case <-t.done:
			return
		}
		if !t.until(c.due, timer) || !w.open(t.done) {
			return
		}
		if c.end == io.EOF {
			_ = to.CloseWrite() // fails if it has ended already
			return
		}
		if c.end != nil {
			t.reset()
			return
		}
		n, reset := w.pass(c.memory[:c.n])
		_, err := to.Write(c.memory[:n])
		// The news that nobody is there any more comes by the way back.
		if reset || err != nil && back.open(t.done) {
			t.reset()
		}
		if reset || err != nil {
			return
		}
		idle <- c // never full: it has room for all there are
	}
}

// until waits for a point in time, and says false when the tunnel was reset
// first.
func (t *tunnel) until(point time.Time, timer *time.Timer) bool {
	wait := time.Until(point)
	if wait <= 0 {
		return true
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		return true
	case <-t.done:
		return false
	}
}

func newTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}
