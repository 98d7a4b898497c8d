package vfs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrFailpoint: a text names no failpoint.
var ErrFailpoint = errors.New("no such failpoint")

// failpointOps are the calls that change a disk, by the name that a failpoint has
// for them.
var failpointOps = []failpointOp{
	{"create", OpCreate}, {"write", OpWrite}, {"flush", OpSync}, {"rename", OpRename}, {"remove", OpRemove},
	{"dirflush", OpSyncDir},
}

type failpointOp struct {
	name string
	op   Op
}

// Failpoint is one moment in a disk's life: before or behind the Call-th call of
// kind Op. Its text is "flush:17:before". A queue's durable write counts as a write
// and as a flush: "write:3:before" is before the queue has it, "write:3:after" and
// "flush:3:before" are while it is under way, "flush:3:after" is when it has ended
// and nobody was told.
type Failpoint struct {
	Op    Op // OpCreate, OpWrite, OpSync, OpRename, OpRemove or OpSyncDir
	Call  int
	After bool
}

// FailpointOps are the kinds of calls that a failpoint can name.
func FailpointOps() []Op {
	var ops []Op
	for _, k := range failpointOps {
		ops = append(ops, k.op)
	}
	return ops
}

// ParseFailpoint reads the text of a failpoint; ErrFailpoint says what is wrong.
func ParseFailpoint(text string) (p Failpoint, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return p, fmt.Errorf("%q is not KIND:NUMBER:WHEN, as in flush:17:before: %w", text, ErrFailpoint)
	}
	i := slices.IndexFunc(failpointOps, func(k failpointOp) bool { return k.name == parts[0] })
	if i < 0 {
		return p, fmt.Errorf("%q: kinds are create, write, flush, rename, remove, dirflush: %w", text, ErrFailpoint)
	}
	p.Op = failpointOps[i].op
	if p.Call, err = strconv.Atoi(parts[1]); err != nil || p.Call < 1 {
		return p, fmt.Errorf("%q: calls are counted from 1: %w", text, ErrFailpoint)
	}
	if p.After = parts[2] == "after"; !p.After && parts[2] != "before" {
		return p, fmt.Errorf("%q: it is before or after the call: %w", text, ErrFailpoint)
	}
	return p, nil
}

// String is the failpoint's text.
func (p Failpoint) String() string {
	name := "unknown"
	for _, k := range failpointOps {
		if k.op == p.Op {
			name = k.name
		}
	}
	when := "before"
	if p.After {
		when = "after"
	}
	return fmt.Sprintf("%s:%d:%s", name, p.Call, when)
}

// AtFailpoint wraps fs so that strike is called at p, once, by the goroutine that
// makes the call; it need not return. The result has queues if fs has.
func AtFailpoint(fs FS, p Failpoint, strike func()) FS {
	w := &watched{FS: fs, p: p, strike: strike}
	if _, ok := fs.(Queuer); ok {
		return &watchedQueuer{w}
	}
	return w
}

// watched is a disk with a failpoint.
type watched struct {
	FS
	p      Failpoint
	strike func()

	mu    sync.Mutex
	calls int
}

// count numbers a call of a kind: true if it is the failpoint's.
func (w *watched) count(op Op) bool {
	if op != w.p.Op {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	return w.calls == w.p.Call
}

// do makes a call, and strikes around it if it is the failpoint's.
func (w *watched) do(op Op, call func() error) error {
	hit := w.count(op)
	if hit && !w.p.After {
		w.strike()
	}
	err := call()
	if hit && w.p.After {
		w.strike()
	}
	return err
}

func (w *watched) Create(name string) (f File, err error) {
	err = w.do(OpCreate, func() error {
		f, err = w.FS.Create(name)
		return err
	})
	return w.file(f, err)
}

func (w *watched) Open(name string) (File, error) { return w.file(w.FS.Open(name)) }

func (w *watched) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{f, w}, nil
}

func (w *watched) Rename(oldName, newName string) error {
	return w.do(OpRename, func() error { return w.FS.Rename(oldName, newName) })
}

func (w *watched) Remove(name string) error {
	return w.do(OpRemove, func() error { return w.FS.Remove(name) })
}

func (w *watched) SyncDir(dir string) error {
	return w.do(OpSyncDir, func() error { return w.FS.SyncDir(dir) })
}

type watchedFile struct {
	File
	w *watched
}

func (f *watchedFile) WriteAt(parts [][]byte, off int64) error {
	return f.w.do(OpWrite, func() error { return f.File.WriteAt(parts, off) })
}

func (f *watchedFile) Sync() error { return f.w.do(OpSync, f.File.Sync) }

func (f *watchedFile) Refresh() error { return f.w.do(OpSync, f.File.Refresh) }

// watchedQueuer is watched over a disk that has queues.
type watchedQueuer struct{ *watched }

func (w *watchedQueuer) OpenQueue(o QueueOptions) (Queue, error) {
	q, err := w.FS.(Queuer).OpenQueue(o)
	if err != nil {
		return nil, err
	}
	return &watchedQueue{Queue: q, w: w.watched}, nil
}

// watchedQueue is the queue of a disk with a failpoint.
type watchedQueue struct {
	Queue
	w       *watched
	flushes bool   // the failpoint is behind the flush of the write …
	user    uint64 // … that has this number
}

func (q *watchedQueue) Write(f File, parts [][]byte, off int64, user uint64) {
	_ = q.w.do(OpWrite, func() error {
		q.Queue.Write(f.(*watchedFile).File, parts, off, user)
		return nil
	})
	if q.w.count(OpSync) {
		if !q.w.p.After {
			q.w.strike()
		}
		q.flushes, q.user = q.w.p.After, user
	}
}

func (q *watchedQueue) Wait(done []Written, sleep bool) []Written {
	n := len(done)
	done = q.Queue.Wait(done, sleep)
	for i := range done[n:] {
		if q.flushes && done[n+i].User == q.user {
			q.flushes = false
			q.w.strike()
		}
	}
	return done
}
