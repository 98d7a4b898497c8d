package main

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	walFileBytes   = 256 << 20 // written once before the clock starts, then in a circle
	walBufferBytes = 8 << 20
)

// wal is the log that a contender with +log keeps: callers copy into a buffer, one
// goroutine writes and flushes the other one. That is what an
// engineer builds who has read about group commit.
type wal struct {
	file *os.File
	done func(record uint64, err error) // everything up to record is flushed; on the log's goroutine

	mu      sync.Mutex
	changed *sync.Cond
	filling []byte
	writing []byte
	last    uint64
	closed  bool
	failed  error
	over    chan struct{}
}

func newWAL(path string, done func(uint64, error)) (*wal, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < walFileBytes; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, off); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return nil, err
	}
	w := &wal{
		file: f, done: done, over: make(chan struct{}),
		filling: make([]byte, 0, walBufferBytes), writing: make([]byte, 0, walBufferBytes),
	}
	w.changed = sync.NewCond(&w.mu)
	go w.run() // Ends with close, or with a failed write.
	return w, nil
}

// append takes a copy of parts; it waits while the buffer is full.
func (w *wal) append(record uint64, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.filling)+size > walBufferBytes && w.failed == nil && !w.closed {
		w.changed.Wait()
	}
	if w.failed != nil || w.closed {
		return fmt.Errorf("log closed: %w", w.failed)
	}
	for _, p := range parts {
		w.filling = append(w.filling, p...)
	}
	w.last = record
	w.changed.Broadcast()
	return nil
}

func (w *wal) run() {
	defer close(w.over)
	off := int64(0)
	for {
		w.mu.Lock()
		for len(w.filling) == 0 && !w.closed {
			w.changed.Wait()
		}
		if len(w.filling) == 0 {
			w.mu.Unlock()
			return
		}
		w.filling, w.writing = w.writing[:0], w.filling
		last := w.last
		w.mu.Unlock()
		w.changed.Broadcast()
		if off+int64(len(w.writing)) > walFileBytes {
			off = 0
		}
		_, err := w.file.WriteAt(w.writing, off)
		if err == nil {
			err = unix.Fdatasync(int(w.file.Fd()))
		}
		// Whole blocks: a block that is written twice would be read before.
		off += (int64(len(w.writing)) + 4095) &^ 4095
		if err != nil {
			w.mu.Lock()
			w.failed = err
			w.mu.Unlock()
			w.changed.Broadcast()
			w.done(0, err)
			return
		}
		w.done(last, nil)
	}
}

func (w *wal) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.changed.Broadcast()
	<-w.over
	return w.file.Close()
}
