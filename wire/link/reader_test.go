package link

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/claudefs/repl/wire"
)

// closedBatch returns a whole data batch with one entry.
func closedBatch(t *testing.T) []byte {
	t.Helper()
	e := wire.Entry{Op: 3, UID: 1001, GID: 100, Keys: [][]byte{[]byte("inode/17")}, Payload: []byte("chmod 0644")}
	if err := wire.CheckEntry(&e); err != nil {
		t.Fatal(err)
	}
	b := wire.AppendEntry(make([]byte, wire.BatchHeaderBytes), 1000, 1000, &e)
	wire.CloseBatch(b, &wire.BatchHeader{
		Kind: wire.BatchData, DigestKind: 1, Incarnation: wire.Incarnation{1}, Cluster: 2, Site: 3, Node: 4,
		Shard: 5, Epoch: 6, Count: 1, FirstSeq: 1, FirstStamp: 1000, LastStamp: 1000,
	})
	return b
}

func batchesFrame(batches []byte, count uint16, number uint64) []byte {
	frame := wire.AppendBatchesEnvelope(nil, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: count, WireBytes: uint32(len(batches)),
		PlainBytes: uint32(len(batches)), Session: 7, Number: number,
	})
	return append(frame, batches...)
}

// sampleFrames is a small conversation: control, batches, control.
func sampleFrames(t *testing.T) [][]byte {
	t.Helper()
	heartbeat := wire.Heartbeat{Clock: 1, LastStamp: 2, Number: 3}
	ack := wire.Ack{Level: wire.LevelDurable, Number: 1}
	batch := closedBatch(t)
	return [][]byte{
		heartbeat.AppendTo(nil, 7),
		batchesFrame(batch, 1, 1),
		batchesFrame(append(bytes.Clone(batch), batch...), 2, 2),
		ack.AppendTo(nil, 7),
	}
}

// receive reads until an error as a session does: the link's checks, then the
// batches' own. It returns the frames that passed.
func receive(stream io.Reader) (frames [][]byte, err error) {
	var p Pool
	r := NewReader(stream, &p)
	for {
		f, err := r.Next()
		if err != nil {
			return frames, err
		}
		if f.Envelope.Kind == wire.FrameBatches {
			if _, err := wire.SplitBatches(f.Body(), int(f.Envelope.BatchCount), nil); err != nil {
				return frames, err
			}
		}
		frames = append(frames, bytes.Clone(f.Bytes))
		f.Release()
		if held, _ := p.Memory(); held != 0 {
			return frames, errors.New("the reader kept a frame")
		}
	}
}

func TestFramesAreCutAlikeFromAnyPieces(t *testing.T) {
	want := sampleFrames(t)
	stream := bytes.Join(want, nil)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader,
		"halves": iotest.HalfReader, "error with data": iotest.DataErrReader,
	} {
		got, err := receive(wrap(bytes.NewReader(stream)))
		if err != io.EOF {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got) != len(want) || !bytes.Equal(bytes.Join(got, nil), stream) {
			t.Fatalf("%s: %d frames that differ from the %d sent", name, len(got), len(want))
		}
	}
}

// I9, exhaustively: each bit of a stream flipped, each length it can be cut to.
func TestEveryFlippedBitIsDetected(t *testing.T) {
	sent := sampleFrames(t)
	stream := bytes.Join(sent, nil)
	for bit := range len(stream) * 8 {
		damaged := bytes.Clone(stream)
		damaged[bit/8] ^= 1 << (bit % 8)
		got, err := receive(bytes.NewReader(damaged))
		for i, frame := range got {
			if !bytes.Equal(frame, sent[i]) {
				t.Fatalf("bit %d: frame %d passed though it was changed", bit, i)
			}
		}
		if err == io.EOF {
			t.Fatalf("bit %d: nobody noticed, after %d of %d frames", bit, len(got), len(sent))
		}
	}
}

func TestEveryTruncationIsTold(t *testing.T) {
	sent := sampleFrames(t)
	stream := bytes.Join(sent, nil)
	ends := map[int]int{0: 0}
	for i, at := 0, 0; i < len(sent); i++ {
		at += len(sent[i])
		ends[at] = i + 1
	}
	for size := range len(stream) + 1 {
		got, err := receive(bytes.NewReader(stream[:size]))
		count, atEnd := ends[size]
		if atEnd && (err != io.EOF || len(got) != count) {
			t.Fatalf("cut at the end of frame %d: %d frames, %v", count, len(got), err)
		}
		if !atEnd && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at byte %d, inside a frame: %v", size, err)
		}
	}
}

func TestReaderRepeatsItsError(t *testing.T) {
	stream := bytes.Join(sampleFrames(t), nil)
	stream[1] = wire.Version + 1
	r := NewReader(bytes.NewReader(stream), new(Pool))
	for range 3 {
		if _, err := r.Next(); !errors.Is(err, wire.ErrVersion) {
			t.Fatalf("got %v", err)
		}
	}
}

// countingReader tells how much was read into memory outside its reader's
// read-ahead.
type countingReader struct {
	io.Reader
	large int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if len(p) > readAheadBytes {
		c.large += n
	}
	return n, err
}

func TestLargeBodyLandsWhereItStays(t *testing.T) {
	frame := batchesFrame(make([]byte, 1<<20), 1, 1)
	stream := &countingReader{Reader: bytes.NewReader(frame)}
	f, err := NewReader(stream, new(Pool)).Next()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	if copied := len(f.Bytes) - stream.large; copied > readAheadBytes {
		t.Fatalf("%d of %d bytes went through the read-ahead", copied, len(f.Bytes))
	}
}

// smallFrames is a stream of count frames of size bytes.
func smallFrames(count, size int) io.Reader {
	var stream []byte
	for i := range count {
		stream = append(stream, batchesFrame(bytes.Repeat([]byte{byte(i)}, size-wire.EnvelopeBytes), 1, uint64(i)+1)...)
	}
	return bytes.NewReader(stream)
}

func TestSmallFramesLieWhereTheyWereRead(t *testing.T) {
	const count, size = 200, 1000
	var p Pool
	r := NewReader(smallFrames(count, size), &p)
	var held []*Frame
	for range count {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	// Only what the end of a read-ahead cut in two has moved.
	if copied, ends := p.CopiedBytes(), uint64(count*size/readAheadBytes+1); copied > ends*size {
		t.Fatalf("%d of %d bytes were copied", copied, count*size)
	}
	memoryBytes := 0
	for i, f := range held {
		if body := f.Body(); body[0] != byte(i) || body[len(body)-1] != byte(i) || cap(f.Bytes) != size {
			t.Fatalf("frame %d was written to while it was held", i)
		}
		memoryBytes += f.MemoryBytes()
	}
	if aheads := memoryBytes / aheadBytes; memoryBytes%aheadBytes != 0 || aheads > 2*count*size/aheadBytes+1 {
		t.Fatalf("frames of %d bytes answer for %d", count*size, memoryBytes)
	}
	if inUse, _ := p.Memory(); inUse != count*size {
		t.Fatalf("%d bytes are held", inUse)
	}
	for _, f := range held {
		f.Release()
	}
	if inUse, _ := p.Memory(); inUse != 0 {
		t.Fatalf("%d bytes are held after the last release", inUse)
	}
}

// I10: what was released is read into again, and what is kept for that is bounded.
func TestReadAheadsGoRound(t *testing.T) {
	const held = 100 // more than one read-ahead holds
	var p Pool
	r := NewReader(smallFrames(20_000, 1000), &p)
	memory := make(map[*ahead]bool)
	var frames []*Frame
	for {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		memory[f.ahead] = true
		if frames = append(frames, f); len(frames) > held {
			frames[0].Release()
			frames = frames[1:]
		}
	}
	if len(memory) > 2*held*1000/aheadBytes+2 {
		t.Fatalf("%d read-aheads for %d frames at a time", len(memory), held)
	}
	for _, f := range frames {
		f.Release()
	}
	if len(p.aheads) != len(memory) {
		t.Fatalf("%d of %d read-aheads came back", len(p.aheads), len(memory))
	}
}

func TestOnlyWhatIsAFrameMayBeSent(t *testing.T) {
	largest := make([]byte, wire.FrameBytesMax)
	for _, parts := range [][][]byte{nil, {}, {nil, {}}, {largest, {0}}} {
		if err := CheckParts(parts); !errors.Is(err, wire.ErrLimit) {
			t.Fatalf("got %v", err)
		}
	}
	if err := CheckParts([][]byte{largest[:1], nil, largest[1:]}); err != nil {
		t.Fatal(err)
	}
}
