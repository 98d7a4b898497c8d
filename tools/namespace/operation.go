package namespace

import (
	"errors"
	"io/fs"
	"math"
	"syscall"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// Flags of an Operation.
type Flags uint16

const (
	// FlagDir: Unlink removes an empty directory (rmdir) instead of a file.
	FlagDir Flags = 1 << iota
	// FlagOverwrite replaces EEXIST: Create on a file empties it and gives it the
	// new owner and mode; MkDir on a directory, Symlink on a symlink with the same
	// text and Link on a link to the same file have nothing to do.
	FlagOverwrite
	// FlagMode … FlagMtime: what SetAttr sets; Create and Write take Mtime (and
	// Create Atime) from the operation when the flag is set, else it is now.
	FlagMode
	FlagUID
	FlagGID
	FlagAtime
	FlagMtime
)

// Operation is one change that a client asks for. Paths are absolute. The validator checks
// it against the namespace and turns it into an entry; applying the entry makes the change.
type Operation struct {
	Op      wire.Op // engine.OpCreate … engine.OpRemoveXattr
	Flags   Flags
	Request wire.RequestID // zero = none: a repeat is a second operation
	UID     uint32         // owner of what is made; SetAttr: the new owner
	GID     uint32
	Mode    uint32 // permission bits; others are EINVAL
	Offset  uint64 // Write
	Size    uint64 // Truncate
	Atime   int64  // ns since 1970
	Mtime   int64
	Path    string
	Target  string // Rename, Link: the new path; Symlink: the text; xattrs: the name
	Data    []byte // Write: content; SetXattr: the value
}

var opNames = [...]string{
	engine.OpCreate: "create", engine.OpUnlink: "unlink", engine.OpRename: "rename", engine.OpWrite: "write",
	engine.OpTruncate: "truncate", engine.OpSetAttr: "setattr", engine.OpLink: "link",
	engine.OpSymlink: "symlink", engine.OpMkDir: "mkdir", engine.OpSetXattr: "setxattr",
	engine.OpRemoveXattr: "removexattr",
}

// OpName returns the name of an operation, "unknown operation" if it has none.
func OpName(op wire.Op) string {
	if int(op) < len(opNames) && op != 0 {
		return opNames[op]
	}
	return "unknown operation"
}

// errSame: the namespace is already as the operation wants it.
var errSame = errors.New("already so")

// validator turns operations into entries, against the overlay. It returns a syscall.Errno
// if POSIX refuses the operation, and other errors for failures.
type validator struct {
	*effects
	shards int
	dirs   map[string]Inode
	now    int64

	p       payload
	keys    [4][]byte
	keyBuf  []byte
	payload []byte
}

// entry validates op and fills e, whose slices belong to the validator and are valid until
// the next call. same: the namespace is already as op wants it.
func (v *validator) entry(op *Operation, e *wire.Entry) (same bool, err error) {
	path, err := Clean(op.Path)
	if err != nil {
		return false, err
	}
	if op.Mode&^0o7777 != 0 {
		return false, syscall.EINVAL
	}
	at, err := v.resolve(path, v.dirs)
	if err != nil {
		return false, err
	}
	v.p = payload{op: op.Op, time: v.now, ownerUID: op.UID, ownerGID: op.GID}
	v.keyBuf = v.keyBuf[:0]
	clear(v.keys[:])
	keys := v.keys[:0]
	switch op.Op {
	case engine.OpCreate, engine.OpMkDir, engine.OpSymlink:
		keys, err = v.make(op, at, keys)
	case engine.OpLink:
		keys, err = v.hardLink(op, at, keys)
	case engine.OpUnlink:
		keys, err = v.remove(op, at, keys)
	case engine.OpRename:
		keys, err = v.move(op, at, keys)
	case engine.OpWrite, engine.OpTruncate:
		keys, err = v.change(op, at, keys)
	case engine.OpSetAttr, engine.OpSetXattr, engine.OpRemoveXattr:
		keys, err = v.attribute(op, at, keys)
	default:
		err = syscall.ENOSYS
	}
	if err == errSame {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	v.payload = v.p.encode(v.payload[:0])
	*e = wire.Entry{Op: v.p.op, UID: op.UID, GID: op.GID, Keys: keys, Payload: v.payload, Request: op.Request}
	return false, nil
}

// apply puts the effects of the last entry into the overlay.
func (v *validator) apply() error {
	p := v.p
	if p.op == engine.OpRename || p.op == engine.OpUnlink && p.flags&payloadDir != 0 {
		clear(v.dirs)
	}
	return v.effects.apply(&p)
}

func (v *validator) nameKey(keys [][]byte, parent Inode, name string) [][]byte {
	at := len(v.keyBuf)
	v.keyBuf = direntKey(v.keyBuf, parent, name)
	return append(keys, v.keyBuf[at:len(v.keyBuf):len(v.keyBuf)])
}

func (v *validator) numberKey(keys [][]byte, n Inode) [][]byte {
	at := len(v.keyBuf)
	v.keyBuf = inodeKey(v.keyBuf, n)
	return append(keys, v.keyBuf[at:len(v.keyBuf):len(v.keyBuf)])
}

// times fills the times of something new or changed.
func (v *validator) times(op *Operation) {
	v.p.atime, v.p.mtime = v.now, v.now
	if op.Flags&FlagAtime != 0 {
		v.p.atime = op.Atime
	}
	if op.Flags&FlagMtime != 0 {
		v.p.mtime = op.Mtime
	}
}

func (v *validator) make(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	v.times(op)
	if at.found {
		return v.remake(op, at, keys)
	}
	if op.Op == engine.OpSymlink {
		switch n := len(op.Target); {
		case n == 0:
			return nil, syscall.ENOENT
		case n > TargetBytesMax:
			return nil, syscall.ENAMETOOLONG
		}
		v.p.name2 = []byte(op.Target)
	}
	n, err := v.counter()
	if err != nil {
		return nil, err
	}
	if uint64(n)>>inodeShardBits != uint64(v.shard) {
		return nil, syscall.ENOSPC
	}
	v.p.parent, v.p.inode, v.p.mode, v.p.name = at.parent, n, op.Mode, []byte(at.name)
	if op.Op == engine.OpSymlink {
		v.p.mode = 0o777
	}
	return v.numberKey(v.nameKey(keys, at.parent, at.name), n), nil
}

// remake answers Create, MkDir and Symlink on a name that is taken.
func (v *validator) remake(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	if op.Flags&FlagOverwrite == 0 {
		return nil, syscall.EEXIST
	}
	switch op.Op {
	case engine.OpMkDir:
		if at.entry.kind == TypeDir {
			return nil, errSame
		}
		return nil, syscall.EEXIST
	case engine.OpSymlink:
		if a, err := v.mustInode(at.entry.inode); err != nil {
			return nil, err
		} else if a.Type == TypeSymlink && a.Target == op.Target {
			return nil, errSame
		}
		return nil, syscall.EEXIST
	}
	if err := mustBeFile(at.entry.kind); err != nil {
		return nil, err
	}
	v.p.op, v.p.flags = engine.OpTruncate, payloadAttrs
	v.p.inode, v.p.mode, v.p.uid, v.p.gid = at.entry.inode, op.Mode, op.UID, op.GID
	return v.numberKey(keys, at.entry.inode), nil
}

func mustBeFile(t Type) error {
	switch t {
	case TypeDir:
		return syscall.EISDIR
	case TypeSymlink:
		return syscall.ELOOP
	}
	return nil
}

// second resolves the new path of Link and Rename.
func (v *validator) second(op *Operation) (place, error) {
	path, err := Clean(op.Target)
	if err != nil {
		return place{}, err
	}
	if path != "/" && ShardOf(path, v.shards) != v.shard {
		return place{}, syscall.EXDEV
	}
	return v.resolve(path, v.dirs)
}

func (v *validator) hardLink(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	switch {
	case at.root:
		return nil, syscall.EPERM
	case !at.found:
		return nil, syscall.ENOENT
	case at.entry.kind == TypeDir:
		return nil, syscall.EPERM
	}
	to, err := v.second(op)
	if err != nil {
		return nil, err
	}
	switch {
	case to.found && op.Flags&FlagOverwrite != 0 && to.entry.inode == at.entry.inode:
		return nil, errSame
	case to.found:
		return nil, syscall.EEXIST
	}
	a, err := v.mustInode(at.entry.inode)
	if err != nil {
		return nil, err
	}
	if a.Nlink == math.MaxUint32 {
		return nil, syscall.EMLINK
	}
	v.p.parent, v.p.inode, v.p.name = to.parent, at.entry.inode, []byte(to.name)
	return v.numberKey(v.nameKey(keys, to.parent, to.name), at.entry.inode), nil
}

func (v *validator) remove(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	dir := op.Flags&FlagDir != 0
	switch {
	case at.root:
		return nil, syscall.EBUSY
	case !at.found:
		return nil, syscall.ENOENT
	case dir && at.entry.kind != TypeDir:
		return nil, syscall.ENOTDIR
	case !dir && at.entry.kind == TypeDir:
		return nil, syscall.EISDIR
	}
	if dir {
		if err := v.mustBeEmpty(at.entry.inode); err != nil {
			return nil, err
		}
		v.p.flags = payloadDir
	}
	v.p.parent, v.p.inode, v.p.name = at.parent, at.entry.inode, []byte(at.name)
	return v.numberKey(v.nameKey(keys, at.parent, at.name), at.entry.inode), nil
}

func (v *validator) mustBeEmpty(n Inode) error {
	a, err := v.mustInode(n)
	if err == nil && a.Size != 0 {
		err = syscall.ENOTEMPTY
	}
	return err
}

func (v *validator) move(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	switch {
	case at.root:
		return nil, syscall.EBUSY
	case !at.found:
		return nil, syscall.ENOENT
	}
	to, err := v.second(op)
	if err != nil {
		return nil, err
	}
	from := at.entry
	switch {
	case to.root:
		return nil, syscall.EBUSY
	case within(to.path, at.path):
		return nil, syscall.EINVAL
	case to.found && to.entry.inode == from.inode:
		return nil, errSame
	case to.found && from.kind == TypeDir && to.entry.kind != TypeDir:
		return nil, syscall.ENOTDIR
	case to.found && from.kind != TypeDir && to.entry.kind == TypeDir:
		return nil, syscall.EISDIR
	}
	if to.found && to.entry.kind == TypeDir {
		if err := v.mustBeEmpty(to.entry.inode); err != nil {
			return nil, err
		}
	}
	if from.kind == TypeDir {
		v.p.flags = payloadDir
	}
	v.p.parent, v.p.inode, v.p.name = at.parent, from.inode, []byte(at.name)
	v.p.parent2, v.p.replaced, v.p.name2 = to.parent, to.entry.inode, []byte(to.name)
	keys = v.nameKey(v.nameKey(keys, at.parent, at.name), to.parent, to.name)
	keys = v.numberKey(keys, from.inode)
	if to.found {
		keys = v.numberKey(keys, to.entry.inode)
	}
	return keys, nil
}

// change validates Write and Truncate.
func (v *validator) change(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	if !at.found {
		return nil, syscall.ENOENT
	}
	if err := mustBeFile(at.entry.kind); err != nil {
		return nil, err
	}
	v.times(op)
	v.p.inode = at.entry.inode
	if op.Op == engine.OpTruncate {
		if op.Size > FileBytesMax {
			return nil, syscall.EFBIG
		}
		v.p.size = op.Size
		return v.numberKey(keys, at.entry.inode), nil
	}
	switch n := uint64(len(op.Data)); {
	case n == 0 || n > DataBytesMax:
		return nil, syscall.EINVAL
	case op.Offset > FileBytesMax-n:
		return nil, syscall.EFBIG
	}
	v.p.offset, v.p.data = op.Offset, op.Data
	return v.numberKey(keys, at.entry.inode), nil
}

// attribute validates SetAttr, SetXattr and RemoveXattr.
func (v *validator) attribute(op *Operation, at place, keys [][]byte) ([][]byte, error) {
	switch {
	case at.root:
		return nil, syscall.EPERM
	case !at.found:
		return nil, syscall.ENOENT
	}
	n := at.entry.inode
	v.p.inode = n
	if op.Op == engine.OpSetAttr {
		v.p.flags = uint8(op.Flags / FlagMode)
		if v.p.flags == 0 {
			return nil, syscall.EINVAL
		}
		v.p.mode, v.p.uid, v.p.gid, v.p.atime, v.p.mtime = op.Mode, op.UID, op.GID, op.Atime, op.Mtime
		return v.numberKey(keys, n), nil
	}
	switch {
	case op.Target == "":
		return nil, syscall.EINVAL
	case len(op.Target) > XattrNameBytesMax:
		return nil, syscall.ERANGE
	case len(op.Data) > XattrValueBytesMax:
		return nil, syscall.E2BIG
	}
	v.p.name = []byte(op.Target)
	had, err := v.hasXattr(n, v.p.name)
	if err != nil {
		return nil, err
	}
	if op.Op == engine.OpRemoveXattr {
		if !had {
			return nil, syscall.ENODATA
		}
		return v.numberKey(keys, n), nil
	}
	a, err := v.mustInode(n)
	if err != nil {
		return nil, err
	}
	if !had && a.Xattrs >= XattrCountMax {
		return nil, syscall.ENOSPC
	}
	v.p.data = op.Data
	return v.numberKey(keys, n), nil
}

// opError names the operation and path of what POSIX refuses.
func opError(op *Operation, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		return &fs.PathError{Op: OpName(op.Op), Path: op.Path, Err: errno}
	}
	return err
}
