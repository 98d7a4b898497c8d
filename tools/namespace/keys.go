package namespace

import (
	"encoding/binary"

	"github.com/claudefs/repl/wire"
)

// The tables of the Pebble store. Part of the disk format, never reuse.
const (
	tableState    = 's'
	tableContent  = 'b'
	tableCounter  = 'n'
	tableCursor   = 'c'
	tableRequest  = 'r'
	tableDecided  = 'd'
	tableVersions = 'v'
	tableLosers   = 'l'
	tableMeta     = 'm'

	keyDirent = 'd'
	keyInode  = 'i'
	subXattr  = 'x'
)

const (
	statePrefixBytes = 1 + 2
	inodeKeyBytes    = 1 + 8 // the conflict key of an inode
)

// Inode is an inode number: shard<<40 | counter. Zero is invalid.
type Inode uint64

const (
	// Root is the inode of "/". It has no record: see RootAttr.
	Root Inode = 1

	inodeShardBits = 40
	counterFirst   = 2
)

func shardPrefix(dst []byte, table byte, shard wire.Shard) []byte {
	return binary.BigEndian.AppendUint16(append(dst, table), uint16(shard))
}

// direntKey appends the unit of conflict of a directory entry.
func direntKey(dst []byte, parent Inode, name string) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, keyDirent), uint64(parent)), name...)
}

// inodeKey appends the unit of conflict of an inode.
func inodeKey(dst []byte, n Inode) []byte {
	return binary.BigEndian.AppendUint64(append(dst, keyInode), uint64(n))
}

func (v *view) direntKey(parent Inode, name string) []byte {
	v.key = direntKey(shardPrefix(v.key[:0], tableState, v.shard), parent, name)
	return v.key
}

func (v *view) inodeKey(n Inode) []byte {
	v.key = inodeKey(shardPrefix(v.key[:0], tableState, v.shard), n)
	return v.key
}

// chunkKey is in a table of its own: a look-up of a name or an inode must not
// read blocks full of content.
func (v *view) chunkKey(n Inode, chunk uint64) []byte {
	v.key = inodeKey(shardPrefix(v.key[:0], tableContent, v.shard), n)
	v.key = binary.BigEndian.AppendUint64(v.key, chunk)
	return v.key
}

func (v *view) xattrKey(n Inode, name string) []byte {
	v.key = append(append(v.inodeKey(n), subXattr), name...)
	return v.key
}

func (v *view) counterKey() []byte {
	v.key = shardPrefix(v.key[:0], tableCounter, v.shard)
	return v.key
}

func cursorKey(dst []byte, log wire.LogID) []byte {
	return binary.BigEndian.AppendUint32(shardPrefix(dst, tableCursor, log.Shard), uint32(log.Site))
}

func requestKey(dst []byte, id wire.RequestID) []byte {
	return append(append(dst, tableRequest), id[:]...)
}

func decidedKey(dst []byte, counter uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableDecided), counter)
}

func loserKey(dst []byte, shard wire.Shard, site wire.SiteID, in wire.Incarnation, seq wire.Seq) []byte {
	dst = binary.BigEndian.AppendUint32(shardPrefix(dst, tableLosers, shard), uint32(site))
	return binary.BigEndian.AppendUint64(append(dst, in[:]...), uint64(seq))
}

// successor returns the first key behind all keys that begin with prefix, nil
// when there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			out := append([]byte(nil), prefix[:i+1]...)
			out[i]++
			return out
		}
	}
	return nil
}
