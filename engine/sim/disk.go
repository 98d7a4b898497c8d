package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/zeebo/xxh3"
)

// Directories of a site's journals.
const (
	ownDir    = "/own"
	mirrorDir = "/mirror"
)

// extentsKept bounds the flip targets that a disk remembers.
const extentsKept = 4096

// disk is the medium of one site: a memory disk that outlives the processes, with
// faults on demand. It tells the checker what is durable without asking the journal:
//
//  1. A write is parsed: each batch in it becomes a pending extent of its file.
//  2. A Sync moves pending extents to the checker's ledger.
//  3. A crash keeps some of what was pending: crashed extents, which recovery may count.
//  4. A fault (flip, stray write, failed Sync, lost file) is noted in harm, so that the
//     checker knows which batches the medium may lose.
type disk struct {
	w          *world
	place      int
	site       int // the index of its copy
	mem        *vfs.Mem
	draw       plan.Stream
	files      map[string]*fileState
	extents    []extent // batches of the mirror that are durable
	ownExtents []extent // those of the own journal
	failNext   [2]int   // writes, syncs to fail
	noSpace    int
	slow       int
	unreadable int                             // spells in which reads fail
	noFiles    int                             // and in which no file is opened
	heads      map[string]bool                 // files with a bit flipped in their head
	inPlace    map[wire.Chain]wire.BatchHeader // batches that repairs restored since the last damage
	loose      bool                            // its files were copied and are not flushed yet
	paid       [plan.KindCount]bool            // the last spell of a kind has cost something
	astray     []*plan.Item                    // each hits one write to the mirror
	hung       bool                            // no flush begins, see stall.go
	tear       bool                            // the next write stops half way
	fuse       int                             // changes until the opening process dies; 0 = it does not
	blown      bool                            // it has died
	flipped    bool                            // durable bytes were damaged since the last recovery
	harm       harm
}

// fileState lists the extents of one file that are not durable for certain.
type fileState struct {
	pending []extent // written, not synced
	crashed []extent // survived a crash or a torn write; durable once recovery counts them
	liar    bool     // a Sync failed: what was dirty is gone, later Syncs do nothing
}

// extent is where a batch lies.
type extent struct {
	file   string
	off    int64
	unit   int64  // where the unit begins that it lies in
	sum    uint64 // of its bytes
	gone   bool   // the write went astray
	alone  bool   // no control batch, which no other site has, shares its unit
	header wire.BatchHeader
	rows   []wire.LogEnd // of a START
}

func (x *extent) end() int64 { return x.off + int64(x.header.Bytes()) }

func newDisk(w *world, place, site int) *disk {
	return &disk{
		w: w, place: place, site: site, mem: vfs.NewMem(vfs.MemOptions{}), files: map[string]*fileState{},
		heads: map[string]bool{}, inPlace: map[wire.Chain]wire.BatchHeader{},
		harm: harm{batches: map[wire.Chain]wire.BatchHeader{}, mended: map[wire.Chain]bool{}},
		draw: w.stream("disk " + siteNames[site]),
	}
}

func (d *disk) file(name string) *fileState {
	f := d.files[name]
	if f == nil {
		f = &fileState{}
		d.files[name] = f
	}
	return f
}

// flushTime draws how long a write or flush takes.
func (d *disk) flushTime() time.Duration {
	mean := d.w.plan.Sites[d.place].FlushMean
	t := mean/8 + d.draw.Exponential(mean)
	if d.slow > 0 {
		t *= 30
	}
	return t
}

// lied says whether a Sync failed since the last crash. The system's cache then
// holds bytes that the medium may lack and that no later Sync will write; a node
// that comes back must read the medium, so the cache goes with the process.
func (d *disk) lied() bool {
	for _, f := range d.files {
		if f.liar {
			return true
		}
	}
	return false
}

// processKilled is the end of a process: its handles and locks are gone, what it
// wrote is not.
func (d *disk) processKilled() { d.mem.Kill() }

// crash is a power cut. It returns how many unsynced things it decided about.
func (d *disk) crash(draw plan.Stream) int {
	decided := 0
	fates := vfs.RandomFates(draw.Rand)
	bias := draw.IntN(4)
	d.mem = d.mem.Crash(func(u vfs.Unsynced) vfs.Fate {
		decided++
		switch bias {
		case 0:
			return vfs.Drop
		case 1:
			return vfs.Keep
		}
		return fates(u)
	})
	for name, f := range d.files {
		f.liar = false
		f.crashed = d.stillThere(name, append(f.crashed, f.pending...))
		slices.SortFunc(f.crashed, func(a, b extent) int { return int(a.off - b.off) })
		f.pending = nil
	}
	return decided
}

// replace puts another medium in place, of which the batches in crashed are not
// in the ledger yet.
func (d *disk) replace(mem *vfs.Mem, crashed map[string][]extent) {
	d.mem, d.files, d.extents, d.ownExtents = mem, map[string]*fileState{}, nil, nil
	d.heads = map[string]bool{}
	clear(d.inPlace)
	for name, extents := range crashed {
		d.file(name).crashed = d.stillThere(name, extents)
	}
}

// stillThere keeps those batches that the medium holds.
func (d *disk) stillThere(name string, extents []extent) []extent {
	return slices.DeleteFunc(extents, func(x extent) bool { return !d.intact(name, x) })
}

// intact says whether the medium holds a batch.
func (d *disk) intact(name string, x extent) bool {
	f, err := d.mem.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, x.header.Bytes())
	if _, err := f.ReadAt(b, x.off); err != nil {
		return false
	}
	var h wire.BatchHeader
	return wire.DecodeBatchHeader(b, &h) == nil && h.Chain == x.header.Chain &&
		wire.VerifyBody(&h, b[wire.BatchHeaderBytes:]) == nil
}

// recovered is told after a journal was opened: what survived a crash and lies
// at or below the recovered tail is durable now; the rest was cut.
func (d *disk) recovered(dir string, tail func(wire.LogID) wire.Position) {
	for _, name := range d.names() {
		f := d.files[name]
		if path.Dir(name) != dir {
			continue
		}
		for _, x := range f.crashed {
			t, end := d.w.lineage.at(tail(x.header.Log())), d.w.lineage.at(x.header.End())
			if t.Incarnation == end.Incarnation && t.Covers(end) {
				d.durable(x)
			}
		}
		f.crashed = nil
	}
}

// names returns the known files in a fixed order.
func (d *disk) names() []string {
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// durable enters a batch into the ledger.
func (d *disk) durable(x extent) {
	kind, kept := node.Own, &d.ownExtents
	if path.Dir(x.file) == mirrorDir {
		kind, kept = node.Mirror, &d.extents
	}
	if len(*kept) < extentsKept {
		*kept = append(*kept, x)
	} else {
		(*kept)[d.draw.IntN(extentsKept)] = x
	}
	d.w.check.durable(d.site, kind, &x)
	if _, bad := d.harm.batches[x.header.Chain]; bad {
		d.harm.mended[x.header.Chain] = true
	}
	if delete(d.harm.batches, x.header.Chain); x.gone {
		d.harmed([]extent{x})
	}
}

// The rest is vfs.FS.

var _ vfs.FS = (*disk)(nil)

func (d *disk) MkdirAll(dir string) error           { return d.mem.MkdirAll(dir) }
func (d *disk) List(dir string) ([]string, error)   { return d.mem.List(dir) }
func (d *disk) Lock(name string) (io.Closer, error) { return d.mem.Lock(name) }

func (d *disk) SyncDir(dir string) error {
	if d.w.o.Plant == plan.PlantNoDirSync {
		return nil
	}
	if err := errors.Join(d.lacksFiles(), d.burn()); err != nil {
		return err
	}
	return d.mem.SyncDir(dir)
}

func (d *disk) Create(name string) (vfs.File, error) {
	if err := d.lacksFiles(); err != nil {
		return nil, err
	}
	if d.noSpace > 0 {
		d.struckOnce(plan.DiskFull)
		return nil, syscall.ENOSPC
	}
	if err := d.burn(); err != nil {
		return nil, err
	}
	f, err := d.mem.Create(name)
	if err != nil {
		return nil, err
	}
	d.forget(name)
	return &diskFile{f, d, name}, nil
}

func (d *disk) Open(name string) (vfs.File, error) {
	if err := d.lacksFiles(); err != nil {
		return nil, err
	}
	f, err := d.mem.Open(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

func (d *disk) Rename(oldName, newName string) error {
	if err := d.burn(); err != nil {
		return err
	}
	if err := d.mem.Rename(oldName, newName); err != nil {
		return err
	}
	d.forget(newName)
	d.forgetExtents(oldName)
	delete(d.heads, oldName)
	if f := d.files[oldName]; f != nil {
		d.files[newName] = f
		delete(d.files, oldName)
	}
	return nil
}

func (d *disk) Remove(name string) error {
	if err := d.burn(); err != nil {
		return err
	}
	d.forget(name)
	return d.mem.Remove(name)
}

// forget drops what is known of a file whose content is gone.
func (d *disk) forget(name string) {
	delete(d.heads, name)
	delete(d.files, name)
	d.forgetExtents(name)
}

func (d *disk) forgetExtents(name string) {
	of := func(x extent) bool { return x.file == name }
	d.extents = slices.DeleteFunc(d.extents, of)
	d.ownExtents = slices.DeleteFunc(d.ownExtents, of)
}

// diskFile is one open file.
type diskFile struct {
	vfs.File
	d    *disk
	name string
}

var errTorn = errors.New("killed in the middle of a write")

// struck says whether an error is one that a fault of the plan made a call fail with.
// No other one may end a journal's life, or keep it from opening.
func struck(err error) bool {
	for _, fault := range [...]error{syscall.EIO, syscall.ENOSPC, errTorn, errBlown} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

func (f *diskFile) WriteAt(parts [][]byte, off int64) error {
	d := f.d
	if err := f.spoilWrite(parts, off); err != nil {
		return err
	}
	found := f.readAlong(parts, off)
	if to, lost := d.stray(f, found, off); lost {
		if to >= 0 {
			if err := f.File.WriteAt(parts, to); err != nil {
				return err
			}
		}
	} else if err := f.File.WriteAt(parts, off); err != nil {
		return err
	}
	state := d.file(f.name)
	state.pending = append(state.pending, found...)
	return nil
}

// spoilWrite is the fault that waits for this write, if there is one.
func (f *diskFile) spoilWrite(parts [][]byte, off int64) error {
	d := f.d
	dead := d.blown
	switch err := d.burn(); {
	case err != nil && dead:
		return err
	case err != nil:
		f.writeHalf(parts, off)
		return err
	case d.tear:
		d.tear = false
		f.writeHalf(parts, off)
		return errTorn
	case d.failNext[0] > 0:
		d.failNext[0]--
		d.w.fault(plan.FailWrite)
		f.writeHalf(parts, off)
		return syscall.EIO
	case d.noSpace > 0:
		d.struckOnce(plan.DiskFull)
		return syscall.ENOSPC
	}
	return nil
}

func (f *diskFile) writeHalf(parts [][]byte, off int64) {
	all := bytes.Join(parts, nil)
	half := all[:f.d.draw.IntN(len(all)+1)]
	if f.File.WriteAt([][]byte{half}, off) != nil {
		return // the same to the caller as the error it gets anyway
	}
	// All of them, because the missing bytes may be the zeros that lie there.
	state := f.d.file(f.name)
	state.crashed = append(state.crashed, f.readAlong([][]byte{all}, off)...)
}

func (f *diskFile) Sync() error {
	d := f.d
	state := d.file(f.name)
	switch {
	case d.burn() != nil:
		return errBlown
	case state.liar:
		return nil
	case d.failNext[1] > 0 && len(state.pending) > 0 && !d.loose:
		d.failNext[1]--
		d.w.fault(plan.FailSync)
		state.liar = true
		return syscall.EIO
	case d.w.o.Plant == plan.PlantLyingFlush:
		return nil
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	pending := state.pending
	state.pending = nil
	for _, x := range pending {
		d.durable(x)
	}
	return nil
}

// Refresh is a Sync here: what a failed one left in the cache is gone with the
// power cut that always follows it.
func (f *diskFile) Refresh() error { return f.Sync() }

var magic = binary.LittleEndian.AppendUint32(nil, wire.BatchMagic)

// readAlong finds the batches in what was written: where the magic is and the
// header's own chain holds.
func (f *diskFile) readAlong(parts [][]byte, off int64) (found []extent) {
	at := off
	repairing := strings.Contains(f.name, "/repair-") // a unit per batch; else one write is one unit
	control := false
	for _, part := range parts {
		for lo := 0; lo < len(part); {
			n := bytes.Index(part[lo:], magic)
			if n < 0 {
				break
			}
			lo += n
			var h wire.BatchHeader
			if wire.DecodeBatchHeader(part[lo:], &h) != nil {
				lo++
				continue
			}
			control = control || h.Shard == wire.ShardControl
			if h.Shard != wire.ShardControl && lo+h.Bytes() <= len(part) {
				if err := wire.VerifyBody(&h, part[lo+wire.BatchHeaderBytes:lo+h.Bytes()]); err != nil {
					f.d.w.fail("I9", "%s writes changed bytes to its journal: %v", siteNames[f.d.site], err)
				}
				x := extent{file: f.name, off: at + int64(lo), unit: off, header: h}
				if h.OpensEpoch() { // its digest holds
					x.rows, _ = wire.DecodeStart(part[lo+wire.BatchHeaderBytes:lo+h.Bytes()], nil)
				}
				if x.sum = xxh3.Hash(part[lo : lo+h.Bytes()]); repairing {
					x.unit = x.off - journal.UnitHeaderBytes
				}
				found = append(found, x)
			}
			lo += h.Bytes()
		}
		at += int64(len(part))
	}
	for i := range found {
		found[i].alone = !control
	}
	return found
}
