package powerloss

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// FuzzWriteLog: what the kernel is said to have written is refused, or its entries
// follow each other and are the same when they are written again. What it takes of memory
// follows what there is, not what is said.
func FuzzWriteLog(f *testing.F) {
	f.Add(logOf([]logged{{bytes: sectorBytes}, {flags: flagMark, text: "lines=1"}, {flags: flagFlush}}, "a--"))
	f.Add(logOf([]logged{{offset: 1 << 40, bytes: 1 << 40, flags: flagDiscard}, {flags: flagFlush}}, "--"))
	f.Add(logOf(nil, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		entries, err := readLog(bytes.NewReader(b))
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(8<<20+len(b)) {
			t.Fatalf("%d bytes of memory for a log of %d", took, len(b))
		}
		if err != nil {
			if !errors.Is(err, errLog) {
				t.Fatal(err)
			}
			return
		}
		behind, data := int64(0), int64(0)
		for i, e := range entries {
			if e.offset < 0 || e.bytes < 0 || e.at < behind+sectorBytes || e.at > int64(len(b)) {
				t.Fatalf("entry %d of %d bytes: %+v, the one before ends at %d", i, len(b), e, behind)
			}
			if behind = e.at; e.flags&flagDiscard == 0 {
				behind, data = behind+e.bytes, data+e.bytes
			}
		}
		if data > 1<<20 {
			return // nobody has looked yet whether the last one's are there
		}
		again, err := readLog(bytes.NewReader(logOf(entries, strings.Repeat("x", len(entries)))))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%+v are read back as %+v: %v", entries, again, err)
		}
		for i, e := range again {
			if e.at = entries[i].at; e != entries[i] { // sectors may have been larger
				t.Fatalf("entry %d, %+v, is read back as %+v", i, entries[i], e)
			}
		}
	})
}
