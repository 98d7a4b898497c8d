package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Sizes inside bodies. Part of the format.
const (
	baseCountBytes  = 2
	baseRowBytes    = 4 + 8
	startCountBytes = 2
	startRowBytes   = 4 + 4 + 16 + 8 + 16
	markerKindBytes = 2

	// StartEndsMax is how many ends fit the body of a START batch.
	StartEndsMax = (BatchBytesMax - BatchHeaderBytes - startCountBytes) / startRowBytes
)

// CheckBody walks the whole body and refuses everything FORMAT.md does not
// allow for a batch of this kind. It never allocates unless it fails. The body
// has passed VerifyBody.
func CheckBody(h *BatchHeader, body []byte) error {
	var err error
	switch h.Kind {
	case BatchData:
		var w entryWalk
		var v entryView
		w.reset(h, body)
		for w.next(&v) {
		}
		return w.err
	case BatchStart:
		err = checkStart(h.Shard, body)
	case BatchMarker:
		_, _, err = DecodeMarker(body)
	case BatchControl: // The journal owns its meaning.
	default:
		err = fmt.Errorf("unknown batch kind %d: %w", uint8(h.Kind), ErrProtocol)
	}
	if err != nil {
		return fmt.Errorf("log %s seq %d: %w", h.Log(), h.FirstSeq, err)
	}
	return nil
}

// checkBase validates the base vector at the start of body and returns its
// size. A vector without rows is the absent one, so it may not be written.
func checkBase(body []byte) (int, error) {
	if len(body) < baseCountBytes {
		return 0, fmt.Errorf("base vector: %d bytes, want a count: %w", len(body), ErrProtocol)
	}
	count := int(binary.LittleEndian.Uint16(body))
	size := baseCountBytes + count*baseRowBytes
	if count == 0 || size > len(body) {
		return 0, fmt.Errorf("base vector: %d rows in %d bytes: %w", count, len(body), ErrProtocol)
	}
	last := uint32(0)
	for at := baseCountBytes; at < size; at += baseRowBytes {
		origin := binary.LittleEndian.Uint32(body[at:])
		if origin <= last {
			return 0, fmt.Errorf("base vector: origin %d behind %d at offset %d: %w", origin, last, at, ErrProtocol)
		}
		if binary.LittleEndian.Uint64(body[at+4:]) == 0 {
			return 0, fmt.Errorf("base vector: seq zero of origin %d at offset %d: %w", origin, at+4, ErrProtocol)
		}
		last = origin
	}
	return size, nil
}

// LogEnd is one row of a START batch's body: where an older log of the shard
// ended.
type LogEnd struct {
	Log LogID
	End Position
}

// compare orders rows by log, then incarnation.
func (e *LogEnd) compare(o *LogEnd) int {
	if c := e.Log.Compare(o.Log); c != 0 {
		return c
	}
	return bytes.Compare(e.End.Incarnation[:], o.End.Incarnation[:])
}

// check refuses a row that cannot be the end of a log of this world.
func (e *LogEnd) check() error {
	if err := checkLog(e.Log); err != nil {
		return err
	}
	if e.End.Seq == 0 {
		return fmt.Errorf("log %s ends at seq zero: %w", e.Log, ErrProtocol)
	}
	return checkPosition(e.End)
}

// AppendStart appends the body of a START batch. ends must be sorted by log,
// then incarnation. Ends that FORMAT.md does not allow are ErrProtocol, too
// many are ErrLimit; dst is then returned as it came.
func AppendStart(dst []byte, ends []LogEnd) ([]byte, error) {
	if len(ends) > StartEndsMax {
		return dst, fmt.Errorf("start: %d ends, limit %d: %w", len(ends), StartEndsMax, ErrLimit)
	}
	out := binary.LittleEndian.AppendUint16(dst, uint16(len(ends)))
	for i := range ends {
		e := &ends[i]
		if err := e.check(); err != nil {
			return dst, fmt.Errorf("start: row %d: %w", i, err)
		}
		if i > 0 && ends[i-1].compare(e) >= 0 {
			return dst, fmt.Errorf("start: row %d: log %s does not rise: %w", i, e.Log, ErrProtocol)
		}
		out = appendLog(out, e.Log)
		out = appendPosition(out, e.End)
	}
	return out, nil
}

// DecodeStart appends the rows of a START body to ends.
func DecodeStart(body []byte, ends []LogEnd) ([]LogEnd, error) {
	count, err := startCount(body)
	if err != nil {
		return ends, err
	}
	var last LogEnd
	for i := range count {
		e, err := startRow(body, i, &last)
		if err != nil {
			return ends, err
		}
		ends = append(ends, e)
		last = e
	}
	return ends, nil
}

// checkStart walks the rows of a START body and ties them to the batch's shard.
func checkStart(shard Shard, body []byte) error {
	count, err := startCount(body)
	if err != nil {
		return err
	}
	var last LogEnd
	for i := range count {
		e, err := startRow(body, i, &last)
		if err != nil {
			return err
		}
		if e.Log.Shard != shard {
			return fmt.Errorf("start: row %d: log %s in a batch of shard %d: %w", i, e.Log, shard, ErrProtocol)
		}
		last = e
	}
	return nil
}

// startCount returns the number of rows, which must fill body exactly.
func startCount(body []byte) (int, error) {
	if len(body) < startCountBytes {
		return 0, fmt.Errorf("start: body of %d bytes, want a count: %w", len(body), ErrProtocol)
	}
	count := int(binary.LittleEndian.Uint16(body))
	if want := startCountBytes + count*startRowBytes; len(body) != want {
		return 0, fmt.Errorf("start: body of %d bytes, %d rows take %d: %w", len(body), count, want, ErrProtocol)
	}
	return count, nil
}

// startRow reads and checks row i; last is the row before, zero at the first.
func startRow(body []byte, i int, last *LogEnd) (LogEnd, error) {
	b := body[startCountBytes+i*startRowBytes:]
	e := LogEnd{Log: logAt(b), End: positionAt(b[8:])}
	if err := e.check(); err != nil {
		return e, fmt.Errorf("start: row %d: %w", i, err)
	}
	if last.compare(&e) >= 0 {
		return e, fmt.Errorf("start: row %d: log %s does not rise: %w", i, e.Log, ErrProtocol)
	}
	return e, nil
}

// AppendMarker appends the body of a marker batch. The kinds belong to the
// control layer; 0 is invalid. Text over MarkerBytesMax is ErrLimit.
func AppendMarker(dst []byte, kind uint16, text []byte) ([]byte, error) {
	if kind == 0 {
		return dst, fmt.Errorf("marker: kind is zero: %w", ErrProtocol)
	}
	if len(text) > MarkerBytesMax {
		return dst, fmt.Errorf("marker: %d bytes, limit %d: %w", len(text), MarkerBytesMax, ErrLimit)
	}
	return append(binary.LittleEndian.AppendUint16(dst, kind), text...), nil
}

// DecodeMarker returns the kind of a marker body and its bytes, which are
// borrowed from body.
func DecodeMarker(body []byte) (kind uint16, text []byte, err error) {
	if len(body) < markerKindBytes || len(body) > markerKindBytes+MarkerBytesMax {
		return 0, nil, fmt.Errorf("marker: body of %d bytes, allowed %d to %d: %w",
			len(body), markerKindBytes, markerKindBytes+MarkerBytesMax, ErrProtocol)
	}
	kind = binary.LittleEndian.Uint16(body)
	if kind == 0 {
		return 0, nil, fmt.Errorf("marker: kind is zero: %w", ErrProtocol)
	}
	return kind, body[markerKindBytes:], nil
}

// The shapes that several bodies share: log (8 bytes), position (40 bytes).

const positionBytes = 16 + 8 + 16

func appendLog(dst []byte, l LogID) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(l.Site))
	return binary.LittleEndian.AppendUint32(dst, uint32(l.Shard))
}

func appendPosition(dst []byte, p Position) []byte {
	dst = append(dst, p.Incarnation[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Seq))
	return append(dst, p.Chain[:]...)
}

func logAt(b []byte) LogID {
	return LogID{
		Site:  SiteID(binary.LittleEndian.Uint32(b)),
		Shard: Shard(binary.LittleEndian.Uint32(b[4:])),
	}
}

func positionAt(b []byte) Position {
	return Position{
		Incarnation: Incarnation(b[0:16]),
		Seq:         Seq(binary.LittleEndian.Uint64(b[16:])),
		Chain:       Chain(b[24:40]),
	}
}

// checkLog refuses what names no shipped log.
func checkLog(l LogID) error {
	if l.Site == 0 || l.Shard >= ShardCountMax {
		return fmt.Errorf("log %s: %w", l, ErrProtocol)
	}
	return nil
}

// checkPosition refuses positions that contradict themselves: without an
// incarnation there is no seq, and the zero chain is the one before seq 1.
func checkPosition(p Position) error {
	if p.Seq != 0 && p.Incarnation == (Incarnation{}) {
		return fmt.Errorf("position %s: seq without incarnation: %w", p, ErrProtocol)
	}
	if (p.Seq == 0) != (p.Chain == Chain{}) {
		return fmt.Errorf("position %s: zero chain belongs to seq zero only: %w", p, ErrProtocol)
	}
	return nil
}
