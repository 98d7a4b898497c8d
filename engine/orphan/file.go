package orphan

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/wire"
)

// Part of the format, never reuse.
const (
	fileMagic   = "CFSO"
	fileVersion = 1
	kindOrphans = 1
	kindSettled = 2

	fileHeadBytes = 16
	rowBytes      = 64
	sumBytes      = 8
)

// ErrFile: a file is damaged, or not one of this release.
var ErrFile = errors.New("the file of orphans does not hold")

// Range is a stretch of one incarnation of a log: the seqs after After, up to To.
type Range struct {
	Log         wire.LogID
	Incarnation wire.Incarnation
	Epoch       wire.Epoch // in which it was written
	After, To   wire.Seq
}

// has says whether a seq of the range's incarnation lies in it.
func (r *Range) has(seq wire.Seq) bool { return r.After < seq && seq <= r.To }

// without is what is left of r when ranges are taken out of it.
func (r Range) without(out []Range) (left []Range) {
	left = []Range{r}
	for _, o := range out {
		var next []Range
		for _, l := range left {
			if o.Incarnation != l.Incarnation || o.To <= l.After || l.To <= o.After {
				next = append(next, l)
				continue
			}
			low, high := l, l
			low.To, high.After = o.After, o.To
			if low.After < low.To {
				next = append(next, low)
			}
			if high.After < high.To {
				next = append(next, high)
			}
		}
		left = next
	}
	return left
}

// piece is one row of a file, and where its batches are.
type piece struct {
	Range
	batches []batch
}

type batch struct {
	first, last wire.Seq
	data        bool // it has entries of the host
	at, bytes   int  // in the file
}

// draft is a row to be written.
type draft struct {
	Range
	count int
	data  []byte
}

// encode returns a file.
func encode(kind byte, drafts []*draft) []byte {
	le := binary.LittleEndian
	b := append([]byte(fileMagic), fileVersion, kind, 0, 0)
	b = le.AppendUint32(b, uint32(len(drafts)))
	b = le.AppendUint32(b, 0)
	for _, d := range drafts {
		b = le.AppendUint32(le.AppendUint32(b, uint32(d.Log.Site)), uint32(d.Log.Shard))
		b = le.AppendUint64(append(b, d.Incarnation[:]...), uint64(d.Epoch))
		b = le.AppendUint64(le.AppendUint64(b, uint64(d.After)), uint64(d.To))
		b = le.AppendUint32(le.AppendUint32(b, uint32(d.count)), 0)
		b = le.AppendUint64(b, uint64(len(d.data)))
	}
	for _, d := range drafts {
		b = append(b, d.data...)
	}
	return le.AppendUint64(b, xxh3.Hash(b))
}

// decode reads a file of a kind. Every byte of it is covered by its checksum.
func decode(b []byte, kind byte) (pieces []piece, err error) {
	le := binary.LittleEndian
	switch {
	case len(b) < fileHeadBytes+sumBytes || string(b[:4]) != fileMagic:
		return nil, fmt.Errorf("%d bytes, no head: %w", len(b), ErrFile)
	case b[4] > fileVersion && xxh3.Hash(b[:len(b)-sumBytes]) == le.Uint64(b[len(b)-sumBytes:]):
		return nil, fmt.Errorf("version %d, this release reads %d: %w: %w", b[4], fileVersion, ErrFile, wire.ErrVersion)
	}
	end := len(b) - sumBytes
	if sum := xxh3.Hash(b[:end]); sum != le.Uint64(b[end:]) {
		return nil, fmt.Errorf("checksum %016x, its bytes give %016x: %w", le.Uint64(b[end:]), sum, ErrFile)
	}
	count := int(le.Uint32(b[8:]))
	if b[4] != fileVersion || b[5] != kind || le.Uint16(b[6:]) != 0 || le.Uint32(b[12:]) != 0 ||
		count > (end-fileHeadBytes)/rowBytes {
		return nil, fmt.Errorf("head %x: %w", b[:fileHeadBytes], ErrFile)
	}
	at := fileHeadBytes + count*rowBytes
	for i := range count {
		p, bytes, err := decodeRow(b[fileHeadBytes+i*rowBytes:], b[at:end], at)
		if err != nil {
			return nil, fmt.Errorf("row %d of %d: %w: %w", i+1, count, ErrFile, err)
		}
		if (kind == kindOrphans) != (len(p.batches) > 0) {
			return nil, fmt.Errorf("row %d of %d has %d batches: %w", i+1, count, len(p.batches), ErrFile)
		}
		pieces = append(pieces, *p)
		at += bytes
	}
	if at != end {
		return nil, fmt.Errorf("%d bytes behind the batches: %w", end-at, ErrFile)
	}
	return pieces, nil
}

// decodeRow reads a row, whose batches are at the beginning of body, which is at an offset of the file.
func decodeRow(row, body []byte, at int) (p *piece, bytes int, err error) {
	le := binary.LittleEndian
	p = &piece{Range: Range{
		Log:         wire.LogID{Site: wire.SiteID(le.Uint32(row)), Shard: wire.Shard(le.Uint32(row[4:]))},
		Incarnation: wire.Incarnation(row[8:24]), Epoch: wire.Epoch(le.Uint64(row[24:])),
		After: wire.Seq(le.Uint64(row[32:])), To: wire.Seq(le.Uint64(row[40:])),
	}}
	size := le.Uint64(row[56:])
	if size > uint64(len(body)) || le.Uint32(row[52:]) != 0 || p.To <= p.After {
		return nil, 0, fmt.Errorf("%x, and %d bytes are left", row[:rowBytes], len(body))
	}
	refs, err := wire.SplitBatches(body[:size], int(le.Uint32(row[48:])), nil)
	if err != nil {
		return nil, 0, err
	}
	after := p.After
	for i := range refs {
		h := &refs[i].Header
		if h.Log() != p.Log || h.Incarnation != p.Incarnation || h.Epoch != p.Epoch || h.FirstSeq != after+1 ||
			i > 0 && h.Prev != refs[i-1].Header.Chain {
			return nil, 0, fmt.Errorf("log %s: seqs %d to %d, want what follows seq %d",
				h.Log(), h.FirstSeq, h.LastSeq(), after)
		}
		after = h.LastSeq()
		p.batches = append(p.batches, batch{h.FirstSeq, after, h.Kind == wire.BatchData, at, h.Bytes()})
		at += h.Bytes()
	}
	if len(refs) > 0 && after != p.To {
		return nil, 0, fmt.Errorf("log %s: its batches end at seq %d, not %d", p.Log, after, p.To)
	}
	return p, int(size), nil
}
