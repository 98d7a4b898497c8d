package fsclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// blockBytes is how much content one Write carries: whole chunks, and few
// enough bytes that several fit a window.
const blockBytes = 4 * namespace.ChunkBytes

// xattrNamesBytes is Linux's limit of an inode's list of attribute names.
const xattrNamesBytes = 64 << 10

// requestOf names the n-th operation on a path in an import: the same in every
// run of it.
func requestOf(importID, path string, n uint32) wire.RequestID {
	b := make([]byte, 0, len(importID)+len(path)+8)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(importID)))
	b = append(append(b, importID...), path...)
	b = binary.LittleEndian.AppendUint32(b, n)
	return wire.RequestID(xxh3.Hash128(b).Bytes())
}

// walker turns one top-level name after another into operations. A walker's
// error is its lane's: what cannot be read is reported and left out.
type walker struct {
	im    *importer
	lane  *lane
	block []byte
	names []byte            // scratch of xattrs
	links map[fileID]string // of this top-level name: where the first link went
	count uint32            // operations on the current path
}

func (w *walker) top(from, to string) error {
	w.links = map[fileID]string{}
	return w.walk(from, to)
}

// emit sends op as the next operation on its path.
func (w *walker) emit(op *namespace.Operation) error {
	return w.emitAs(op, w.count)
}

func (w *walker) emitAs(op *namespace.Operation, n uint32) error {
	op.Request = requestOf(w.im.o.ID, op.Path, n)
	w.count = n + 1
	return w.lane.Emit(op)
}

func (w *walker) walk(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		w.im.unreadable(err)
		return nil
	}
	w.count = 0
	switch info.Mode().Type() {
	case 0:
		return w.file(from, to, info)
	case os.ModeDir:
		return w.directory(from, to, info)
	case os.ModeSymlink:
		return w.symlink(from, to, info)
	}
	w.im.count(func(r *Report) { r.Skipped++ })
	return nil
}

// attributes fills what an operation says about an inode.
func attributes(op *namespace.Operation, info os.FileInfo) {
	st, _ := idOf(info)
	op.UID, op.GID, op.Mode = st.Uid, st.Gid, st.Mode&0o7777
	op.Mtime, op.Atime = info.ModTime().UnixNano(), st.Atim.Nano()
	op.Flags |= namespace.FlagMtime | namespace.FlagAtime
}

// lastCount numbers the operation that ends a directory, apart from those that
// begin it: how many these are may differ from run to run.
const lastCount = 1 << 31

func (w *walker) directory(from, to string, info os.FileInfo) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		w.im.unreadable(err)
		if entries == nil {
			return nil
		}
	}
	op := namespace.Operation{Op: engine.OpMkDir, Flags: namespace.FlagOverwrite, Path: to}
	attributes(&op, info)
	if err := w.emit(&op); err != nil {
		return err
	}
	w.im.count(func(r *Report) { r.Dirs++ })
	if err := w.xattrs(from, to); err != nil {
		return err
	}
	for _, entry := range entries {
		if err := w.walk(filepath.Join(from, entry.Name()), to+"/"+entry.Name()); err != nil {
			return err
		}
	}
	// Only now: every name made in it moved its times.
	op = namespace.Operation{
		Op: engine.OpSetAttr, Flags: namespace.FlagMode | namespace.FlagUID | namespace.FlagGID, Path: to,
	}
	attributes(&op, info)
	return w.emitAs(&op, lastCount)
}

func (w *walker) symlink(from, to string, info os.FileInfo) error {
	target, err := os.Readlink(from)
	if err != nil {
		w.im.unreadable(err)
		return nil
	}
	op := namespace.Operation{Op: engine.OpSymlink, Flags: namespace.FlagOverwrite, Path: to, Target: target}
	attributes(&op, info)
	op.Mode = 0
	w.im.count(func(r *Report) { r.Symlinks++ })
	return w.emit(&op)
}

func (w *walker) file(from, to string, info os.FileInfo) error {
	st, id := idOf(info)
	if st.Nlink > 1 {
		if first, ok := w.links[id]; ok {
			w.im.count(func(r *Report) { r.Links++ })
			// The request is named by the new name: the old one may have many links.
			op := namespace.Operation{Op: engine.OpLink, Flags: namespace.FlagOverwrite, Path: first, Target: to}
			op.Request = requestOf(w.im.o.ID, to, 0)
			return w.lane.Emit(&op)
		}
	}
	f, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		w.im.unreadable(err)
		return nil
	}
	defer f.Close() // of a file only read
	if st.Nlink > 1 {
		w.links[id] = to
		if w.im.split(id) {
			w.im.count(func(r *Report) { r.LinksSplit++ })
		}
	}
	op := namespace.Operation{Op: engine.OpCreate, Flags: namespace.FlagOverwrite, Path: to}
	attributes(&op, info)
	if err := w.emit(&op); err != nil {
		return err
	}
	w.im.count(func(r *Report) { r.Files++ })
	if err := w.content(f, to, info); err != nil {
		return err
	}
	return w.xattrs(from, to)
}

// content sends a file's bytes in blocks, until its end as it is now.
func (w *walker) content(f *os.File, to string, info os.FileInfo) error {
	for offset := int64(0); ; {
		n, err := io.ReadFull(f, w.block)
		if n > 0 {
			op := namespace.Operation{
				Op: engine.OpWrite, Path: to, Offset: uint64(offset), Data: w.block[:n], Size: uint64(n),
			}
			attributes(&op, info)
			op.Mode = 0
			if err := w.emit(&op); err != nil {
				return err
			}
			offset += int64(n)
			w.im.count(func(r *Report) { r.Bytes += int64(n) })
		}
		switch {
		case err == nil:
			continue
		case err != io.EOF && err != io.ErrUnexpectedEOF:
			w.im.unreadable(fmt.Errorf("from byte %d on: %w", offset, err))
		}
		return nil
	}
}

// xattrs sends extended attributes, as far as they can be read here.
func (w *walker) xattrs(from, to string) error {
	if w.names == nil {
		w.names = make([]byte, xattrNamesBytes)
	}
	n, err := unix.Llistxattr(from, w.names)
	if err != nil {
		if !errors.Is(err, syscall.ENOTSUP) {
			w.im.unreadable(&os.PathError{Op: "listxattr", Path: from, Err: err})
		}
		return nil
	}
	if n == 0 {
		return nil
	}
	value := w.block[:namespace.XattrValueBytesMax] // free between contents
	for name := range strings.SplitSeq(strings.TrimRight(string(w.names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(from, name, value)
		if err != nil {
			w.im.unreadable(&os.PathError{Op: "getxattr " + name, Path: from, Err: err})
			continue
		}
		op := namespace.Operation{Op: engine.OpSetXattr, Path: to, Target: name, Data: value[:n]}
		if err := w.emit(&op); err != nil {
			return err
		}
	}
	return nil
}
