package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
)

const (
	sectorBytes = 512
	pageBytes   = 4096
)

// MemOptions of a memory disk.
type MemOptions struct {
	// CapacityBytes is how much file content fits, counted in written 4 KiB pages;
	// beyond it writes fail with ENOSPC. 0 = unlimited.
	CapacityBytes int64
	// QueueOrder chooses which of the writes under way in a queue ends next, from the
	// oldest, 0, to the youngest; nil = the oldest.
	QueueOrder func(underWay int) int
}

// Mem is a memory disk that knows what is not synced. Its methods may be called
// by any goroutine. It uses no randomness and no clock.
type Mem struct {
	mu      sync.Mutex
	o       MemOptions
	pages   int64 // held by all named or open files
	life    int   // handles of an earlier life are closed
	names   map[string]*inode
	durable map[string]*inode
	pending []nameOp // not yet synced, oldest first
	dirs    map[string]bool
	loose   map[string]bool // directories whose names are not durable
	locks   map[string]bool
}

var _ FS = (*Mem)(nil)

// nameOp is one change of a directory that no SyncDir covers yet.
type nameOp struct {
	oldName string // leaves, unless empty
	newName string // appears, unless empty
	ino     *inode
}

// inode is a file's content. Pages that were never written are nil and read as
// zeros. Only a page in old is written in place: all others are shared with the
// disks that Crash made, of which a simulator makes thousands.
type inode struct {
	pages      []*[pageBytes]byte
	size       int64
	syncedSize int64
	old        map[int64]*oldPage // by page number: what the medium has
}

// oldPage is the durable content of a page with unsynced sectors.
type oldPage struct {
	data  *[pageBytes]byte // nil = zeros
	dirty uint8            // bit i = sector i is unsynced
	lost  uint8            // those that no Sync writes any more: one failed, and took them for written
}

// NewMem returns an empty disk whose root directories "." and "/" exist.
func NewMem(o MemOptions) *Mem {
	return &Mem{
		o:       o,
		names:   map[string]*inode{},
		durable: map[string]*inode{},
		dirs:    map[string]bool{".": true, "/": true},
		loose:   map[string]bool{},
		locks:   map[string]bool{},
	}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	for d := dir; !m.dirs[d]; d = path.Dir(d) {
		if m.names[d] != nil {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
	}
	for d := dir; !m.dirs[d]; d = path.Dir(d) {
		m.dirs[d] = true
	}
	for d := dir; len(m.loose) > 0 && d != path.Dir(d); d = path.Dir(d) {
		delete(m.loose, d)
	}
	return nil
}

func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.names[name] != nil || m.dirs[name] {
		return nil, pathError("open", name, fs.ErrExist)
	}
	if !m.dirs[path.Dir(name)] {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	ino := &inode{}
	m.names[name] = ino
	m.pending = append(m.pending, nameOp{newName: name, ino: ino})
	return &memFile{m: m, ino: ino, name: name, life: m.life}, nil
}

func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	ino := m.names[name]
	if ino == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &memFile{m: m, ino: ino, name: name, life: m.life}, nil
}

func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldName, newName = path.Clean(oldName), path.Clean(newName)
	ino := m.names[oldName]
	if ino == nil || !m.dirs[path.Dir(newName)] {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	if oldName == newName {
		return nil
	}
	if over := m.names[newName]; over != nil {
		m.pages -= over.held()
	}
	delete(m.names, oldName)
	m.names[newName] = ino
	m.pending = append(m.pending, nameOp{oldName: oldName, newName: newName, ino: ino})
	return nil
}

func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	ino := m.names[name]
	if ino == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	m.pages -= ino.held()
	delete(m.names, name)
	m.pending = append(m.pending, nameOp{oldName: name, ino: ino})
	return nil
}

func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if !m.dirs[dir] {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	var names []string
	for name := range m.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for d := range m.dirs {
		if d != dir && path.Dir(d) == dir {
			names = append(names, path.Base(d))
		}
	}
	sort.Strings(names)
	return names, nil
}

func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if !m.dirs[dir] {
		return pathError("open", dir, fs.ErrNotExist)
	}
	rest := m.pending[:0]
	for _, op := range m.pending {
		touches := op.oldName != "" && path.Dir(op.oldName) == dir || op.newName != "" && path.Dir(op.newName) == dir
		if !touches {
			rest = append(rest, op)
			continue
		}
		op.applyTo(m.durable)
	}
	m.pending = rest
	for d := range m.loose {
		if path.Dir(d) == dir {
			delete(m.loose, d)
		}
	}
	return nil
}

// lost says whether a power cut takes the directory that a name lies in.
func (m *Mem) lost(name string) bool {
	for d := path.Dir(name); len(m.loose) > 0 && d != path.Dir(d); d = path.Dir(d) {
		if m.loose[d] {
			return true
		}
	}
	return false
}

// applyTo makes the change in a table of names.
func (op nameOp) applyTo(names map[string]*inode) {
	if op.oldName != "" && names[op.oldName] == op.ino {
		delete(names, op.oldName)
	}
	if op.newName != "" {
		names[op.newName] = op.ino
	}
}

func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.Create(name)
	if errors.Is(err, fs.ErrExist) {
		f, err = m.Open(name)
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	m.locks[name] = true
	return &memLock{m: m, name: name, life: f.(*memFile).life}, nil
}

type memLock struct {
	m    *Mem
	name string
	life int
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		if l.life == l.m.life {
			delete(l.m.locks, l.name)
		}
	})
	return nil
}

// Kill ends every handle and lock, as the end of a process does. What was
// written stays readable, and what was not synced stays unsynced.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.locks = map[string]bool{}
}

// Names returns the paths of all files with the given prefix, sorted.
func (m *Mem) Names(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.names {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}
