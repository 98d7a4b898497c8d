package fsapi

import (
	"encoding/hex"
	"unicode/utf8"

	"github.com/claudefs/repl/tools/namespace"
)

// Schema of the JSON answers: additive changes only.
const Schema = 1

// Stat is one inode.
type Stat struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	Type   string `json:"type"` // "file", "dir", "symlink"
	namespace.Attr
}

// Listing is one page of a directory.
type Listing struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	Names  []Name `json:"names"`
	Next   string `json:"next"` // token of the next page; "" = this is the last
}

// Name is one entry of a directory.
type Name struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Inode namespace.Inode `json:"inode"`
	// Raw is the name where it is no UTF-8, which JSON cannot carry; base64.
	Raw []byte `json:"name_raw,omitempty"`
}

// NameOf renders an entry.
func NameOf(n *namespace.Name) Name {
	out := Name{Name: n.Name, Type: n.Type.String(), Inode: n.Inode}
	if !utf8.ValidString(n.Name) {
		out.Raw = []byte(n.Name)
	}
	return out
}

// Restore gives a decoded entry the bytes of its name.
func (n *Name) Restore() {
	if n.Raw != nil {
		n.Name = string(n.Raw)
	}
}

// ListLimit is the default and largest count of names in a page.
const ListLimit = 1000

// Digest is one hash over namespace and content of all shards. Two sites that
// applied the same entries have the same one.
type Digest struct {
	Schema  int    `json:"schema"`
	Hash    string `json:"sha256"`
	Inodes  uint64 `json:"inode_count"`
	Names   uint64 `json:"name_count"`
	Bytes   uint64 `json:"content_bytes"`
	Applied uint64 `json:"applied_seq_sum"` // over all logs; equal at sites that are level
}

// WalkRow is one path; digests are SHA-256 in hex, "" where there is nothing to
// digest. Bytes of a path that are no UTF-8 show as U+FFFD.
type WalkRow struct {
	Path    string `json:"path"`
	Type    string `json:"type"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Nlink   uint32 `json:"nlink"`
	Size    uint64 `json:"size_bytes"`
	Mtime   int64  `json:"mtime_ns"`
	Target  string `json:"target,omitempty"`
	Xattrs  string `json:"xattrs_sha256,omitempty"`
	Content string `json:"content_sha256,omitempty"`
}

// WalkRowOf renders a row.
func WalkRowOf(r *namespace.Row) WalkRow {
	a := &r.Attr
	return WalkRow{
		Path: r.Path, Type: a.Type.String(), Mode: a.Mode, UID: a.UID, GID: a.GID, Nlink: a.Nlink, Size: a.Size,
		Mtime: a.Mtime, Target: a.Target, Xattrs: hex.EncodeToString(r.Xattrs), Content: hex.EncodeToString(r.Content),
	}
}

// DecidedRow is one entry that took effect, by the Store's own commit counter.
type DecidedRow struct {
	Row         uint64 `json:"row"`
	Incarnation string `json:"incarnation"`
	Shard       uint32 `json:"shard"`
	Site        uint32 `json:"site"`
	Seq         uint64 `json:"seq"`
	Request     string `json:"request"` // "" = none
}

// DecidedRowOf renders a row.
func DecidedRowOf(d *namespace.Decided) DecidedRow {
	row := DecidedRow{
		Row: d.Row, Incarnation: d.Ref.Incarnation.String(), Shard: uint32(d.Ref.Log.Shard),
		Site: uint32(d.Ref.Log.Site), Seq: uint64(d.Ref.Seq),
	}
	if d.Request != [16]byte{} {
		row.Request = hex.EncodeToString(d.Request[:])
	}
	return row
}

// Error is the body of every answer that is none.
type Error struct {
	Text  string `json:"error"`
	Errno string `json:"errno"` // "ENOENT", "" = not of POSIX
	Next  string `json:"next"`  // what to do about it
}
