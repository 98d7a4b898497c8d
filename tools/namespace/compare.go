package namespace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"syscall"
)

// Entry is one name of a directory with its inode.
type Entry struct {
	Name string
	Attr Attr
}

// Entries is List with the inodes, as of one moment.
func (s *Store) Entries(ctx context.Context, path, after string, limit int) ([]Entry, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	dir, v, err := s.stat(snapshot, path)
	if err != nil {
		return nil, err
	}
	if dir.Type != TypeDir {
		return nil, pathError("list", path, syscall.ENOTDIR)
	}
	names, err := s.names(ctx, v, dir.Inode, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(names))
	for i := range names {
		if dir.Inode == Root {
			v = &view{r: snapshot, shard: ShardOf("/"+names[i].Name, s.shards)}
		}
		out[i].Name = names[i].Name
		if out[i].Attr, err = v.mustInode(names[i].Inode); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SumBytes is the size of the blocks of Sums: whole chunks.
const SumBytes = 4 * ChunkBytes

// Sum is the digest of one block of a file: SHA-256 of its bytes up to the last
// that is not zero.
type Sum struct {
	Block uint64 // its number: it begins at Block × SumBytes
	Hash  [sha256.Size]byte
}

// Sums returns the digests of up to limit blocks of a file from block from on, and
// the block to go on from, 0 at the end. A block that is left out is all zeros.
func (s *Store) Sums(ctx context.Context, path string, from uint64, limit int) (sums []Sum, next uint64, err error) {
	leave, err := s.enter()
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	a, v, err := s.stat(snapshot, path)
	if err != nil {
		return nil, 0, err
	}
	if err := mustBeFile(a.Type); err != nil {
		return nil, 0, pathError("read", path, err)
	}
	if from > FileBytesMax/SumBytes {
		return nil, 0, nil
	}
	c := summer{block: from, bytes: make([]byte, 0, SumBytes)}
	lo := bytes.Clone(v.chunkKey(a.Inode, from*(SumBytes/ChunkBytes)))
	hi := successor(bytes.Clone(v.chunkKey(a.Inode, 0))[:statePrefixBytes+inodeKeyBytes])
	err = scan(ctx, snapshot, lo, hi, func(key, chunk []byte) error {
		number := binary.BigEndian.Uint64(key[len(key)-8:])
		if block := number * ChunkBytes / SumBytes; block != c.block {
			c.flush()
			if c.block = block; len(c.sums) >= limit {
				next = block
				return errFound
			}
		}
		at := int(number * ChunkBytes % SumBytes)
		c.bytes = append(c.bytes, make([]byte, at-len(c.bytes))...)
		c.bytes = append(c.bytes, chunk...)
		return nil
	})
	if errors.Is(err, errFound) {
		return c.sums, next, nil
	}
	c.flush()
	return c.sums, 0, err
}

// summer digests the blocks of a file.
type summer struct {
	sums  []Sum
	block uint64
	bytes []byte // of the block, up to the last that is not zero: chunks end there
}

func (c *summer) flush() {
	if len(c.bytes) > 0 {
		c.sums = append(c.sums, Sum{c.block, sha256.Sum256(c.bytes)})
	}
	c.bytes = c.bytes[:0]
}
