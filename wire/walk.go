package wire

import (
	"encoding/binary"
	"fmt"
)

// entryView is one entry where it lies in the body.
type entryView struct {
	op         Op
	uid        uint32
	gid        uint32
	seq        Seq
	stamp      Stamp
	keyCount   int
	keySizes   []byte // two bytes per key
	keys       []byte // all keys, one behind the other
	request    RequestID
	extensions []byte // without the request id
	must       uint16
	payload    []byte
}

// entryWalk steps through the body of a data batch and checks every rule of
// FORMAT.md on the way: CheckBody and EntryReader are the same walk.
type entryWalk struct {
	log   LogID
	body  []byte
	at    int // offset of the next entry in body
	left  uint32
	seq   Seq   // of the next entry
	base  Stamp // the batch's first stamp
	last  Stamp // the batch's last stamp
	prior Stamp // of the entry before; base before the first
	start bool  // no entry has been read yet
	err   error
}

func (w *entryWalk) reset(h *BatchHeader, body []byte) {
	*w = entryWalk{
		log: h.Log(), body: body, left: h.Count, seq: h.FirstSeq,
		base: h.FirstStamp, last: h.LastStamp, prior: h.FirstStamp, start: true,
	}
	if h.Kind != BatchData {
		w.err = fmt.Errorf("log %s seq %d: entries of a %s batch: %w", w.log, w.seq, h.Kind, ErrProtocol)
		return
	}
	if h.Flags&FlagBaseVector != 0 {
		size, err := checkBase(body)
		if err != nil {
			w.err = fmt.Errorf("log %s seq %d: %w", w.log, w.seq, err)
			return
		}
		w.at = size
	}
}

// next reads the entry at w.at into v. It returns false at the end of the
// batch and at the first fault, which w.err tells.
func (w *entryWalk) next(v *entryView) bool {
	if w.err != nil || w.left == 0 {
		return false
	}
	size, err := v.parse(w.body[w.at:])
	if err == nil {
		v.seq = w.seq
		v.stamp += w.base
		err = w.checkPlace(v, w.at+size)
	}
	if err != nil {
		w.err = fmt.Errorf("log %s seq %d: entry at body offset %d: %w", w.log, w.seq, w.at, err)
		return false
	}
	w.at += size
	w.left--
	w.seq++
	w.prior = v.stamp
	w.start = false
	return true
}

// checkPlace checks v against the entries around it: stamps rise from the
// header's first to its last, and the last entry ends the body.
func (w *entryWalk) checkPlace(v *entryView, end int) error {
	switch {
	case w.start && v.stamp != w.base:
		return fmt.Errorf("stamp delta %d of the first entry: %w", v.stamp-w.base, ErrProtocol)
	case !w.start && v.stamp <= w.prior:
		return fmt.Errorf("stamp %d behind %d: %w", v.stamp, w.prior, ErrProtocol)
	case w.left == 1 && v.stamp != w.last:
		return fmt.Errorf("stamp %d of the last entry, the header says %d: %w", v.stamp, w.last, ErrProtocol)
	case w.left == 1 && end != len(w.body):
		return fmt.Errorf("%d bytes behind the last entry: %w", len(w.body)-end, ErrProtocol)
	}
	return nil
}

// parse reads the entry at the start of b and returns its size. v.stamp is
// left as the delta.
func (v *entryView) parse(b []byte) (int, error) {
	if len(b) < EntryHeaderBytes {
		return 0, fmt.Errorf("%d bytes left, an entry header takes %d: %w", len(b), EntryHeaderBytes, ErrProtocol)
	}
	le := binary.LittleEndian
	v.stamp = Stamp(le.Uint32(b[0:]))
	v.uid = le.Uint32(b[4:])
	v.gid = le.Uint32(b[8:])
	payloadBytes := int(le.Uint32(b[12:]))
	v.op = Op(le.Uint16(b[16:]))
	extensionBytes := int(le.Uint16(b[18:]))
	v.keyCount = int(b[20])
	switch {
	case payloadBytes > EntryPayloadBytesMax:
		return 0, fmt.Errorf("payload of %d bytes, limit %d: %w", payloadBytes, EntryPayloadBytesMax, ErrProtocol)
	case v.op == 0:
		return 0, fmt.Errorf("op is zero: %w", ErrProtocol)
	case extensionBytes > EntryExtensionBytesMax:
		return 0, fmt.Errorf("extensions of %d bytes, limit %d: %w", extensionBytes, EntryExtensionBytesMax,
			ErrProtocol)
	case v.keyCount < 1 || v.keyCount > EntryKeyCountMax:
		return 0, fmt.Errorf("%d keys, allowed 1 to %d: %w", v.keyCount, EntryKeyCountMax, ErrProtocol)
	case b[21] != 0:
		return 0, fmt.Errorf("reserved flags %02x: %w", b[21], ErrProtocol)
	}
	keysAt := EntryHeaderBytes + 2*v.keyCount
	if len(b) < keysAt {
		return 0, fmt.Errorf("%d bytes left, the lengths of %d keys end at %d: %w", len(b), v.keyCount, keysAt,
			ErrProtocol)
	}
	v.keySizes = b[EntryHeaderBytes:keysAt]
	extensionsAt := keysAt
	for i := range v.keyCount {
		n := int(le.Uint16(v.keySizes[2*i:]))
		if n < 1 || n > EntryKeyBytesMax {
			return 0, fmt.Errorf("key %d of %d bytes, allowed 1 to %d: %w", i, n, EntryKeyBytesMax, ErrProtocol)
		}
		extensionsAt += n
	}
	payloadAt := extensionsAt + extensionBytes
	end := payloadAt + payloadBytes
	if end > len(b) {
		return 0, fmt.Errorf("%d bytes left, the entry takes %d: %w", len(b), end, ErrProtocol)
	}
	x, err := walkExtensions(b[extensionsAt:payloadAt])
	if err != nil {
		return 0, err
	}
	v.keys = b[keysAt:extensionsAt]
	v.request = x.request
	v.extensions = b[extensionsAt+x.requestBytes : payloadAt : payloadAt]
	v.must = x.must
	v.payload = b[payloadAt:end:end]
	return end, nil
}
