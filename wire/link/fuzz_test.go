package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/claudefs/repl/wire"
)

// slowFrames cuts a whole stream in the most obvious way.
func slowFrames(stream []byte) (frames [][]byte, err error) {
	for {
		var e wire.Envelope
		switch {
		case len(stream) == 0:
			return frames, io.EOF
		case len(stream) < wire.EnvelopeBytes:
			return frames, io.ErrUnexpectedEOF
		}
		if err := wire.DecodeEnvelope(stream, &e); err != nil {
			return frames, err
		}
		if e.FrameBytes() > len(stream) {
			return frames, io.ErrUnexpectedEOF
		}
		frame := stream[:e.FrameBytes()]
		if err := wire.CheckFrame(&e, frame); err != nil {
			return frames, err
		}
		frames, stream = append(frames, frame), stream[len(frame):]
	}
}

// sealFrames gives each frame of a stream the checksum of its bytes.
func sealFrames(stream []byte) []byte {
	stream = bytes.Clone(stream)
	for at := 0; at < len(stream); {
		var e wire.Envelope
		if wire.DecodeEnvelope(stream[at:], &e) != nil || e.FrameBytes() > len(stream)-at {
			break
		}
		frame := stream[at : at+e.FrameBytes()]
		covered := bytes.Clone(frame)
		if e.BatchCount > 0 {
			covered = covered[:wire.EnvelopeBytes+int(e.ExtBytes)]
		}
		clear(covered[28:32])
		binary.LittleEndian.PutUint32(frame[28:], crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
		at += len(frame)
	}
	return stream
}

// pieces is a stream that comes as the sizes say, and then at once.
type pieces struct {
	stream []byte
	sizes  []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.stream) == 0 {
		return 0, io.EOF
	}
	n := len(b)
	if len(p.sizes) > 0 {
		n, p.sizes = min(n, 1+int(p.sizes[0])*int(p.sizes[0])), p.sizes[1:]
	}
	n = copy(b[:n], p.stream)
	p.stream = p.stream[n:]
	return n, nil
}

// class is what a session goes by.
func class(err error) error {
	for _, c := range []error{wire.ErrCorrupt, wire.ErrVersion, wire.ErrProtocol, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, c) {
			return c
		}
	}
	return err
}

// FuzzReader: a Reader cuts the same frames as the slow one out of a stream that comes
// in any pieces, while some of those before are held; they stay as they were, and the
// pool gets everything back (I9, I10, I11).
func FuzzReader(f *testing.F) {
	heartbeat := (&wire.Heartbeat{Clock: 1, LastStamp: 2, Number: 3}).AppendTo(nil, 7)
	ack := (&wire.Ack{Level: wire.LevelDurable, Number: 1}).AppendTo(nil, 7)
	batches := func(size int) []byte { return batchesFrame(bytes.Repeat([]byte{7}, size), 1, 1) }
	f.Add(bytes.Join([][]byte{heartbeat, batches(162), ack}, nil), []byte{3, 0, 5, 1}, uint8(2), false)
	f.Add(bytes.Join([][]byte{batches(readAheadBytes), batches(readAheadBytes + 1), ack}, nil), []byte{100}, uint8(9),
		true)
	f.Add(append(heartbeat, ack[:20]...), []byte{}, uint8(0), false)
	f.Fuzz(func(t *testing.T, stream, sizes []byte, hold uint8, seal bool) {
		if len(stream) > 256<<10 {
			return
		}
		if seal {
			stream = sealFrames(stream)
		}
		want, wantErr := slowFrames(stream)
		var pool Pool
		r := NewReader(&pieces{bytes.Clone(stream), sizes}, &pool)
		var held []*Frame
		got := 0
		release := func() {
			first := held[0]
			if at := got - len(held); !bytes.Equal(first.Bytes, want[at]) {
				t.Fatalf("frame %d is %x, was sent as %x", at, first.Bytes, want[at])
			}
			first.Release()
			held = held[1:]
		}
		for {
			frame, err := r.Next()
			if err != nil {
				if class(err) != class(wantErr) {
					t.Fatalf("after %d frames: %v, the slow one says %v", got, err, wantErr)
				}
				break
			}
			if got++; got > len(want) {
				t.Fatalf("frame %d of %d: %x", got, len(want), frame.Bytes)
			}
			if held = append(held, frame); len(held) > int(hold) {
				release()
			}
		}
		for len(held) > 0 {
			release()
		}
		if heldBytes, _ := pool.Memory(); got != len(want) || heldBytes != 0 {
			t.Fatalf("%d of %d frames, %d bytes are still held", got, len(want), heldBytes)
		}
	})
}
