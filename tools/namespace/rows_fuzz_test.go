package namespace

import (
	"bytes"
	"errors"
	"testing"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// FuzzRows: a row of the database is damaged, or reads and writes as itself.
func FuzzRows(f *testing.F) {
	a := Attr{Inode: 5, Type: TypeDir, Mode: 0o755, Nlink: 2, Target: "x"}
	f.Add(uint8(0), a.encode(nil))
	f.Add(uint8(1), dirent{7, TypeDir}.encode(nil))
	f.Add(uint8(2), make([]byte, refBytes))
	f.Add(uint8(3), make([]byte, positionBytes))
	f.Add(uint8(3), make([]byte, positionBytes+epochBytes))
	f.Add(uint8(4), make([]byte, dotBytes))
	f.Add(uint8(5), make([]byte, statePrefixBytes+tornBytes))
	f.Add(uint8(6), decidedKey(nil, wire.Ref{Seq: 7}, 8))
	f.Add(uint8(7), append([]byte{tableState, keyInode, 0, 0, 1}, a.encode(nil)...))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		var again []byte
		var err error
		switch kind % 8 {
		case 0:
			var a Attr
			err = a.decode(5, b)
			again = a.encode(nil)
		case 1:
			var d dirent
			d, err = decodeDirent(b)
			again = d.encode(nil)
		case 2:
			r, fault := decodeRef(b)
			again, err = encodeRef(nil, r), fault
		case 3:
			c, fault := decodeCursor(make([]byte, 7), b)
			again, err = encodeCursor(nil, c), fault
			if len(b) == positionBytes { // of an older release
				again = encodePosition(nil, c.Position)
			}
		case 4:
			if len(b) != dotBytes {
				return // its list has checked that
			}
			again = encodeDot(nil, decodeDot(b))
		case 5:
			n := min(statePrefixBytes, len(b))
			shard, mark, fault := decodeTorn(b[:n], b[n:])
			again, err = encodeTorn(append(b[:min(1, n):1], tornKey(nil, shard)[1:]...), mark), fault
		case 6:
			r, row, fault := decodeDecidedKey(b)
			again, err = append(b[:min(1, len(b)):1], decidedKey(nil, r, row)[1:]...), fault
		case 7: // a row of another site, as a mending brings it
			for key := range len(b) {
				err := checkRow(1, &store.MendRow{Key: b[:key+1], Value: b[key+1:]})
				if err != nil && err != errForeign {
					t.Fatal(err)
				}
			}
			return
		}
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("row %x of kind %d is written back as %x", b, kind, again)
		}
	})
}
