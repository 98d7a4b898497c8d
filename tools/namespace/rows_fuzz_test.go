package namespace

import (
	"bytes"
	"errors"
	"testing"
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
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		var again []byte
		var err error
		switch kind % 5 {
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
