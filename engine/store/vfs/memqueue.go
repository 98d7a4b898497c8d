package vfs

import (
	"errors"
	"strconv"
)

var (
	_ Queuer = (*Mem)(nil)
	_ Queuer = (*Faulty)(nil)
)

// ranged is a file whose bytes become durable piece by piece.
type ranged interface {
	File
	syncRange(off, bytes int64) error
}

// scripted is a queue of a disk that is none: bytes are written when Write is
// called, as what a power cut decides about, and are durable when Wait returns
// them, one at a time, in the order that the disk's options choose.
type scripted struct {
	*Bell
	order func(underWay int) int // nil = the oldest first
	depth int
	under []scriptedWrite
}

type scriptedWrite struct {
	f          File
	off, bytes int64
	user       uint64
	failed     error
}

// OpenQueue implements Queuer; MemOptions.QueueOrder chooses what ends next.
func (m *Mem) OpenQueue(o QueueOptions) (Queue, error) { return newScripted(m.o.QueueOrder, o) }

// OpenQueue implements Queuer where the wrapped disk does: the beginning of a write
// suffers what the script has for OpWrite, its end what it has for OpSync.
func (d *Faulty) OpenQueue(o QueueOptions) (Queue, error) {
	m, ok := d.fs.(*Mem)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return newScripted(m.o.QueueOrder, o)
}

func newScripted(order func(int) int, o QueueOptions) (Queue, error) {
	return &scripted{Bell: NewBell(), order: order, depth: o.Depth}, nil
}

func (q *scripted) Write(f File, parts [][]byte, off int64, user uint64) {
	w := scriptedWrite{f: f, off: off, user: user}
	for _, p := range parts {
		w.bytes += int64(len(p))
	}
	for _, u := range q.under {
		if u.f == f && u.off < off+w.bytes && off < u.off+u.bytes {
			panic("vfs: a write at offset " + strconv.FormatInt(off, 10) + " overlaps one that is under way")
		}
	}
	w.failed = f.WriteAt(parts, off)
	q.under = append(q.under, w)
}

func (q *scripted) Room(int, int) bool { return len(q.under) < q.depth }

func (q *scripted) Wait(done []Written, sleep bool) []Written {
	switch {
	case len(q.under) > 0 && sleep:
		i := 0
		if q.order != nil {
			i = q.order(len(q.under))
		}
		w := q.under[i]
		q.under = append(q.under[:i], q.under[i+1:]...)
		if w.failed == nil {
			w.failed = w.f.(ranged).syncRange(w.off, w.bytes)
		}
		done = append(done, Written{w.user, w.failed})
	case sleep:
		q.Sleep()
	}
	q.Busy()
	return done
}

func (q *scripted) About() string { return "a stand-in for a disk" }

func (q *scripted) Close() error { return nil }

// syncRange makes some bytes durable, and with them the size needed to read them.
func (f *memFile) syncRange(off, bytes int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync"); err != nil {
		return err
	}
	end := off + bytes
	for n := off / pageBytes; n*pageBytes < end; n++ {
		o := f.ino.old[n]
		if o == nil {
			continue
		}
		lo, hi := max(off-n*pageBytes, 0)/sectorBytes, (min(end-n*pageBytes, pageBytes)+sectorBytes-1)/sectorBytes
		f.ino.syncSectors(n, o, int(lo), int(hi))
	}
	f.ino.syncedSize = max(f.ino.syncedSize, min(end, f.ino.size))
	return nil
}

// syncSectors puts the dirty ones among sectors [lo, hi) of page n on the medium,
// except for what a failed sync lost.
func (ino *inode) syncSectors(n int64, o *oldPage, lo, hi int) {
	if all := uint8(1<<hi - 1<<lo); o.dirty&^all == 0 && o.lost == 0 {
		delete(ino.old, n) // as after a Sync
		return
	}
	medium := new([pageBytes]byte)
	if o.data != nil {
		*medium = *o.data
	}
	for s := lo; s < hi; s++ {
		if o.lost&(1<<s) != 0 {
			continue
		}
		at := medium[s*sectorBytes : (s+1)*sectorBytes]
		clear(at)
		if p := ino.page(n); p != nil {
			copy(at, p[s*sectorBytes:])
		}
		o.dirty &^= 1 << s
	}
	if o.data = medium; o.dirty == 0 {
		delete(ino.old, n)
	}
}

func (f *faultyFile) syncRange(off, bytes int64) error {
	return f.synced(func() error { return f.File.(ranged).syncRange(off, bytes) })
}
