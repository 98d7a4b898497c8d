package main

import (
	"sync"
	"sync/atomic"
)

// watermark is the number of records that were answered for. It only rises.
// Reading it costs a load.
type watermark struct {
	value atomic.Uint64

	mu      sync.Mutex
	changed *sync.Cond
	failed  error
}

func newWatermark() *watermark {
	w := new(watermark)
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *watermark) raise(to uint64) {
	if to <= w.value.Load() {
		return
	}
	w.mu.Lock()
	if to > w.value.Load() {
		w.value.Store(to)
	}
	w.mu.Unlock()
	w.changed.Broadcast()
}

// fail ends all waiting; the first error counts.
func (w *watermark) fail(err error) {
	w.mu.Lock()
	if w.failed == nil {
		w.failed = err
	}
	w.mu.Unlock()
	w.changed.Broadcast()
}

func (w *watermark) load() uint64 { return w.value.Load() }

// wait returns when the watermark is at least at.
func (w *watermark) wait(at uint64) error {
	if w.value.Load() >= at {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.value.Load() < at && w.failed == nil {
		w.changed.Wait()
	}
	if w.value.Load() >= at {
		return nil
	}
	return w.failed
}
