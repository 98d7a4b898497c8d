package namespace

import (
	"encoding/binary"
	"fmt"

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
	tableTorn     = 't'

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

func requestKey(dst []byte, shard wire.Shard, id wire.RequestID) []byte {
	return append(shardPrefix(dst, tableRequest, shard), id[:]...)
}

// entryBytes is what names an entry behind the shard of its row.
const entryBytes = 4 + 16 + 8

// entryKey appends the key of a row about one entry of a log.
func entryKey(dst []byte, table byte, r wire.Ref) []byte {
	dst = binary.BigEndian.AppendUint32(shardPrefix(dst, table, r.Log.Shard), uint32(r.Log.Site))
	return binary.BigEndian.AppendUint64(append(dst, r.Incarnation[:]...), uint64(r.Seq))
}

func decidedKey(dst []byte, r wire.Ref, row uint64) []byte {
	return binary.BigEndian.AppendUint64(entryKey(dst, tableDecided, r), row)
}

// decodeDecidedKey reads what decidedKey wrote.
func decodeDecidedKey(key []byte) (r wire.Ref, row uint64, err error) {
	if len(key) != statePrefixBytes+entryBytes+8 {
		return r, 0, fmt.Errorf("key of a decided row of %d bytes: %w", len(key), ErrDamaged)
	}
	be, at := binary.BigEndian, key[statePrefixBytes:]
	return wire.Ref{
		Log:         wire.LogID{Shard: wire.Shard(be.Uint16(key[1:])), Site: wire.SiteID(be.Uint32(at))},
		Incarnation: wire.Incarnation(at[4:20]), Seq: wire.Seq(be.Uint64(at[20:])),
	}, be.Uint64(at[entryBytes:]), nil
}

func tornKey(dst []byte, shard wire.Shard) []byte { return shardPrefix(dst, tableTorn, shard) }

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
