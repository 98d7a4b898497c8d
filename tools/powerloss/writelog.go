package powerloss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What the kernel's dm-log-writes puts on its log device (Linux,
// drivers/md/dm-log-writes.c): a sector with magic, version, number of entries and
// sector size; then each entry as one sector with its head (and a mark's text),
// followed by the data that were written.
const (
	logMagic     = 0x6a736677736872
	logVersion   = 1
	logHeadBytes = 32
)

// writeFlags say what a logged request was.
type writeFlags uint64

const (
	flagFlush    writeFlags = 1 << iota // everything that completed before it is on the medium
	flagFUA                             // its own data are on the medium
	flagDiscard                         // no data: the range reads as zeros afterwards
	flagMark                            // no request: a text, told by whom the load is watched
	flagMetadata                        // the file system's own
)

func (f writeFlags) String() string {
	var b []byte
	for i, c := range "FUDKM" { // flush, FUA, discard, mark, metadata
		if f&(1<<i) != 0 {
			b = append(b, byte(c))
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

// errLog: the log is not one, or ends too early.
var errLog = errors.New("not a log of dm-log-writes")

// logged is one entry of the log, in the order in which the requests completed.
// Writes that no flush covers yet come late: right before the flush that does.
type logged struct {
	offset int64 // bytes, on the device
	bytes  int64
	flags  writeFlags
	text   string // of a mark
	at     int64  // of the data in the log
}

// readLog reads all heads of a log; the data stay where they are.
func readLog(r io.ReaderAt) ([]logged, error) {
	var super [logHeadBytes]byte
	if _, err := r.ReadAt(super[:], 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errLog, err)
	}
	le := binary.LittleEndian
	magic, version, count, sector := le.Uint64(super[0:]), le.Uint64(super[8:]), le.Uint64(super[16:]),
		int64(le.Uint32(super[24:]))
	if magic != logMagic || version != logVersion || sector < sectorBytes || sector > 1<<16 || count > 1<<28 {
		return nil, fmt.Errorf("%w: magic %#x, version %d, %d entries, sectors of %d bytes",
			errLog, magic, version, count, sector)
	}
	entries := make([]logged, 0, min(count, 1<<16)) // the count may be wrong
	head := make([]byte, sector)
	at := sector
	for i := range count {
		if _, err := r.ReadAt(head, at); err != nil {
			return nil, fmt.Errorf("%w: entry %d of %d at %d: %w", errLog, i, count, at, err)
		}
		offset, sectors := le.Uint64(head[0:]), le.Uint64(head[8:])
		if deviceMax := uint64(deviceBytesMax / sector); offset > deviceMax || sectors > deviceMax {
			return nil, fmt.Errorf("%w: entry %d of %d at %d: %d sectors at %d", errLog, i, count, at, sectors, offset)
		}
		e := logged{
			offset: int64(offset) * sector, bytes: int64(sectors) * sector,
			flags: writeFlags(le.Uint64(head[16:])), at: at + sector,
		}
		if n := le.Uint64(head[24:]); e.flags&flagMark != 0 {
			if n > uint64(sector-logHeadBytes) {
				return nil, fmt.Errorf("%w: entry %d: a mark of %d bytes", errLog, i, n)
			}
			e.text = string(bytes.TrimRight(head[logHeadBytes:logHeadBytes+n], "\x00"))
			e.bytes = 0
		}
		if at += sector; e.flags&flagDiscard == 0 {
			at += e.bytes
		}
		entries = append(entries, e)
	}
	return entries, nil
}

const (
	sectorBytes    = 512     // the kernel's sector, and the smallest that a log has
	deviceBytesMax = 1 << 62 // so that no sum of an offset and a size overflows
)
