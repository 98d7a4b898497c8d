package namespace

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// payloads has one of each operation, every field with bytes of its own.
func payloads() []payload {
	name, name2 := []byte("name"), []byte("other")
	return []payload{
		{op: engine.OpCreate, time: 1, parent: 2, inode: 3, mode: 0o644, atime: 4, mtime: 5, name: name},
		{op: engine.OpMkDir, time: -1, parent: 2, inode: 3, mode: 0o755, atime: 4, mtime: 5, name: name},
		{op: engine.OpSymlink, time: 1, parent: 2, inode: 3, mode: 0o777, atime: 4, mtime: 5, name: name, name2: name2},
		{op: engine.OpLink, time: 1, parent: 2, inode: 3, name: name},
		{op: engine.OpUnlink, flags: payloadDir, time: 1, parent: 2, inode: 3, name: name},
		{
			op: engine.OpRename, flags: payloadDir, time: 1, parent: 2, inode: 3, parent2: 4, replaced: 5,
			name: name, name2: name2,
		},
		{op: engine.OpWrite, time: 1, inode: 3, offset: 1 << 40, mtime: 5, data: []byte("data")},
		{op: engine.OpTruncate, time: 1, inode: 3, size: 1 << 40, mtime: 5},
		{op: engine.OpTruncate, flags: payloadAttrs, time: 1, inode: 3, size: 6, mtime: 5, mode: 7, uid: 8, gid: 9},
		{
			op: engine.OpSetAttr, flags: payloadMode | payloadMtime, time: 1, inode: 3, mode: 7, uid: 8, gid: 9,
			atime: 4, mtime: 5,
		},
		{op: engine.OpSetXattr, time: 1, inode: 3, name: name, data: []byte("value")},
		{op: engine.OpRemoveXattr, time: 1, inode: 3, name: name},
	}
}

const goldenFile = "testdata/payloads.txt"

// The file is schema 1 as it was released: these bytes lie in journals.
func TestPayloadsAreEncodedAsTheyAlwaysWere(t *testing.T) {
	var got strings.Builder
	for _, p := range payloads() {
		got.WriteString(OpName(p.op) + " " + hex.EncodeToString(p.encode(nil)) + "\n")
	}
	if os.Getenv("REWRITE") != "" {
		require.NoError(t, os.WriteFile(goldenFile, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(goldenFile)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

func TestPayloadsHaveOneEncoding(t *testing.T) {
	for _, p := range payloads() {
		b := p.encode(nil)
		var got payload
		require.NoError(t, got.decode(&wire.Entry{Op: p.op, Payload: b}))
		require.Equal(t, b, got.encode(nil))
		for n := range b {
			if p.op == engine.OpWrite && n >= len(b)-len(p.data) {
				continue // A shorter write is a write.
			}
			err := got.decode(&wire.Entry{Op: p.op, Payload: b[:n]})
			require.ErrorIs(t, err, wire.ErrProtocol, "%s cut to %d bytes", OpName(p.op), n)
		}
		if p.op != engine.OpWrite {
			require.ErrorIs(t, got.decode(&wire.Entry{Op: p.op, Payload: append(b, 0)}), wire.ErrProtocol)
		}
		later := bytes.Clone(b)
		later[0]++
		require.ErrorIs(t, got.decode(&wire.Entry{Op: p.op, Payload: later}), store.ErrUnknownOp)
		flagged := bytes.Clone(b)
		flagged[1] |= 0x80
		require.ErrorIs(t, got.decode(&wire.Entry{Op: p.op, Payload: flagged}), store.ErrUnknownOp)
	}
	var p payload
	require.ErrorIs(t, p.decode(&wire.Entry{Op: 12, Payload: make([]byte, 99)}), store.ErrUnknownOp)
}

func FuzzPayload(f *testing.F) {
	for _, p := range payloads() {
		f.Add(uint16(p.op), p.encode(nil))
	}
	f.Fuzz(func(t *testing.T, op uint16, b []byte) {
		var p payload
		if p.decode(&wire.Entry{Op: wire.Op(op), Payload: b}) != nil {
			return
		}
		if !bytes.Equal(p.encode(nil), b) {
			t.Fatalf("op %d: %x is read, and written as %x", op, b, p.encode(nil))
		}
	})
}
