package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/claudefs/repl/wire"
)

// ErrDamaged: a row of the Pebble store does not decode, or an entry
// contradicts the rows.
var ErrDamaged = errors.New("namespace contradicts itself")

// Type is what an inode is. Part of the disk format.
type Type uint8

const (
	TypeFile    Type = 1
	TypeDir     Type = 2
	TypeSymlink Type = 3
)

func (t Type) String() string {
	switch t {
	case TypeFile:
		return "file"
	case TypeDir:
		return "dir"
	case TypeSymlink:
		return "symlink"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Attr is an inode. Times are nanoseconds since 1970.
type Attr struct {
	Inode  Inode  `json:"inode"`
	Type   Type   `json:"-"`
	Mode   uint32 `json:"mode"` // permission bits, 07777
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Nlink  uint32 `json:"nlink"`
	Size   uint64 `json:"size_bytes"` // of a directory: how many names it has
	Atime  int64  `json:"atime_ns"`
	Mtime  int64  `json:"mtime_ns"`
	Ctime  int64  `json:"ctime_ns"`
	Xattrs uint32 `json:"xattr_count"`
	Target string `json:"target,omitempty"` // of a symlink
}

// RootAttr is the root directory: it is not stored and never changes, because
// its entries lie in all shards.
var RootAttr = Attr{Inode: Root, Type: TypeDir, Mode: 0o755, Nlink: 2}

// Chunks of content.
const (
	ChunkBytes   = 128 << 10
	FileBytesMax = 8 << 40
)

// The inode record: version u8, type u8, mode, uid, gid, nlink, xattr count
// u32, size u64, atime, mtime, ctime i64, target: the rest. Part of the disk
// format.
const (
	recordVersion = 1
	recordBytes   = 1 + 1 + 5*4 + 4*8
)

func (a *Attr) encode(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, recordVersion, byte(a.Type))
	for _, v := range [...]uint32{a.Mode, a.UID, a.GID, a.Nlink, a.Xattrs} {
		dst = le.AppendUint32(dst, v)
	}
	for _, v := range [...]uint64{a.Size, uint64(a.Atime), uint64(a.Mtime), uint64(a.Ctime)} {
		dst = le.AppendUint64(dst, v)
	}
	return append(dst, a.Target...)
}

func (a *Attr) decode(n Inode, b []byte) error {
	if len(b) < recordBytes || b[0] != recordVersion {
		return fmt.Errorf("inode %d: record of %d bytes: %w", n, len(b), ErrDamaged)
	}
	le := binary.LittleEndian
	*a = Attr{
		Inode: n, Type: Type(b[1]),
		Mode: le.Uint32(b[2:]), UID: le.Uint32(b[6:]), GID: le.Uint32(b[10:]),
		Nlink: le.Uint32(b[14:]), Xattrs: le.Uint32(b[18:]),
		Size: le.Uint64(b[22:]), Atime: int64(le.Uint64(b[30:])),
		Mtime: int64(le.Uint64(b[38:])), Ctime: int64(le.Uint64(b[46:])),
		Target: string(b[recordBytes:]),
	}
	return nil
}

// dirent is a directory entry's value.
type dirent struct {
	inode Inode
	kind  Type
}

const direntBytes = 8 + 1

func (d dirent) encode(dst []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(d.inode)), byte(d.kind))
}

func decodeDirent(b []byte) (dirent, error) {
	if len(b) != direntBytes {
		return dirent{}, fmt.Errorf("directory entry of %d bytes: %w", len(b), ErrDamaged)
	}
	return dirent{Inode(binary.LittleEndian.Uint64(b)), Type(b[8])}, nil
}

// view reads the rows of one shard from a database, a snapshot, or a batch with
// changes to come. Not for concurrent use.
type view struct {
	r     pebble.Reader
	shard wire.Shard
	key   []byte // scratch of the key methods
}

// get calls found with the value of key, if there is one.
func (v *view) get(key []byte, found func(value []byte) error) (bool, error) {
	value, closer, err := v.r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = found(value)
	return true, errors.Join(err, closer.Close())
}

func (v *view) dirent(parent Inode, name string) (d dirent, found bool, err error) {
	found, err = v.get(v.direntKey(parent, name), func(b []byte) (err error) {
		d, err = decodeDirent(b)
		return err
	})
	return d, found, err
}

func (v *view) inode(n Inode) (a Attr, found bool, err error) {
	if n == Root {
		return RootAttr, true, nil
	}
	found, err = v.get(v.inodeKey(n), func(b []byte) error { return a.decode(n, b) })
	return a, found, err
}

// mustInode is inode where the rows promise that there is one.
func (v *view) mustInode(n Inode) (Attr, error) {
	a, found, err := v.inode(n)
	if err == nil && !found {
		err = fmt.Errorf("shard %d: no inode %d: %w", v.shard, n, ErrDamaged)
	}
	return a, err
}

// counter is the number of the next new inode of the shard.
func (v *view) counter() (n Inode, err error) {
	n = Inode(uint64(v.shard)<<inodeShardBits | counterFirst)
	_, err = v.get(v.counterKey(), func(b []byte) error {
		if len(b) != 8 {
			return fmt.Errorf("shard %d: inode counter of %d bytes: %w", v.shard, len(b), ErrDamaged)
		}
		n = Inode(binary.LittleEndian.Uint64(b))
		return nil
	})
	return n, err
}
