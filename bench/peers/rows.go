package main

import (
	"fmt"
	"slices"
	"strings"
)

// row is one comparison: the same work for each of its contenders.
type row struct {
	name        string
	about       string
	mode        mode
	recordBytes int
	durable     bool
	solo        bool    // in one process; not pinned
	pinned      bool    // never unpinned: no goal asks for that
	spinners    int     // processes that spin beside it: a busy machine
	share       float64 // modeOpen: of the peak of the slowest contender in stream-256B
	contenders  []string
}

func rows() []row {
	all := []row{
		{name: "limits", about: "what memory and disk can do", solo: true, recordBytes: 1 << 20,
			contenders: []string{"memcpy", "fio-seq", "fio-fdatasync"}},
		{name: "stream-64B", mode: modeStream, pinned: true, recordBytes: 64,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-record+log", "net-coalesce",
				"grpc-record"}},
		{name: "stream-256B", mode: modeStream, recordBytes: 256,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-record+log", "grpc-batch+log",
				"jetstream", "net-coalesce", "net-frame", "grpc-record", "grpc-batch"}},
		{name: "stream-4KiB", mode: modeStream, pinned: true, recordBytes: 4 << 10,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-record+log", "net-coalesce",
				"net-frame", "grpc-record"}},
		{name: "stream-64KiB", mode: modeStream, recordBytes: 64 << 10,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-batch+log", "jetstream",
				"net-coalesce", "grpc-batch"}},
		{name: "stream-1MiB", mode: modeStream, pinned: true, recordBytes: 1 << 20,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-batch+log", "net-coalesce",
				"grpc-batch", "iperf3-cubic", "iperf3-bbr"}},
		linkRow(row{name: "stream-link-64KiB", about: "no journal anywhere", mode: modeStream, recordBytes: 64 << 10,
			pinned:     true,
			contenders: []string{"net-coalesce"}}),
		linkRow(row{name: "trip-link", about: "no journal anywhere", mode: modeTrip, recordBytes: 256, pinned: true,
			contenders: []string{"net-frame", "net-spin", "grpc-record"}}),
		{name: "trip-memory", about: "journals and logs in memory", mode: modeTrip, recordBytes: 256, pinned: true,
			contenders: []string{"ours-1", "net-frame+log", "grpc-record+log"}},
		{name: "trip-durable", about: "flushed at both ends", mode: modeTrip, recordBytes: 256, durable: true,
			contenders: []string{"ours-1", "net-frame+log", "grpc-record+log"}},
	}
	for _, percent := range []int{10, 50, 80} {
		all = append(all, row{
			name: fmt.Sprintf("open-%d", percent), mode: modeOpen, recordBytes: 256, share: float64(percent) / 100,
			pinned:     percent != 50,
			about:      fmt.Sprintf("at %d %% of the slowest's peak; times run from when a record was due", percent),
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-record+log"},
		})
	}
	return append(all,
		row{name: "durable-4KiB", about: "flushed at both ends", mode: modeStream, recordBytes: 4 << 10, durable: true,
			pinned:     true,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "net-frame+log", "grpc-record+log"}},
		row{name: "durable-64KiB", about: "flushed at both ends; jetstream: SyncAlways", mode: modeStream,
			recordBytes: 64 << 10, durable: true,
			contenders: []string{"ours-1", "ours-256", "net-coalesce+log", "grpc-batch+log", "jetstream"}},
		row{name: "busy-trip-durable", about: "flushed at both ends, beside two processes that spin", mode: modeTrip,
			recordBytes: 256, durable: true, pinned: true, spinners: 2,
			contenders: []string{"ours-1", "ours-1-portable", "net-frame+log", "grpc-record+log"}},
		row{name: "busy-stream-64KiB", about: "beside two processes that spin", mode: modeStream,
			recordBytes: 64 << 10, pinned: true, spinners: 2,
			contenders: []string{"ours-1", "ours-1-portable", "net-coalesce+log", "grpc-batch+log"}},
		row{name: "journal-256B", about: "commits", solo: true, recordBytes: 256, durable: true,
			contenders: slices.Compact([]string{"pwrite-fdatasync", "journal-1", "journal-16", journalAtDepth()})},
		row{name: "journal-4KiB", about: "commits", solo: true, recordBytes: 4 << 10, durable: true,
			contenders: []string{"journal-1", "journal-fallocate"}},
	)
}

// linkRow adds every link of ours, each under its own name.
func linkRow(r row) row {
	for _, k := range linkKinds() {
		r.contenders = append(r.contenders, k.name)
	}
	return r
}

// spec of one contender's run, without what belongs to a run.
func (r *row) spec(contender string) spec {
	base, log := strings.CutSuffix(contender, logSuffix)
	s := spec{
		Row: r.name, Contender: contender, Mode: r.mode, RecordBytes: r.recordBytes, FrameBytes: r.recordBytes,
		Durable: r.durable, Log: log, Portable: strings.HasSuffix(contender, portableSuffix),
	}
	if base == "net-coalesce" || base == "grpc-batch" {
		s.FrameBytes = max(r.recordBytes, coalesceBytes-headBytes)
	}
	return s
}

// figures are what contenders ran at when the goals were set, on a quiet machine
// with 21.9 GB/s of memcpy and 6.30 GB/s of loopback: MB/s, or µs of p50. Those
// with a log at both ends have none.
var figures = map[string]map[string]float64{
	"stream-256B": {
		"net-coalesce": 5018, "net-frame": 36.6, "grpc-record": 279, "grpc-batch": 1316, "jetstream": 29.4,
	},
	"stream-64KiB":  {"net-coalesce": 3891, "grpc-batch": 1316, "jetstream": 279},
	"stream-1MiB":   {"net-coalesce": 6938, "grpc-batch": 2148},
	"trip-link":     {"net-frame": 66, "net-spin": 8.0, "grpc-record": 83.5},
	"durable-64KiB": {"jetstream": 123},
}

const (
	figureMemcpyMBps = 21_900
	figureLoopMBps   = 6_300
	figureShareMin   = 0.75
)
