package cli

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/claudefs/repl/tools/namespace"
)

// tamper flips one bit of the first byte of a file's content, or, with "mode", of
// its attributes, in the store of a stopped site, behind everybody's back: tamper
// DIR PATH [mode]. The rows are those of package namespace.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	const shards = 256
	dir := filepath.Join(ts.MkAbs(args[0]), "store")
	s, err := namespace.Open(namespace.Options{Dir: dir, Shards: shards})
	ts.Check(err)
	attr, err := s.Stat(args[1])
	ts.Check(err)
	ts.Check(s.Close())

	shard := uint16(namespace.ShardOf(args[1], shards))
	key := binary.BigEndian.AppendUint16([]byte{'b'}, shard)
	key = binary.BigEndian.AppendUint64(append(key, 'i'), uint64(attr.Inode))
	if len(args) > 2 {
		key[0] = 's'
	} else {
		key = binary.BigEndian.AppendUint64(key, 0)
	}
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	ts.Check(err)
	value, closer, err := db.Get(key)
	ts.Check(err)
	flipped := bytes.Clone(value)
	ts.Check(closer.Close())
	at := 0
	if len(args) > 2 {
		at = 2 // behind version and type
	}
	flipped[at] ^= 1
	ts.Check(db.Set(key, flipped, pebble.Sync))
	ts.Check(db.Close())
}

// quiet is a Pebble that tells nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
