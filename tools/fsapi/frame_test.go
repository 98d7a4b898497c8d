package fsapi

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

var operation = namespace.Operation{
	Op: engine.OpSetXattr, Flags: namespace.FlagDir, Request: wire.RequestID{1, 2, 3}, UID: 4, GID: 5, Mode: 6,
	Offset: 7, Atime: -8, Mtime: 9, Path: "/path", Target: "target", Data: []byte("data"),
}

// The bytes are those of the table in the package's comment.
const operationHex = "4d000000" + "01000a000100" + "0500" + "01020300000000000000000000000000" +
	"04000000" + "05000000" + "06000000" + "0700000000000000" + "f8ffffffffffffff" + "0900000000000000" + "0600"

func TestOperationIsFramedAsDocumented(t *testing.T) {
	b, err := AppendOperation(nil, &operation)
	require.NoError(t, err)
	require.Equal(t, operationHex+hex.EncodeToString([]byte("/pathtargetdata")), hex.EncodeToString(b))
	truncate := namespace.Operation{Op: engine.OpTruncate, Size: 1 << 40, Path: "/f"}
	b, err = AppendOperation(b, &truncate)
	require.NoError(t, err)

	in, room := bufio.NewReader(bytes.NewReader(b)), make([]byte, FrameBytesMax)
	var got namespace.Operation
	n, err := ReadOperation(in, room, &got)
	require.NoError(t, err)
	require.Equal(t, operation, got)
	_, err = ReadOperation(in, room[n:], &got)
	require.NoError(t, err)
	truncate.Data = []byte{}
	require.Equal(t, truncate, got)
	_, err = ReadOperation(in, room, &got)
	require.Equal(t, io.EOF, err)
}

func TestEveryCutOfAnOperationIsAnUnexpectedEnd(t *testing.T) {
	b, err := AppendOperation(nil, &operation)
	require.NoError(t, err)
	for n := 1; n < len(b); n++ {
		var got namespace.Operation
		_, err := ReadOperation(bufio.NewReader(bytes.NewReader(b[:n])), make([]byte, FrameBytesMax), &got)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
	}
}

func TestOversizedOperationsAreRefusedAtBothEnds(t *testing.T) {
	big := namespace.Operation{Op: engine.OpWrite, Path: "/f", Data: make([]byte, FrameBytesMax)}
	_, err := AppendOperation(nil, &big)
	require.ErrorIs(t, err, ErrFrame)
	big.Data = make([]byte, namespace.DataBytesMax)
	big.Path = "/" + strings.Repeat("x", namespace.PathBytesMax-1)
	b, err := AppendOperation(nil, &big)
	require.NoError(t, err, "the largest write of the longest path")
	var got namespace.Operation
	_, err = ReadOperation(bufio.NewReader(bytes.NewReader(b)), make([]byte, FrameBytesMax), &got)
	require.NoError(t, err)
	_, err = ReadOperation(bufio.NewReader(strings.NewReader("\xff\xff\xff\xff")), nil, &got)
	require.ErrorIs(t, err, ErrFrame, "refused before memory is touched")
}

func TestResultsAreReadAsWritten(t *testing.T) {
	results := []Result{
		{Ref: wire.Ref{Log: wire.LogID{Site: 1, Shard: 2}, Incarnation: wire.Incarnation{3}, Seq: 4}},
		{Repeated: true, Ref: wire.Ref{Seq: 1 << 40}},
		{Errno: syscall.EXDEV, Text: "rename /a: invalid cross-device link"},
		{End: true, Code: CodeRetry, Text: "why"},
	}
	var b []byte
	for i := range results {
		b = AppendResult(b, &results[i])
	}
	in := bufio.NewReader(bytes.NewReader(b))
	for _, want := range results {
		got, err := ReadResult(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ReadResult(in)
	require.Equal(t, io.ErrUnexpectedEOF, err, "a stream without an end")
	long := Result{Text: strings.Repeat("x", 1<<20)}
	got, err := ReadResult(bufio.NewReader(bytes.NewReader(AppendResult(nil, &long))))
	require.NoError(t, err)
	require.Len(t, got.Text, textBytesMax)
}

func FuzzReadOperation(f *testing.F) {
	b, _ := AppendOperation(nil, &operation)
	f.Add(b)
	room := make([]byte, FrameBytesMax)
	f.Fuzz(func(t *testing.T, b []byte) {
		var op namespace.Operation
		if _, err := ReadOperation(bufio.NewReader(bytes.NewReader(b)), room, &op); err != nil {
			return
		}
		out, err := AppendOperation(nil, &op)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, out) {
			t.Fatalf("%+v came as %x, and is written as %x", op, b, out)
		}
	})
}

func FuzzReadResult(f *testing.F) {
	f.Add(AppendResult(nil, &Result{Errno: 2, Text: "x"}))
	f.Add(AppendResult(nil, &Result{End: true, Code: CodeFinal}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadResult(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if out := AppendResult(nil, &r); !bytes.HasPrefix(b, out) {
			t.Fatalf("%+v came as %x, and is written as %x", r, b, out)
		}
	})
}
