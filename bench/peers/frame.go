package main

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// What contenders without a format of their own put on their stream:
//
//	┌───────────┬───────────┬───────────┬────────────┬─────────┐
//	│ bytes u32 │ count u32 │ first u64 │ digest 16  │ records │   little-endian
//	└───────────┴───────────┴───────────┴────────────┴─────────┘
const (
	headBytes   = 32
	answerBytes = 8 // the highest record checked, u64
)

func putHead(head []byte, count int, first uint64, body []byte) {
	binary.LittleEndian.PutUint32(head, uint32(len(body)))
	binary.LittleEndian.PutUint32(head[4:], uint32(count))
	binary.LittleEndian.PutUint64(head[8:], first)
	digest := xxh3.Hash128(body).Bytes()
	copy(head[16:], digest[:])
}

type head struct {
	bytes, count int
	first        uint64
	digest       [16]byte
}

func readHead(b []byte) (h head) {
	h.bytes = int(binary.LittleEndian.Uint32(b))
	h.count = int(binary.LittleEndian.Uint32(b[4:]))
	h.first = binary.LittleEndian.Uint64(b[8:])
	copy(h.digest[:], b[16:])
	return h
}

// number is what stands in a record's first bytes: 1, 2, 3 …
func number(record []byte) uint64       { return binary.LittleEndian.Uint64(record) }
func putNumber(record []byte, n uint64) { binary.LittleEndian.PutUint64(record, n) }

// checker counts records at a receiver and refuses gaps.
type checker struct {
	recordBytes int
	last        uint64
}

// take checks a frame: its digest, and that its records follow.
func (c *checker) take(h head, body []byte) error {
	if xxh3.Hash128(body).Bytes() != h.digest {
		return fmt.Errorf("record %d: digest does not hold", h.first)
	}
	if h.bytes != h.count*c.recordBytes {
		return fmt.Errorf("record %d: %d bytes are not %d records", h.first, h.bytes, h.count)
	}
	for i := range h.count {
		c.last++
		if got := number(body[i*c.recordBytes:]); got != c.last {
			return fmt.Errorf("record %d arrived, %d was due", got, c.last)
		}
	}
	return nil
}
