package engine

import (
	"sync"
	"time"

	"github.com/claudefs/repl/engine/node"
)

// clock is the engine's one timer: the heart's next tick, the journals' closing
// units, the Store's next Sync. With nothing due it does not run.
type clock struct {
	kick chan struct{} // capacity 1
	quit chan struct{}

	mu      sync.Mutex
	syncDue time.Duration // Mono; 0 = nothing was applied since the last Sync
	e       *Engine
}

func (c *clock) open(e *Engine) {
	c.e, c.kick, c.quit = e, make(chan struct{}, 1), make(chan struct{})
}

func (c *clock) wakeUp() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// applied has the Store made durable in a while.
func (c *clock) applied() {
	c.mu.Lock()
	first := c.syncDue == 0
	if first {
		c.syncDue = c.e.now().Mono + syncEvery
	}
	c.mu.Unlock()
	if first {
		c.wakeUp()
	}
}

func (c *clock) end() { close(c.quit) }

// run ticks until end.
func (c *clock) run() {
	defer c.e.workers.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if due := c.next(); due == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, due-c.e.now().Mono))
		}
		select {
		case <-timer.C:
			c.tick()
		case <-c.kick:
		case <-c.quit:
			return
		}
	}
}

// next is when the first thing is due; 0 = nothing is.
func (c *clock) next() time.Duration {
	c.e.heart.mu.Lock()
	due := c.e.heart.wake
	c.e.heart.mu.Unlock()
	earlier := func(at time.Duration) {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	for _, f := range c.e.journals() {
		earlier(f.restDue())
	}
	c.mu.Lock()
	earlier(c.syncDue)
	c.mu.Unlock()
	return due
}

// tick does what is due.
func (c *clock) tick() {
	now := c.e.now().Mono
	c.e.heart.mu.Lock()
	wake := c.e.heart.wake
	c.e.heart.mu.Unlock()
	if wake != 0 && wake <= now {
		c.e.step(&node.Tick{Receiving: c.e.links.receiving(now, c.e.o.HeartbeatTimeout/2)})
	}
	for _, f := range c.e.journals() {
		if due := f.restDue(); due != 0 && due <= now {
			f.atRest()
		}
	}
	c.mu.Lock()
	sync := c.syncDue != 0 && c.syncDue <= now
	if sync {
		c.syncDue = 0
	}
	c.mu.Unlock()
	if sync {
		c.e.housework.syncStore()
	}
}
