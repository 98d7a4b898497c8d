package fsclient

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
)

const (
	// blockBytes is how much content one Write carries at most, and is compared at once.
	blockBytes = namespace.SumBytes
	// holeBytes is the grain of what is left out of a block that the site has not got.
	holeBytes = 4 << 10
	// gapBytes of zeros are cheaper sent than left out: an operation more.
	gapBytes = 16 << 10

	// passesMax is how often a file is read that changes meanwhile.
	passesMax = 3
	// tick is how coarse a file system's clock may be: a change within it may leave
	// the times as they are.
	tick = 20 * time.Millisecond

	// xattrNamesBytes is Linux's limit of an inode's list of attribute names,
	// xattrValueBytes of a value.
	xattrNamesBytes = 64 << 10
	xattrValueBytes = 64 << 10
)

// file makes a file equal. What changes while it is read is read again.
func (w *walker) file(d *folder, name string, it *item) error {
	f, st, err := d.open(name, unix.O_RDONLY)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close() // of what was not read
		err = d.failed("open", name, errReplaced)
	}
	if err != nil {
		w.left(unreadable, "%v", err)
		return nil
	}
	defer f.Close() // of a file only read
	from := d.name(name)
	for pass := 1; ; pass++ {
		began := time.Now()
		if done, err := w.fileAsItIs(f, &st, from, it, pass == 1); done || err != nil {
			return err
		}
		after := st
		if err := unix.Fstat(int(f.Fd()), &after); err != nil {
			w.left(unreadable, "%v", d.failed("stat", name, err))
			return nil
		}
		recent := began.Sub(time.Unix(st.Ctim.Unix())).Abs() < tick
		switch same := sameContent(&st, &after); {
		case same && (!recent || pass > 1):
			return nil
		case pass == passesMax:
			w.left(changedMeanwhile, "%s: changed while it was read, %d times: the copy may mix old and new",
				it.to, pass)
			return nil
		case recent:
			pause(w.ctx, tick)
		}
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			w.left(unreadable, "%v", d.failed("stat", name, err))
			return nil
		}
		if err := w.lane.Drain(); err != nil {
			return err
		}
		delete(w.links, idOf(&st))
		if it.site, it.kind, err = w.lookup(it.to); err != nil {
			return err
		}
	}
}

// fileAsItIs makes a file equal to what st and its content say now. done: it is a
// further name of one that was made.
func (w *walker) fileAsItIs(f *os.File, st *unix.Stat_t, from string, it *item, first bool) (done bool, err error) {
	if err := w.clear(it, namespace.TypeFile); err != nil {
		return false, err
	}
	if done, err := w.linked(it, st, func() (bool, error) { return w.equal(f, st, from, it) }); done || err != nil {
		return done, err
	}
	if first {
		w.count(func(r *Report) { r.Files++ })
	}
	return false, w.fill(f, st, from, it)
}

// linked handles a file of several names, at the tree or at the site. done: it is
// now one more name of what an earlier name made. Otherwise its inode at the site,
// if it.site is not nil, is this file's alone, or holds all that it has: nothing is
// written through an inode whose other names may be another file's.
func (w *walker) linked(it *item, st *unix.Stat_t, equal func() (bool, error)) (done bool, err error) {
	id := idOf(st)
	if first, ok := w.links[id]; ok && st.Nlink > 1 {
		w.count(func(r *Report) { r.Links++ })
		if it.site != nil && it.site.Inode == first.inode {
			return true, nil
		}
		if it.site != nil {
			if err := w.remove(it); err != nil {
				return false, err
			}
		}
		// The request is named by the new name: the old one may have many links.
		return true, w.emit(it, &namespace.Operation{Op: engine.OpLink, Path: first.path, Target: it.to})
	}
	if it.site != nil && it.kind != namespace.TypeDir.String() && it.site.Nlink-w.fewer[it.site.Inode] > 1 {
		whose, taken := w.owner[it.site.Inode]
		keep := st.Nlink > 1 && (!taken || whose == id)
		if keep {
			if keep, err = equal(); err != nil {
				return false, err
			}
		}
		if !keep {
			if err := w.remove(it); err != nil {
				return false, err
			}
		}
	}
	if st.Nlink == 1 {
		return false, nil
	}
	l := link{path: it.to}
	if it.site != nil {
		l.inode = it.site.Inode
		w.owner[l.inode] = id
	}
	w.links[id] = l
	if w.round == 0 && w.im.split(id, it.to) {
		w.count(func(r *Report) { r.LinksSplit++ })
	}
	return false, nil
}

// equal says whether the site's inode has all that the file has.
func (w *walker) equal(f *os.File, st *unix.Stat_t, from string, it *item) (bool, error) {
	w.dry = true
	err := w.fill(f, st, from, it)
	w.dry = false
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

// fill makes content, attributes and extended attributes equal.
func (w *walker) fill(f *os.File, st *unix.Stat_t, from string, it *item) error {
	want := w.attributes(st, it)
	made := it.site == nil
	if made {
		op := want
		op.Op, op.Flags = engine.OpCreate, namespace.FlagMtime|namespace.FlagAtime
		if err := w.emit(it, &op); err != nil {
			return err
		}
	}
	c := &copying{w: w, f: f, it: it, mtime: want.Mtime, size: st.Size, sums: sums{w: w, path: it.to}}
	if !made {
		c.grown, c.sums.more = int64(it.site.Size), it.site.Size > 0
	}
	if err := c.run(); err != nil {
		return err
	}
	if err := w.xattrs(ofFile(f), from, it); err != nil {
		return err
	}
	if !made {
		has := *it.site
		if c.sent {
			has.Mtime = want.Mtime
		}
		if differ(&has, &want) {
			return w.emit(it, &want)
		}
	}
	return nil
}

// copying is one file's content on its way.
type copying struct {
	w     *walker
	f     *os.File
	it    *item
	mtime int64
	size  int64 // at the tree
	grown int64 // at the site, with what was sent
	sums  sums
	sent  bool
}

// run sends the blocks that differ. Holes stay holes.
func (c *copying) run() error {
	if c.grown > c.size {
		if err := c.truncate(c.size); err != nil {
			return err
		}
	}
	for at := int64(0); at < c.size; {
		data, err := dataFrom(c.f, at, c.size)
		if err != nil {
			c.w.left(unreadable, "%s: from byte %d on: %v", c.it.to, at, err)
			return nil
		}
		if begin := data - data%blockBytes; data >= c.size || begin > at {
			if data >= c.size {
				begin = c.size
			}
			if err := c.zeros(at, begin); err != nil {
				return err
			}
			at = begin
			continue
		}
		b := c.w.block[:min(blockBytes, c.size-at)]
		n, err := c.f.ReadAt(b, at)
		if err != nil && err != io.EOF {
			c.w.left(unreadable, "%s: from byte %d on: %v", c.it.to, at, err)
			return nil
		}
		clear(b[n:]) // it was cut meanwhile, which shows in its size
		if err := c.part(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	if c.grown < c.size {
		return c.truncate(c.size)
	}
	return nil
}

// zeros makes [lo, hi) all zeros; lo begins a block.
func (c *copying) zeros(lo, hi int64) error {
	have, err := c.sums.peek()
	if err != nil || have == nil || int64(have.Block)*blockBytes >= hi {
		return err
	}
	// What is behind is sent again, which is rarer than it would be dear to write zeros.
	c.sums.end()
	return c.truncate(int64(have.Block) * blockBytes)
}

// part makes one block equal.
func (c *copying) part(b []byte, at int64) error {
	used := trimmed(b)
	if used == 0 {
		return c.zeros(at, at+int64(len(b)))
	}
	have, err := c.sums.peek()
	if err != nil {
		return err
	}
	if have != nil && int64(have.Block)*blockBytes == at {
		same := have.Hash == hexSum(b[:used])
		c.sums.take()
		if same {
			return nil
		}
		return c.write(b, at)
	}
	for lo, hi := nextRun(b[:used], 0); lo < used; lo, hi = nextRun(b[:used], hi) {
		if err := c.write(b[lo:hi], at+int64(lo)); err != nil {
			return err
		}
	}
	return nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// trimmed is the length of b without the zeros at its end.
func trimmed(b []byte) int {
	for n := len(b); ; {
		step := n - max(n-holeBytes, 0)
		if step == 0 {
			return 0
		}
		if !bytes.Equal(b[n-step:n], zeroes[:step]) {
			return len(bytes.TrimRight(b[:n], "\x00"))
		}
		n -= step
	}
}

var zeroes [holeBytes]byte

// nextRun is the next [lo, hi) of b, from a byte on, that is to be sent; zeros of
// gapBytes and more are left out. lo = len(b): nothing is.
func nextRun(b []byte, from int) (lo, hi int) {
	zero := func(at int) bool {
		page := b[at:min(at+holeBytes, len(b))]
		return bytes.Equal(page, zeroes[:len(page)])
	}
	for lo = from; lo < len(b) && zero(lo); {
		lo = min(lo+holeBytes, len(b))
	}
	gap := 0
	for hi = lo; hi < len(b) && gap < gapBytes; hi = min(hi+holeBytes, len(b)) {
		if gap += holeBytes; !zero(hi) {
			gap = 0
		}
	}
	if gap > 0 {
		hi -= gap
	}
	return lo, hi
}

func (c *copying) write(b []byte, at int64) error {
	n := int64(len(b))
	c.grown = max(c.grown, at+n)
	err := c.emit(&namespace.Operation{Op: engine.OpWrite, Offset: uint64(at), Data: b, Size: uint64(n)})
	if err == nil {
		c.w.im.count(func(r *Report) { r.Bytes += n })
	}
	return err
}

func (c *copying) truncate(size int64) error {
	c.grown = size
	return c.emit(&namespace.Operation{Op: engine.OpTruncate, Size: uint64(size)})
}

func (c *copying) emit(op *namespace.Operation) error {
	op.Path, op.Mtime, op.Flags = c.it.to, c.mtime, namespace.FlagMtime
	c.sent = true
	return c.w.emit(c.it, op)
}

// xattrs makes extended attributes equal, as far as they can be read here. from
// names the inode to people.
func (w *walker) xattrs(a attributesOf, from string, it *item) error {
	names := w.attrs
	n, err := a.list(names)
	switch {
	case errors.Is(err, syscall.ENOTSUP):
		n = 0
	case err != nil:
		w.left(unreadable, "%s: its extended attributes: %v", from, err)
		return nil
	}
	have := map[string][sha256.Size]byte{}
	if it.site != nil && it.site.Xattrs > 0 {
		if have, err = w.siteXattrs(it.to); err != nil {
			return err
		}
	}
	want := strings.FieldsFunc(string(names[:n]), func(r rune) bool { return r == 0 })
	gone := map[string]bool{}
	for name := range have {
		gone[name] = true
	}
	for _, name := range want {
		delete(gone, name)
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		if err := w.emit(it, &namespace.Operation{Op: engine.OpRemoveXattr, Path: it.to, Target: name}); err != nil {
			return err
		}
	}
	for _, name := range want {
		value := w.block[:xattrValueBytes]
		n, err := a.get(name, value)
		if err == nil && n > namespace.XattrValueBytesMax {
			err = syscall.E2BIG
		}
		if err != nil {
			w.left(unreadable, "%s: its extended attribute %q: %v", from, name, err)
			continue
		}
		if sum, ok := have[name]; ok && sum == sha256.Sum256(value[:n]) {
			continue
		}
		op := namespace.Operation{Op: engine.OpSetXattr, Path: it.to, Target: name, Data: value[:n]}
		if err := w.emit(it, &op); err != nil {
			return err
		}
	}
	return nil
}
