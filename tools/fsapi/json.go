package fsapi

import (
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"github.com/claudefs/repl/tools/namespace"
)

// Schema of the JSON answers: additive changes only.
const Schema = 1

// Raw returns the bytes of s where JSON cannot carry them, because they are not UTF-8,
// else nil. They go into the key KEY_b64 beside KEY, which then shows U+FFFD.
func Raw(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}

func rawText(s string) string { return base64.StdEncoding.EncodeToString(Raw(s)) }

// restore gives s back the bytes that JSON could not carry.
func restore(s *string, b64 []byte) {
	if b64 != nil {
		*s = string(b64)
	}
}

// Attr is an inode as JSON carries it.
type Attr struct {
	namespace.Attr
	TargetB64 []byte `json:"target_b64,omitempty"`
}

// AttrOf renders an inode.
func AttrOf(a *namespace.Attr) Attr { return Attr{*a, Raw(a.Target)} }

// Restore gives a decoded inode the bytes of its target.
func (a *Attr) Restore() { restore(&a.Target, a.TargetB64) }

// Stat is one inode.
type Stat struct {
	Schema  int    `json:"schema"`
	Path    string `json:"path"`
	PathB64 []byte `json:"path_b64,omitempty"`
	Type    string `json:"type"` // "file", "dir", "symlink"
	Attr
}

// StatOf renders the inode at path.
func StatOf(path string, a *namespace.Attr) Stat {
	return Stat{Schema: Schema, Path: path, PathB64: Raw(path), Type: a.Type.String(), Attr: AttrOf(a)}
}

// Restore gives a decoded Stat the bytes of its path and target.
func (s *Stat) Restore() {
	restore(&s.Path, s.PathB64)
	s.Attr.Restore()
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
	B64   []byte          `json:"name_b64,omitempty"`
	// Raw is B64 under the key of earlier releases.
	Raw  []byte `json:"name_raw,omitempty"`
	Attr *Attr  `json:"attr,omitempty"` // where the listing was asked for with attr=1
}

// NameOf renders an entry.
func NameOf(n *namespace.Name) Name {
	return Name{Name: n.Name, Type: n.Type.String(), Inode: n.Inode, B64: Raw(n.Name), Raw: Raw(n.Name)}
}

// EntryOf renders an entry with its inode.
func EntryOf(e *namespace.Entry) Name {
	n := NameOf(&namespace.Name{Name: e.Name, Inode: e.Attr.Inode, Type: e.Attr.Type})
	attr := AttrOf(&e.Attr)
	n.Attr = &attr
	return n
}

// Restore gives a decoded entry the bytes of its name and target.
func (n *Name) Restore() {
	restore(&n.Name, n.B64)
	if n.Attr != nil {
		n.Attr.Restore()
	}
}

// Sums are the digests of blocks of a file; a block that is left out is all zeros.
type Sums struct {
	Schema     int    `json:"schema"`
	Path       string `json:"path"`
	BlockBytes int    `json:"block_bytes"`
	Sums       []Sum  `json:"sums"`
	Next       uint64 `json:"next_block"` // to go on from; 0 = these were the last
}

// Sum is one block: SHA-256 of its bytes up to the last that is not zero, in hex.
type Sum struct {
	Block uint64 `json:"block"`
	Hash  string `json:"sha256"`
}

// SumsLimit is the largest count of blocks in an answer.
const SumsLimit = 256

// Xattr is one extended attribute.
type Xattr struct {
	Name  string `json:"name"`
	B64   []byte `json:"name_b64,omitempty"`
	Value []byte `json:"value_b64"`
}

// XattrOf renders an attribute, whose value it borrows.
func XattrOf(name string, value []byte) Xattr { return Xattr{Name: name, B64: Raw(name), Value: value} }

// Restore gives a decoded attribute the bytes of its name.
func (x *Xattr) Restore() { restore(&x.Name, x.B64) }

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
// digest.
type WalkRow struct {
	Path      string `json:"path"`
	PathB64   string `json:"path_b64,omitempty"`
	Type      string `json:"type"`
	Mode      uint32 `json:"mode"`
	UID       uint32 `json:"uid"`
	GID       uint32 `json:"gid"`
	Nlink     uint32 `json:"nlink"`
	Size      uint64 `json:"size_bytes"`
	Mtime     int64  `json:"mtime_ns"`
	Target    string `json:"target,omitempty"`
	TargetB64 string `json:"target_b64,omitempty"`
	Xattrs    string `json:"xattrs_sha256,omitempty"`
	Content   string `json:"content_sha256,omitempty"`
}

// WalkRowOf renders a row.
func WalkRowOf(r *namespace.Row) WalkRow {
	a := &r.Attr
	return WalkRow{
		Path: r.Path, PathB64: rawText(r.Path), Type: a.Type.String(), Mode: a.Mode, UID: a.UID, GID: a.GID,
		Nlink: a.Nlink, Size: a.Size, Mtime: a.Mtime, Target: a.Target, TargetB64: rawText(a.Target),
		Xattrs: hex.EncodeToString(r.Xattrs), Content: hex.EncodeToString(r.Content),
	}
}

// Restore gives a decoded row the bytes of its path and target.
func (r *WalkRow) Restore() {
	for _, s := range []struct {
		text *string
		b64  string
	}{{&r.Path, r.PathB64}, {&r.Target, r.TargetB64}} {
		if b, err := base64.StdEncoding.DecodeString(s.b64); err == nil && len(b) > 0 {
			*s.text = string(b)
		}
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
