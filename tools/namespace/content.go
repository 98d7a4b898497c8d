package namespace

import (
	"fmt"
)

func (x *effects) write(p *payload) error {
	a, err := x.file(p.inode)
	if err != nil {
		return err
	}
	if x.content {
		if err := x.writeChunks(&a, p.offset, p.data); err != nil {
			return err
		}
	}
	a.Size = max(a.Size, p.offset+uint64(len(p.data)))
	a.Mtime, a.Ctime = p.mtime, p.time
	return x.put(&a)
}

func (x *effects) truncate(p *payload) error {
	a, err := x.file(p.inode)
	if err != nil {
		return err
	}
	if x.content && p.size < a.Size {
		if err := x.cutChunks(&a, p.size); err != nil {
			return err
		}
	}
	a.Size = p.size
	if p.flags&payloadAttrs != 0 {
		a.Mode, a.UID, a.GID = p.mode, p.uid, p.gid
	}
	a.Mtime, a.Ctime = p.mtime, p.time
	return x.put(&a)
}

func (x *effects) file(n Inode) (Attr, error) {
	a, err := x.mustInode(n)
	if err == nil && a.Type != TypeFile {
		err = fmt.Errorf("inode %d is not a file: %w", n, ErrDamaged)
	}
	return a, err
}

// writeChunks puts data at offset of a file whose record is still the old one.
func (x *effects) writeChunks(a *Attr, offset uint64, data []byte) error {
	for len(data) > 0 {
		chunk, at := offset/ChunkBytes, int(offset%ChunkBytes)
		n := min(ChunkBytes-at, len(data))
		if err := x.writeChunk(a, chunk, at, data[:n]); err != nil {
			return err
		}
		offset += uint64(n)
		data = data[n:]
	}
	return nil
}

// writeChunk merges data into one chunk at byte at. Where data covers all that
// the chunk may hold, the old bytes are not read.
func (x *effects) writeChunk(a *Attr, chunk uint64, at int, data []byte) error {
	start := chunk * ChunkBytes
	exists := start < a.Size
	covers := at == 0 && (len(data) == ChunkBytes || start+uint64(len(data)) >= a.Size)
	if covers {
		return x.putChunk(a.Inode, chunk, data, exists)
	}
	x.value = x.value[:0]
	if exists {
		if _, err := x.get(x.chunkKey(a.Inode, chunk), func(b []byte) error {
			x.value = append(x.value, b...)
			return nil
		}); err != nil {
			return err
		}
	}
	for len(x.value) < at+len(data) {
		x.value = append(x.value, make([]byte, at+len(data)-len(x.value))...)
	}
	copy(x.value[at:], data)
	return x.putChunk(a.Inode, chunk, x.value, exists)
}

// putChunk stores a chunk without the zeros at its end, so that the same
// content is always the same row.
func (x *effects) putChunk(n Inode, chunk uint64, data []byte, exists bool) error {
	for len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	key := x.chunkKey(n, chunk)
	if len(data) > 0 {
		return x.b.Set(key, data, nil)
	}
	if exists {
		return x.b.Delete(key, nil)
	}
	return nil
}

// cutChunks removes the content from size on.
func (x *effects) cutChunks(a *Attr, size uint64) error {
	first := size / ChunkBytes
	if keep := size % ChunkBytes; keep != 0 {
		x.value = x.value[:0]
		found, err := x.get(x.chunkKey(a.Inode, first), func(b []byte) error {
			x.value = append(x.value, b...)
			return nil
		})
		if err != nil {
			return err
		}
		if found && uint64(len(x.value)) > keep {
			if err := x.putChunk(a.Inode, first, x.value[:keep], true); err != nil {
				return err
			}
		}
		first++
	}
	return x.deleteChunks(a.Inode, first, a.Size)
}

// deleteChunks removes the chunks from first on of a file of size bytes.
func (x *effects) deleteChunks(n Inode, first, size uint64) error {
	end := (size + ChunkBytes - 1) / ChunkBytes
	if !x.content || first >= end {
		return nil
	}
	if end-first > chunkDeletesMax {
		lo := append([]byte(nil), x.chunkKey(n, first)...)
		return x.b.DeleteRange(lo, x.chunkKey(n, end), nil)
	}
	for chunk := first; chunk < end; chunk++ {
		if err := x.b.Delete(x.chunkKey(n, chunk), nil); err != nil {
			return err
		}
	}
	return nil
}
