package fsclient

// The walk of one part of the tree:
//
//  1. walkPart: up to roundsMax rounds; another one if answers showed that the site had changed.
//  2. visit: stat below an open directory, then file, symlink or directory.
//  3. Each compares with the site (lookup, listing) and emits operations for the differences.
//  4. directory: first itself, then the names of both sides in one order (names, extra), and
//     at the end its times, which every new name in it moved.
//  5. answered: counts a result; settled ends the round.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// roundsMax is the number of rounds over one part of the tree. The second one is for a
// site that had changed since it was read.
const roundsMax = 2

// walker makes one part of the tree after another equal at the site. It sends an operation
// for each difference. The results of its lane arrive on another goroutine.
type walker struct {
	im   *importer
	ctx  context.Context
	lane *lane

	block []byte // scratch of contents and values
	attrs []byte // scratch of names of attributes

	round uint32
	nonce uint64                     // 0 in the first round, so that a resumed import repeats nothing
	dry   bool                       // emit answers errDiffers
	lefts int                        // problems reported so far
	links map[fileID]link            // of this part: hard-linked files that exist at the site
	owner map[namespace.Inode]fileID // shared inodes of the site: the file whose content each holds
	fewer map[namespace.Inode]uint32 // shared inodes of the site: names that were removed

	mu       sync.Mutex
	again    bool // the site had changed since it was read: another round
	refused  int64
	refusals []string // the first of them
}

// link is where the first name of a file went.
type link struct {
	path  string
	inode namespace.Inode // the site's, if it stood there before
}

// item is one name of the tree on its way.
type item struct {
	to      string      // path at the site
	above   *item       // its directory
	site    *fsapi.Attr // what the site has there; nil = nothing
	kind    string      // of site
	sent    uint32      // operations so far
	renamed bool        // of a directory: names in it came or went
	told    bool        // its times are reported
}

// errDiffers answers an operation where nothing may be done.
var errDiffers = errors.New("differs")

// part is the unit of work of a walker: one top-level name, or the whole tree if the
// import's target is a file's name.
type part struct {
	root *folder
	name string // "" = the root itself
	to   string
}

// walkPart makes a part equal. Errors come from the lane or from a lookup at the site. Files
// that cannot be read, and refused operations, are reported and left out.
func (w *walker) walkPart(p part) error {
	for w.round = 0; ; w.round++ {
		w.begin()
		it := &item{to: p.to, above: &item{}}
		var err error
		if it.site, it.kind, err = w.lookup(p.to); err != nil {
			return err
		}
		switch {
		case p.name != "":
			err = w.visit(p.root, p.name, it)
		case it.site != nil && it.kind != namespace.TypeDir.String():
			return &fs.PathError{Op: "import to", Path: p.to, Err: syscall.ENOTDIR}
		default:
			err = w.directory(p.root, it)
		}
		if err == nil {
			err = w.lane.Drain()
		}
		if err != nil || w.settled() {
			return err
		}
	}
}

func (w *walker) begin() {
	w.links, w.owner, w.fewer = map[fileID]link{}, map[namespace.Inode]fileID{}, map[namespace.Inode]uint32{}
	w.nonce = 0
	if w.round > 0 {
		w.nonce = rand.Uint64() | 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again, w.refused, w.refusals = false, 0, nil
}

// settled ends a round and says whether it was the last. Refusals of an earlier round are
// dropped: the next one may succeed.
func (w *walker) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if (w.again || w.refused > 0) && w.round+1 < roundsMax {
		return false
	}
	w.im.refused(w.refused, w.refusals)
	return true
}

// answered counts one result. If this run sends a request for the first time and the site
// has done it before, it may have been undone since: another round.
func (w *walker) answered(op *namespace.Operation, r fsapi.Result, resent bool) {
	w.im.unasked()
	if r.Errno != 0 {
		w.refuse(outcomeOf(op, r).Err.Error())
		return
	}
	if r.Repeated && !resent {
		w.mu.Lock()
		w.again = true
		w.mu.Unlock()
	}
	w.im.answered(op, r)
}

func (w *walker) refuse(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused++
	if len(w.refusals) < errorsMax {
		w.refusals = append(w.refusals, text)
	}
}

// count counts what the walk finds. Only the first round counts.
func (w *walker) count(f func(*Report)) {
	if w.round == 0 {
		w.im.count(f)
	}
}

// left reports something that was left out or changed, and counts it.
func (w *walker) left(counter func(*Report) *int64, format string, args ...any) {
	if w.lefts++; w.round == 0 && !w.dry {
		w.im.problem(counter, fmt.Sprintf(format, args...))
	}
}

func unreadable(r *Report) *int64 { return &r.Unreadable }

// emit sends an operation about an item.
func (w *walker) emit(it *item, op *namespace.Operation) error {
	if w.dry {
		return errDiffers
	}
	frame, err := fsapi.AppendOperation(nil, op)
	if err != nil {
		return err
	}
	op.Request = requestOf(w.im.o.ID, w.nonce, it, frame)
	it.sent++
	switch op.Op {
	case engine.OpCreate, engine.OpMkDir, engine.OpSymlink, engine.OpLink, engine.OpUnlink:
		it.above.renamed = true
	}
	w.im.asked()
	err = w.lane.Emit(op)
	if err != nil {
		w.im.unasked()
	}
	return err
}

// requestOf names an operation about it: the same in every run of an import that
// sees the same there and sends the same.
func requestOf(importID string, nonce uint64, it *item, frame []byte) wire.RequestID {
	le := binary.LittleEndian
	b := make([]byte, 0, len(importID)+len(it.to)+64)
	for _, name := range []string{importID, it.to} {
		b = append(le.AppendUint32(b, uint32(len(name))), name...)
	}
	b = le.AppendUint64(le.AppendUint32(b, it.sent), nonce)
	if it.site != nil {
		b = le.AppendUint64(le.AppendUint64(b, uint64(it.site.Inode)), uint64(it.site.Ctime))
	}
	sum := xxh3.Hash128(frame).Bytes()
	return wire.RequestID(xxh3.Hash128(append(b, sum[:]...)).Bytes())
}

// visit makes one name of a folder equal.
func (w *walker) visit(d *folder, name string, it *item) error {
	if len(it.to) > namespace.PathBytesMax || len(name) > namespace.NameBytesMax {
		w.left(unreadable, "%s: %v", d.name(name), syscall.ENAMETOOLONG)
		return nil
	}
	lefts := w.lefts
	st, err := d.stat(name)
	if err != nil {
		w.left(unreadable, "%v", err)
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = w.file(d, name, it)
	case unix.S_IFLNK:
		err = w.symlink(d, name, it)
	case unix.S_IFDIR:
		below, openErr := d.folder(name)
		if openErr != nil {
			w.left(unreadable, "%v", openErr)
			return nil
		}
		err = w.directory(below, it)
		below.Close()
	default:
		w.count(func(r *Report) { r.Skipped++ })
		if it.site != nil {
			return w.extra(it)
		}
		return nil
	}
	if err == nil && it.sent == 0 && w.lefts == lefts {
		w.count(func(r *Report) { r.Same++ })
	}
	return err
}

// clear removes what the site has in the place of something of another kind.
func (w *walker) clear(it *item, kind namespace.Type) error {
	if it.site == nil || it.kind == kind.String() {
		return nil
	}
	return w.remove(it)
}

// remove removes what the site has at it, a directory with everything in it.
func (w *walker) remove(it *item) error {
	op := namespace.Operation{Op: engine.OpUnlink, Path: it.to}
	if it.kind == namespace.TypeDir.String() {
		op.Flags = namespace.FlagDir
		names := w.newListing(it)
		for {
			name, err := names.peek()
			if err != nil {
				return err
			}
			if name == nil {
				break
			}
			if err := w.remove(it.below(name.Name, name)); err != nil {
				return err
			}
			names.take()
		}
	} else if it.site.Nlink > 1 {
		w.fewer[it.site.Inode]++
	}
	err := w.emit(it, &op)
	it.site, it.kind = nil, ""
	return err
}

// below is a name in the directory it, with what the site has there.
func (it *item) below(name string, site *fsapi.Name) *item {
	out := &item{to: it.to + "/" + name, above: it}
	if site != nil {
		out.site, out.kind = site.Attr, site.Type
	}
	return out
}

// directory makes a directory and all that is in it equal. d is open.
func (w *walker) directory(d *folder, it *item) error {
	names, err := d.names()
	if err != nil {
		w.left(unreadable, "%v", err)
		if len(names) == 0 {
			return nil
		}
	}
	if err := w.clear(it, namespace.TypeDir); err != nil {
		return err
	}
	was := it.site
	want := w.attributes(&d.st, it)
	if was == nil {
		op := want
		op.Op, op.Flags = engine.OpMkDir, namespace.FlagMtime|namespace.FlagAtime
		if err := w.emit(it, &op); err != nil {
			return err
		}
	}
	w.count(func(r *Report) { r.Dirs++ })
	if err := w.xattrs(ofFile(d.f), d.name(""), it); err != nil {
		return err
	}
	if err := w.names(d, it, names); err != nil {
		return err
	}
	if changed, err := d.changed(); err != nil || changed {
		w.left(changedMeanwhile, "%s: names came or went while it was read; import it again%s", d.name(""),
			reason(err))
	}
	// Only now: every name that was made in it moved its times.
	if it.renamed || was != nil && differ(was, &want) {
		return w.emit(it, &want)
	}
	return nil
}

func changedMeanwhile(r *Report) *int64 { return &r.Changed }

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// names makes the names in a directory equal, side by side with the site's.
func (w *walker) names(d *folder, it *item, names []string) error {
	site := w.newListing(it)
	for _, name := range names {
		have, err := w.skip(site, it, name)
		if err != nil {
			return err
		}
		if err := w.visit(d, name, it.below(name, have)); err != nil {
			return err
		}
	}
	_, err := w.skip(site, it, "")
	return err
}

// skip passes the site's names before name ("" = all of them), which the tree does not
// have. It returns the site's entry of that name, nil if there is none.
func (w *walker) skip(site *listing, it *item, name string) (*fsapi.Name, error) {
	for {
		have, err := site.peek()
		if err != nil || have == nil || name != "" && have.Name > name {
			return nil, err
		}
		found := *have
		site.take()
		if found.Name == name {
			return &found, nil
		}
		if err := w.extra(it.below(found.Name, &found)); err != nil {
			return nil, err
		}
	}
}

// extra counts a name that only the site has, and removes it if that is wanted.
func (w *walker) extra(it *item) error {
	w.count(func(r *Report) { r.Extra++ })
	if !w.im.o.Delete {
		return nil
	}
	return w.remove(it)
}

// attributes is the SetAttr that makes the site's inode equal to the tree's.
func (w *walker) attributes(st *unix.Stat_t, it *item) namespace.Operation {
	op := namespace.Operation{
		Op: engine.OpSetAttr, Path: it.to, UID: st.Uid, GID: st.Gid, Mode: st.Mode & 0o7777,
		Flags: namespace.FlagMode | namespace.FlagUID | namespace.FlagGID | namespace.FlagAtime | namespace.FlagMtime,
	}
	var mtimeKept, atimeKept bool
	op.Mtime, mtimeKept = nanoseconds(st.Mtim)
	op.Atime, atimeKept = nanoseconds(st.Atim)
	for _, t := range []struct {
		name string
		of   unix.Timespec
		kept bool
	}{{"mtime", st.Mtim, mtimeKept}, {"atime", st.Atim, atimeKept}} {
		if !t.kept && !it.told {
			w.left(func(r *Report) *int64 { return &r.TimesLimited },
				"%s: %s of %d s is outside of what the site keeps (1677 to 2262): it has the nearest", it.to, t.name,
				t.of.Sec)
		}
	}
	it.told = it.told || !w.dry
	if it.site != nil && onlyRead(it.site, st) {
		op.Atime = it.site.Atime
	}
	return op
}

// differ says whether the site's inode has other attributes than op sets. The mode of
// a symlink means nothing.
func differ(a *fsapi.Attr, op *namespace.Operation) bool {
	return op.Flags&namespace.FlagMode != 0 && a.Mode != op.Mode ||
		a.UID != op.UID || a.GID != op.GID || a.Atime != op.Atime || a.Mtime != op.Mtime
}

// onlyRead says whether an inode was at most read since the site has it, where that
// is not a reason to send its time of access: reading a symlink, or what is another
// user's, moves it, and unlike a change moves no other; and an inode of several names
// would have to be made again.
func onlyRead(a *fsapi.Attr, st *unix.Stat_t) bool {
	ctime, _ := nanoseconds(st.Ctim)
	user, kind := os.Geteuid(), st.Mode&unix.S_IFMT
	return ctime < a.Ctime-int64(tick) &&
		(kind == unix.S_IFLNK || user != 0 && st.Uid != uint32(user) || kind == unix.S_IFREG && a.Nlink > 1)
}

func (w *walker) symlink(d *folder, name string, it *item) error {
	f, st, err := d.open(name, unix.O_PATH)
	if err != nil {
		w.left(unreadable, "%v", err)
		return nil
	}
	defer f.Close() // only read
	target, err := readlink(f)
	if err != nil {
		w.left(unreadable, "%v", d.failed("readlink", name, err))
		return nil
	}
	op := w.attributes(&st, it)
	op.Mode, op.Flags = 0, op.Flags&^namespace.FlagMode
	same := func() (bool, error) { return it.site.Target == target && !differ(it.site, &op), nil }
	if done, err := w.linked(it, &st, same); done || err != nil {
		return err
	}
	w.count(func(r *Report) { r.Symlinks++ })
	if it.site != nil && (it.kind != namespace.TypeSymlink.String() || it.site.Target != target) {
		if err := w.remove(it); err != nil {
			return err
		}
	}
	if it.site == nil {
		made := op
		made.Op, made.Target, made.Flags = engine.OpSymlink, target, namespace.FlagMtime|namespace.FlagAtime
		err = w.emit(it, &made)
	} else if differ(it.site, &op) {
		err = w.emit(it, &op)
	}
	if err != nil {
		return err
	}
	return w.xattrs(ofSymlink(f), d.name(name), it)
}
