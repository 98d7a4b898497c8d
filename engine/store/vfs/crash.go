package vfs

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"sort"
)

// Fate is what a crash does with one thing that was not synced.
type Fate uint8

const (
	Drop    Fate = iota // the medium has what it had before
	Keep                // it got there after all
	Torn                // a sector: its first bytes are new, the rest old; else Drop
	Rubbish             // a sector: neither old nor new; else Drop
)

// UnsyncedKind tells what an Unsynced is.
type UnsyncedKind uint8

const (
	UnsyncedName   UnsyncedKind = iota // a name that appeared, left or moved
	UnsyncedSize                       // a file's new size
	UnsyncedSector                     // 512 bytes of a file
)

// Unsynced is one thing that a crash decides about.
type Unsynced struct {
	Kind   UnsyncedKind
	Name   string // the file; of a name: the new one, or the removed one
	Sector int64  // number of the sector in the file
}

func (u Unsynced) String() string {
	switch u.Kind {
	case UnsyncedName:
		return "name " + u.Name
	case UnsyncedSize:
		return "size of " + u.Name
	}
	return fmt.Sprintf("sector %d of %s", u.Sector, u.Name)
}

// RandomFates returns a chooser that decides from r: half is kept, a quarter
// dropped, an eighth each torn and filled with rubbish.
func RandomFates(r *rand.Rand) func(Unsynced) Fate {
	return func(Unsynced) Fate {
		return [8]Fate{Keep, Keep, Keep, Keep, Drop, Drop, Torn, Rubbish}[r.IntN(8)]
	}
}

// Unsynced lists what a crash now would decide about, in the order in which
// Crash asks.
func (m *Mem) Unsynced() []Unsynced {
	var all []Unsynced
	m.Crash(func(u Unsynced) Fate {
		all = append(all, u)
		return Drop
	})
	return all
}

// Crash returns the disk that a power cut at this moment leaves. choose is asked
// once for each unsynced thing, in a fixed order: names first, in the order of
// their changes; then file by file, sorted by name. m itself goes on as it was.
func (m *Mem) Crash(choose func(Unsynced) Fate) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(m.o)
	for d := range m.dirs {
		if !m.loose[d] && !m.lost(d) {
			c.dirs[d] = true
		}
	}
	names := make(map[string]*inode, len(m.durable))
	for name, ino := range m.durable {
		if !m.lost(name) {
			names[name] = ino
		}
	}
	for _, op := range m.pending {
		name := op.newName
		if name == "" {
			name = op.oldName
		}
		if !m.lost(name) && choose(Unsynced{Kind: UnsyncedName, Name: name}) == Keep {
			op.applyTo(names)
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	copies := map[*inode]*inode{}
	for _, name := range sorted {
		ino := names[name]
		if copies[ino] == nil {
			copies[ino] = ino.crash(name, choose)
			c.pages += copies[ino].held()
		}
		c.names[name], c.durable[name] = copies[ino], copies[ino]
	}
	return c
}

// crash returns what the medium has of a file after a power cut.
func (ino *inode) crash(name string, choose func(Unsynced) Fate) *inode {
	c := &inode{size: ino.syncedSize}
	if ino.size != ino.syncedSize && choose(Unsynced{Kind: UnsyncedSize, Name: name}) == Keep {
		c.size = ino.size
	}
	c.pages = make([]*[pageBytes]byte, (c.size+pageBytes-1)/pageBytes)
	for n := range c.pages {
		page := ino.page(int64(n))
		if page != nil && ino.old[int64(n)] == nil {
			c.pages[n] = page // neither disk writes it in place
		}
	}
	dirty := make([]int64, 0, len(ino.old))
	for n := range ino.old {
		dirty = append(dirty, n)
	}
	slices.Sort(dirty)
	for _, n := range dirty {
		d := ino.crashPage(name, n, choose)
		if n < int64(len(c.pages)) {
			c.pages[n] = d
		}
	}
	if at := c.size % pageBytes; at != 0 && c.pages[c.size/pageBytes] != nil {
		d := *c.pages[c.size/pageBytes]
		clear(d[at:]) // bytes beyond the end never come back
		c.pages[c.size/pageBytes] = &d
	}
	c.syncedSize = c.size
	return c
}

func (ino *inode) crashPage(name string, n int64, choose func(Unsynced) Fate) *[pageBytes]byte {
	old := ino.old[n]
	var zero, d [pageBytes]byte
	before, after := &zero, &zero
	if old.data != nil {
		before = old.data
	}
	if p := ino.page(n); p != nil {
		after = p
	}
	d = *before
	for s := range pageBytes / sectorBytes {
		if old.dirty&(1<<s) == 0 {
			continue
		}
		sector := n*(pageBytes/sectorBytes) + int64(s)
		to, from := d[s*sectorBytes:(s+1)*sectorBytes], after[s*sectorBytes:(s+1)*sectorBytes]
		r := uint64(sector)*0x9e3779b97f4a7c15 + uint64(len(path.Base(name)))
		switch choose(Unsynced{Kind: UnsyncedSector, Name: name, Sector: sector}) {
		case Keep:
			copy(to, from)
		case Torn:
			copy(to, from[:1+(r>>32)%(sectorBytes-1)])
		case Rubbish:
			for i := range to {
				r ^= r << 13
				r ^= r >> 7
				r ^= r << 17
				to[i] = byte(r)
			}
		}
	}
	return &d
}

// Copy returns a disk that holds what m shows, as cp -r leaves it: neither bytes nor
// names are flushed. A power cut takes a directory with all that lies in it, until
// MkdirAll was asked for it, or SyncDir for the directory that it lies in.
func (m *Mem) Copy() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(m.o)
	for d := range m.dirs {
		c.dirs[d] = true
		if d != path.Dir(d) {
			c.loose[d] = true
		}
	}
	sorted := make([]string, 0, len(m.names))
	for name := range m.names {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	for _, name := range sorted {
		from := m.names[name]
		ino := &inode{size: from.size, pages: make([]*[pageBytes]byte, len(from.pages)), old: map[int64]*oldPage{}}
		for n, page := range from.pages {
			if page != nil {
				d := *page
				ino.pages[n], ino.old[int64(n)] = &d, &oldPage{dirty: 0xff}
			}
		}
		c.names[name] = ino
		c.pending = append(c.pending, nameOp{newName: name, ino: ino})
		c.pages += ino.held()
	}
	return c
}
