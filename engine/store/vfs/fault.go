package vfs

import (
	"io"
	"path"
	"slices"
	"sync"
	"syscall"
)

// Op is a kind of call that can be made to fail.
type Op uint8

const (
	OpAny Op = iota
	OpMkdir
	OpCreate
	OpOpen
	OpRename
	OpRemove
	OpList
	OpSyncDir
	OpLock
	OpRead
	OpWrite
	OpSync
	OpSize
	OpTruncate
	opCount
)

// Effect is what a fault does. The zero Effect returns Fault.Err and does
// nothing else.
type Effect uint8

const (
	Fail          Effect = iota // the call does nothing and returns Err
	ShortWrite                  // the first half of the bytes is written, then Err
	SyncThenLie                 // Sync returns Err; that file's later Syncs do nothing and return nil
	SyncThenClean               // Sync returns Err; what was dirty counts as clean until it is written again (Mem)
	FlipBit                     // a read succeeds with one bit of its bytes changed
	LoseWrite                   // a write returns nil and does nothing
)

// Fault is one line of a script: the Call-th call of kind Op whose base name
// matches suffers Effect.
type Fault struct {
	Op      Op
	Match   string // pattern of path.Match for the base name; "" = every name
	Call    int    // 1 = the first matching call
	Forever bool   // every later matching call too
	Effect  Effect
	Err     error // default EIO
	Bit     int   // with FlipBit: which bit of what was read, modulo its size
}

// Faulty is a disk whose calls fail by script. It counts every call.
type Faulty struct {
	fs     FS
	mu     sync.Mutex
	script []Fault
	seen   []int // matching calls so far, per line of the script
	hits   int
	calls  [opCount]int
	liars  map[string]bool // files whose Sync lies
}

var _ FS = (*Faulty)(nil)

// WithFaults wraps fs. The script's lines are tried in order; the first that
// strikes decides a call.
func WithFaults(fs FS, script ...Fault) *Faulty {
	return &Faulty{fs: fs, script: script, seen: make([]int, len(script)), liars: map[string]bool{}}
}

// Calls returns how many calls of this kind were made; OpAny counts all.
func (d *Faulty) Calls(op Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[op]
}

// Hits returns how many calls suffered a fault.
func (d *Faulty) Hits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits
}

// strike counts a call and returns the fault that it suffers, if any.
func (d *Faulty) strike(op Op, name string) (Fault, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[OpAny]++
	d.calls[op]++
	var hit Fault
	var struck bool
	for i, f := range d.script {
		if f.Op != OpAny && f.Op != op {
			continue
		}
		if f.Match != "" {
			if ok, _ := path.Match(f.Match, path.Base(name)); !ok {
				continue
			}
		}
		d.seen[i]++
		if !struck && (d.seen[i] == f.Call || f.Forever && d.seen[i] > f.Call) {
			hit, struck = f, true
		}
	}
	if struck {
		d.hits++
		if hit.Err == nil {
			hit.Err = syscall.EIO
		}
		if hit.Effect == SyncThenLie && op == OpSync {
			d.liars[name] = true
		}
	}
	return hit, struck
}

// fail is strike for calls that can only fail.
func (d *Faulty) fail(op Op, what, name string) error {
	if f, struck := d.strike(op, name); struck {
		return pathError(what, name, f.Err)
	}
	return nil
}

func (d *Faulty) MkdirAll(dir string) error {
	if err := d.fail(OpMkdir, "mkdir", dir); err != nil {
		return err
	}
	return d.fs.MkdirAll(dir)
}

func (d *Faulty) Create(name string) (File, error) {
	if err := d.fail(OpCreate, "open", name); err != nil {
		return nil, err
	}
	return d.wrap(name)(d.fs.Create(name))
}

func (d *Faulty) Open(name string) (File, error) {
	if err := d.fail(OpOpen, "open", name); err != nil {
		return nil, err
	}
	return d.wrap(name)(d.fs.Open(name))
}

func (d *Faulty) wrap(name string) func(File, error) (File, error) {
	return func(f File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{f, d, name}, nil
	}
}

func (d *Faulty) Rename(oldName, newName string) error {
	if err := d.fail(OpRename, "rename", oldName); err != nil {
		return err
	}
	return d.fs.Rename(oldName, newName)
}

func (d *Faulty) Remove(name string) error {
	if err := d.fail(OpRemove, "remove", name); err != nil {
		return err
	}
	return d.fs.Remove(name)
}

func (d *Faulty) List(dir string) ([]string, error) {
	if err := d.fail(OpList, "readdir", dir); err != nil {
		return nil, err
	}
	return d.fs.List(dir)
}

func (d *Faulty) SyncDir(dir string) error {
	if err := d.fail(OpSyncDir, "fsync", dir); err != nil {
		return err
	}
	return d.fs.SyncDir(dir)
}

func (d *Faulty) Lock(name string) (io.Closer, error) {
	if err := d.fail(OpLock, "flock", name); err != nil {
		return nil, err
	}
	return d.fs.Lock(name)
}

type faultyFile struct {
	File
	d    *Faulty
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	fault, struck := f.d.strike(OpRead, f.name)
	if struck && fault.Effect != FlipBit {
		return 0, pathError("read", f.name, fault.Err)
	}
	n, err := f.File.ReadAt(p, off)
	if struck && n > 0 {
		p[fault.Bit/8%n] ^= 1 << (fault.Bit % 8)
	}
	return n, err
}

func (f *faultyFile) WriteAt(parts [][]byte, off int64) error {
	fault, struck := f.d.strike(OpWrite, f.name)
	if !struck {
		return f.File.WriteAt(parts, off)
	}
	switch fault.Effect {
	case LoseWrite:
		return nil
	case ShortWrite:
		all := slices.Concat(parts...)
		if err := f.File.WriteAt([][]byte{all[:len(all)/2]}, off); err != nil {
			return err
		}
	}
	return pathError("write", f.name, fault.Err)
}

func (f *faultyFile) Sync() error { return f.synced(f.File.Sync) }

// synced is sync with what the script has for it.
func (f *faultyFile) synced(sync func() error) error {
	f.d.mu.Lock()
	lies := f.d.liars[f.name]
	f.d.mu.Unlock()
	fault, struck := f.d.strike(OpSync, f.name)
	switch {
	case lies:
		return nil
	case struck:
		if m, ok := f.File.(*memFile); ok && fault.Effect == SyncThenClean {
			m.loseDirty()
		}
		return pathError("sync", f.name, fault.Err)
	}
	return sync()
}

func (f *faultyFile) Refresh() error {
	if err := f.d.fail(OpSync, "refresh", f.name); err != nil {
		return err
	}
	return f.File.Refresh()
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.d.fail(OpSize, "stat", f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.d.fail(OpTruncate, "truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
