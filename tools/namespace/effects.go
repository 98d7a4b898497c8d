package namespace

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// chunkDeletesMax is up to how many chunks are deleted one by one; beyond that
// one range deletion is cheaper, which every later read must step over.
const chunkDeletesMax = 64

// effects puts what entries do into an indexed batch, so that each sees those
// before it. The same code runs for the overlay of the validating side, there
// without content.
type effects struct {
	view
	b       *pebble.Batch
	content bool
	value   []byte // scratch of values
}

func newEffects(b *pebble.Batch, shard wire.Shard, content bool) *effects {
	return &effects{view: view{r: b, shard: shard}, b: b, content: content}
}

// apply does what p says. An error means that b is to be thrown away.
func (x *effects) apply(p *payload) error {
	var err error
	switch p.op {
	case engine.OpCreate:
		err = x.create(p, TypeFile)
	case engine.OpMkDir:
		err = x.create(p, TypeDir)
	case engine.OpSymlink:
		err = x.create(p, TypeSymlink)
	case engine.OpLink:
		err = x.link(p)
	case engine.OpUnlink:
		err = x.unlink(p)
	case engine.OpRename:
		err = x.rename(p)
	case engine.OpWrite:
		err = x.write(p)
	case engine.OpTruncate:
		err = x.truncate(p)
	case engine.OpSetAttr:
		err = x.setAttr(p)
	case engine.OpSetXattr:
		err = x.setXattr(p)
	case engine.OpRemoveXattr:
		err = x.removeXattr(p)
	}
	if err != nil {
		return fmt.Errorf("op %d: %w", p.op, err)
	}
	return nil
}

func (x *effects) create(p *payload, kind Type) error {
	if err := x.addName(p, p.parent, p.name, dirent{p.inode, kind}); err != nil {
		return err
	}
	a := Attr{
		Inode: p.inode, Type: kind, Mode: p.mode, UID: p.ownerUID, GID: p.ownerGID, Nlink: 1,
		Atime: p.atime, Mtime: p.mtime, Ctime: p.time,
	}
	switch kind {
	case TypeDir:
		a.Nlink = 2
	case TypeSymlink:
		a.Target, a.Size = string(p.name2), uint64(len(p.name2))
	}
	if err := x.put(&a); err != nil {
		return err
	}
	next, err := x.counter()
	if err != nil || p.inode < next {
		return err
	}
	x.value = binary.LittleEndian.AppendUint64(x.value[:0], uint64(p.inode)+1)
	return x.b.Set(x.counterKey(), x.value, nil)
}

func (x *effects) link(p *payload) error {
	a, err := x.mustInode(p.inode)
	if err != nil {
		return err
	}
	if err := x.addName(p, p.parent, p.name, dirent{p.inode, a.Type}); err != nil {
		return err
	}
	a.Nlink++
	a.Ctime = p.time
	return x.put(&a)
}

func (x *effects) unlink(p *payload) error {
	if err := x.removeName(p, p.parent, p.name, p.inode); err != nil {
		return err
	}
	return x.release(p.inode, p.time)
}

func (x *effects) rename(p *payload) error {
	old, found, err := x.view.dirent(p.parent2, string(p.name2))
	if err != nil {
		return err
	}
	if was := old.inode; found && was != p.replaced || !found && p.replaced != 0 {
		return fmt.Errorf("name %q leads to inode %d, not %d: %w", p.name2, was, p.replaced, ErrDamaged)
	}
	a, err := x.mustInode(p.inode)
	if err != nil {
		return err
	}
	if err := x.removeName(p, p.parent, p.name, p.inode); err != nil {
		return err
	}
	if found {
		if err := x.removeName(p, p.parent2, p.name2, p.replaced); err != nil {
			return err
		}
		if err := x.release(p.replaced, p.time); err != nil {
			return err
		}
	}
	a.Ctime = p.time
	if err := x.put(&a); err != nil {
		return err
	}
	return x.addName(p, p.parent2, p.name2, dirent{p.inode, a.Type})
}

// addName makes a directory entry and counts it in its directory.
func (x *effects) addName(p *payload, parent Inode, name []byte, d dirent) error {
	if x.content { // The validating side has just looked.
		if _, found, err := x.view.dirent(parent, string(name)); err != nil {
			return err
		} else if found {
			return fmt.Errorf("name %q is already in directory %d: %w", name, parent, ErrDamaged)
		}
	}
	x.value = d.encode(x.value[:0])
	if err := x.b.Set(x.direntKey(parent, string(name)), x.value, nil); err != nil {
		return err
	}
	return x.touch(parent, p.time, d.kind, 1)
}

// removeName deletes a directory entry that must lead to inode.
func (x *effects) removeName(p *payload, parent Inode, name []byte, inode Inode) error {
	d, found, err := x.view.dirent(parent, string(name))
	if err != nil {
		return err
	}
	if !found || d.inode != inode {
		return fmt.Errorf("name %q leads to inode %d, not %d: %w", name, d.inode, inode, ErrDamaged)
	}
	if err := x.b.Delete(x.direntKey(parent, string(name)), nil); err != nil {
		return err
	}
	return x.touch(parent, p.time, d.kind, -1)
}

// touch counts a name that came to, or went from, a directory.
func (x *effects) touch(dir Inode, time int64, kind Type, by int) error {
	if dir == Root {
		return nil
	}
	a, err := x.mustInode(dir)
	if err != nil {
		return err
	}
	if a.Type != TypeDir {
		return fmt.Errorf("inode %d is not a directory: %w", dir, ErrDamaged)
	}
	a.Size += uint64(by)
	if kind == TypeDir {
		a.Nlink += uint32(by)
	}
	a.Mtime, a.Ctime = time, time
	return x.put(&a)
}

// release takes one name from an inode; with the last one it goes.
func (x *effects) release(n Inode, time int64) error {
	a, err := x.mustInode(n)
	if err != nil {
		return err
	}
	if a.Type != TypeDir && a.Nlink > 1 {
		a.Nlink--
		a.Ctime = time
		return x.put(&a)
	}
	if a.Type == TypeDir && a.Size != 0 {
		return fmt.Errorf("directory %d has %d names: %w", n, a.Size, ErrDamaged)
	}
	if a.Xattrs != 0 {
		lo := x.xattrKey(n, "")
		if err := x.b.DeleteRange(lo, successor(lo), nil); err != nil {
			return err
		}
	}
	if a.Type == TypeFile {
		if err := x.deleteChunks(n, 0, a.Size); err != nil {
			return err
		}
	}
	return x.b.Delete(x.inodeKey(n), nil)
}

func (x *effects) put(a *Attr) error {
	x.value = a.encode(x.value[:0])
	return x.b.Set(x.inodeKey(a.Inode), x.value, nil)
}

func (x *effects) setAttr(p *payload) error {
	a, err := x.mustInode(p.inode)
	if err != nil {
		return err
	}
	if p.flags&payloadMode != 0 {
		a.Mode = p.mode
	}
	if p.flags&payloadUID != 0 {
		a.UID = p.uid
	}
	if p.flags&payloadGID != 0 {
		a.GID = p.gid
	}
	if p.flags&payloadAtime != 0 {
		a.Atime = p.atime
	}
	if p.flags&payloadMtime != 0 {
		a.Mtime = p.mtime
	}
	a.Ctime = p.time
	return x.put(&a)
}

func (x *effects) setXattr(p *payload) error {
	a, err := x.mustInode(p.inode)
	if err != nil {
		return err
	}
	had, err := x.hasXattr(p.inode, p.name)
	if err != nil {
		return err
	}
	if !had {
		a.Xattrs++
	}
	if err := x.b.Set(x.xattrKey(p.inode, string(p.name)), p.data, nil); err != nil {
		return err
	}
	a.Ctime = p.time
	return x.put(&a)
}

func (x *effects) removeXattr(p *payload) error {
	a, err := x.mustInode(p.inode)
	if err != nil {
		return err
	}
	had, err := x.hasXattr(p.inode, p.name)
	if err != nil {
		return err
	}
	if !had {
		return fmt.Errorf("inode %d has no attribute %q: %w", p.inode, p.name, ErrDamaged)
	}
	if err := x.b.Delete(x.xattrKey(p.inode, string(p.name)), nil); err != nil {
		return err
	}
	a.Xattrs--
	a.Ctime = p.time
	return x.put(&a)
}

func (v *view) hasXattr(n Inode, name []byte) (bool, error) {
	return v.get(v.xattrKey(n, string(name)), func([]byte) error { return nil })
}
