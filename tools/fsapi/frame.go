package fsapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// Elsewhere is the errno of an answer of a site that does not write: another one does.
const Elsewhere = syscall.EROFS

// ErrFrame: the other end does not speak this protocol.
var ErrFrame = errors.New("bad frame")

const (
	frameVersion        = 1
	operationFixedBytes = 66
	resultFixedBytes    = 40

	// FrameBytesMax bounds one operation's frame.
	FrameBytesMax = 1<<20 + 16<<10
	// textBytesMax bounds the text of a result.
	textBytesMax = 8 << 10
)

// AppendOperation appends the frame of op. Paths and targets over 65,535 bytes
// and data over namespace.DataBytesMax are the caller's mistake: ErrFrame.
func AppendOperation(dst []byte, op *namespace.Operation) ([]byte, error) {
	size := operationFixedBytes + len(op.Path) + len(op.Target) + len(op.Data)
	if size > FrameBytesMax || len(op.Path) > 0xffff || len(op.Target) > 0xffff {
		return dst, fmt.Errorf("%s of %d bytes, limit %d: %w", namespace.OpName(op.Op), size, FrameBytesMax, ErrFrame)
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(size-4))
	dst = append(dst, frameVersion, 0)
	dst = le.AppendUint16(dst, uint16(op.Op))
	dst = le.AppendUint16(dst, uint16(op.Flags))
	dst = le.AppendUint16(dst, uint16(len(op.Path)))
	dst = append(dst, op.Request[:]...)
	dst = le.AppendUint32(dst, op.UID)
	dst = le.AppendUint32(dst, op.GID)
	dst = le.AppendUint32(dst, op.Mode)
	number := op.Offset
	if op.Op == engine.OpTruncate {
		number = op.Size
	}
	dst = le.AppendUint64(dst, number)
	dst = le.AppendUint64(dst, uint64(op.Atime))
	dst = le.AppendUint64(dst, uint64(op.Mtime))
	dst = le.AppendUint16(dst, uint16(len(op.Target)))
	dst = append(append(dst, op.Path...), op.Target...)
	return append(dst, op.Data...), nil
}

// ReadOperation reads the next operation, whose Data lies in room: FrameBytesMax
// of room are always enough. It returns how much of room it took, and io.EOF at
// an orderly end.
func ReadOperation(r *bufio.Reader, room []byte, op *namespace.Operation) (int, error) {
	size, err := frameBytes(r, operationFixedBytes, FrameBytesMax)
	if err != nil {
		return 0, err
	}
	b := room[:size]
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, unexpected(err)
	}
	le := binary.LittleEndian
	if b[0] != frameVersion || b[1] != 0 {
		return 0, fmt.Errorf("operation of version %d.%d, this release reads %d: %w", b[0], b[1], frameVersion,
			ErrFrame)
	}
	// Offsets are those of the table less the length field.
	pathBytes, targetBytes := int(le.Uint16(b[6:])), int(le.Uint16(b[60:]))
	tail := b[operationFixedBytes-4:]
	if pathBytes+targetBytes > len(tail) {
		return 0, fmt.Errorf("operation of %d bytes with %d of names: %w", size, pathBytes+targetBytes, ErrFrame)
	}
	*op = namespace.Operation{
		Op: wire.Op(le.Uint16(b[2:])), Flags: namespace.Flags(le.Uint16(b[4:])), Request: wire.RequestID(b[8:24]),
		UID: le.Uint32(b[24:]), GID: le.Uint32(b[28:]), Mode: le.Uint32(b[32:]),
		Atime: int64(le.Uint64(b[44:])), Mtime: int64(le.Uint64(b[52:])),
		Path: string(tail[:pathBytes]), Target: string(tail[pathBytes : pathBytes+targetBytes]),
		Data: tail[pathBytes+targetBytes:],
	}
	if op.Op == engine.OpTruncate {
		op.Size = le.Uint64(b[36:])
	} else {
		op.Offset = le.Uint64(b[36:])
	}
	return size, nil
}

// Code is how a stream of results ends.
type Code uint8

const (
	CodeDone  Code = 0 // every operation has its result
	CodeRetry Code = 1 // not now; the text says what is awaited
	CodeFinal Code = 2 // not without a change; the text says which
)

// Result is a decoded frame of results.
type Result struct {
	End      bool
	Code     Code // of an end
	Repeated bool
	Errno    syscall.Errno
	Ref      wire.Ref
	Text     string
}

const (
	kindResult = 1
	kindEnd    = 2
)

// AppendResult appends the frame of r; a text that is too long is cut.
func AppendResult(dst []byte, r *Result) []byte {
	le := binary.LittleEndian
	text := r.Text[:min(len(r.Text), textBytesMax)]
	kind, flag := byte(kindResult), byte(0)
	if r.Repeated {
		flag = 1
	}
	if r.End {
		kind, flag = kindEnd, byte(r.Code)
	}
	dst = le.AppendUint32(dst, uint32(resultFixedBytes-4+len(text)))
	dst = append(dst, kind, flag)
	dst = le.AppendUint16(dst, uint16(r.Errno))
	dst = le.AppendUint32(dst, uint32(r.Ref.Log.Shard))
	dst = le.AppendUint32(dst, uint32(r.Ref.Log.Site))
	dst = append(dst, r.Ref.Incarnation[:]...)
	dst = le.AppendUint64(dst, uint64(r.Ref.Seq))
	return append(dst, text...)
}

// ReadResult reads the next result. A stream that ends without an end frame is
// io.ErrUnexpectedEOF.
func ReadResult(r *bufio.Reader) (Result, error) {
	size, err := frameBytes(r, resultFixedBytes, resultFixedBytes+textBytesMax)
	if err != nil {
		return Result{}, unexpected(err)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return Result{}, unexpected(err)
	}
	le := binary.LittleEndian
	out := Result{
		Errno: syscall.Errno(le.Uint16(b[2:])),
		Ref: wire.Ref{
			Log:         wire.LogID{Shard: wire.Shard(le.Uint32(b[4:])), Site: wire.SiteID(le.Uint32(b[8:]))},
			Incarnation: wire.Incarnation(b[12:28]), Seq: wire.Seq(le.Uint64(b[28:])),
		},
		Text: string(b[36:]),
	}
	switch {
	case b[0] == kindResult && b[1] <= 1:
		out.Repeated = b[1] == 1
	case b[0] == kindEnd && Code(b[1]) <= CodeFinal:
		out.End, out.Code = true, Code(b[1])
	default:
		return Result{}, fmt.Errorf("result of kind %d, flag %d: %w", b[0], b[1], ErrFrame)
	}
	return out, nil
}

// frameBytes reads a frame's length field: what follows it.
func frameBytes(r *bufio.Reader, least, most int) (int, error) {
	b, err := r.Peek(4)
	if err != nil {
		if len(b) > 0 {
			err = unexpected(err)
		}
		return 0, err
	}
	n := binary.LittleEndian.Uint32(b)
	if n < uint32(least-4) || n > uint32(most-4) {
		return 0, fmt.Errorf("frame of %d bytes, allowed %d to %d: %w", n, least-4, most-4, ErrFrame)
	}
	_, err = r.Discard(4)
	return int(n), err
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
