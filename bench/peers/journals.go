package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
	"golang.org/x/sys/unix"
)

// Segments are small enough that a run of a second recycles them several times.
const journalSegmentBytes = 8 << 20

// unitsUnderWay is the depth of the journal on a ring: the deepest that PERFORMANCE
// figures were taken at.
const unitsUnderWay = 16

// clocked measures a loop whose step makes some commits: warm-up, then the time.
func clocked(s *spec, step func() (commits int, err error)) (m measure, err error) {
	for until := time.Now().Add(s.Warm); time.Now().Before(until); {
		if _, err := step(); err != nil {
			return m, err
		}
	}
	a, err := used()
	if err != nil {
		return m, err
	}
	for until := a.at.Add(s.Duration); time.Now().Before(until); {
		n, err := step()
		if err != nil {
			return m, err
		}
		m.Records += uint64(n)
	}
	b, err := used()
	if err != nil {
		return m, err
	}
	m.between(a, b)
	m.Bytes = m.Records * uint64(s.RecordBytes)
	return m, nil
}

// soloSerial is what a journal is measured against: one record, one pwrite, one
// fdatasync, in a file that was written before.
func soloSerial(_ context.Context, s *spec) (m measure, err error) {
	f, err := os.Create(filepath.Join(s.Dir, "serial"))
	if err != nil {
		return m, err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, journalSegmentBytes)); err != nil {
		return m, err
	}
	if err := f.Sync(); err != nil {
		return m, err
	}
	record := make([]byte, headBytes+s.RecordBytes)
	off, n := int64(0), uint64(0)
	return clocked(s, func() (int, error) {
		n++
		putNumber(record[headBytes:], n)
		putHead(record, 1, n, record[headBytes:])
		if off+int64(len(record)) > journalSegmentBytes {
			off = 0
		}
		if _, err := f.WriteAt(record, off); err != nil {
			return 0, err
		}
		off += int64(len(record))
		return 1, unix.Fdatasync(int(f.Fd()))
	})
}

// journalLoad is how a journal is driven.
type journalLoad struct {
	depth     int  // commits under way
	units     int  // under way; 1 = one after another
	ring      bool // files are written by io_uring
	buffered  bool // through the system's cache
	unwritten bool // files are allocated and not written before their use, and never used again
}

func soloJournal(load journalLoad) func(context.Context, *spec) (measure, error) {
	return func(_ context.Context, s *spec) (measure, error) {
		o := journal.Options{
			FS: vfs.OS{}, Dir: filepath.Join(s.Dir, "journal"), Kind: journal.Own, Cluster: 1, Site: 1,
			SegmentBytes: journalSegmentBytes,
		}
		switch {
		case load.unwritten:
			o.FS = unwrittenFS{vfs.OS{}}
		case load.ring:
			disk, err := uring.OpenDisk(uring.DiskOptions{})
			if err != nil {
				return measure{}, err
			}
			defer disk.Close()
			o.FS = disk
		}
		j, _, err := journal.Open(o)
		if err != nil {
			return measure{}, err
		}
		w := &journalWorker{s: s, j: j, load: load, kick: make(chan struct{}, 1), house: make(chan error, 1)}
		w.p = j.OpenPipeline(journal.PipelineOptions{Depth: load.units, Buffered: load.buffered})
		go w.keepHouse() // Ends with kick.
		before := j.Stats()
		m, err := clocked(s, w.step)
		if err == nil {
			err = w.settle()
		}
		after := j.Stats()
		close(w.kick)
		if house := <-w.house; err == nil {
			err = house
		}
		if err != nil {
			return m, errors.Join(err, w.p.Close())
		}
		m.Note = fmt.Sprintf("%.1f commits a flush, %d segments recycled, %d zeroed; %s",
			float64(w.commits)/float64(after.Flushes-before.Flushes), after.Recycled-before.Recycled,
			after.Zeroed-before.Zeroed, w.p.About())
		return m, errors.Join(w.p.Close(), j.Close())
	}
}

// journalWorker commits batches of one entry and keeps as many under way as it
// may: while units are being flushed, the next ones are staged.
type journalWorker struct {
	s       *spec
	j       *journal.Journal
	p       *journal.Pipeline
	load    journalLoad
	header  wire.BatchHeader
	free    [][]byte
	held    [][]byte // staged or being flushed, oldest first
	refs    [1]wire.BatchRef
	entry   wire.Entry
	commits uint64
	written int
	kick    chan struct{} // capacity 1
	house   chan error
}

// step fills the depth, then waits for a unit. Each commit is begun at once while
// there is room for another unit.
func (w *journalWorker) step() (int, error) {
	for len(w.held) < w.load.depth {
		if err := w.stage(); err != nil {
			return 0, err
		}
		w.p.Begin()
	}
	w.p.Begin() // what waited for room
	return w.end()
}

// settle waits for what is under way.
func (w *journalWorker) settle() error {
	for len(w.held) > 0 {
		w.p.Begin()
		if _, err := w.end(); err != nil {
			return err
		}
	}
	return nil
}

func (w *journalWorker) end() (int, error) {
	done, err := w.p.End()
	if err != nil {
		return 0, err
	}
	n := len(done.Headers)
	w.free = append(w.free, w.held[:n]...)
	w.held = append(w.held[:0], w.held[n:]...)
	w.commits += uint64(n)
	if w.written += n * (w.s.RecordBytes + 4096); w.written > 1<<20 {
		w.written = 0
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
	return n, nil
}

func (w *journalWorker) stage() error {
	if w.header.FirstSeq == 0 {
		if err := w.start(); err != nil {
			return err
		}
	}
	var b []byte
	if n := len(w.free); n > 0 {
		b, w.free = w.free[n-1], w.free[:n-1]
	} else {
		b = make([]byte, wire.BatchHeaderBytes, wire.BatchHeaderBytes+w.s.RecordBytes+64)
	}
	h := &w.header
	h.Prev, h.FirstSeq = h.Chain, h.FirstSeq+1
	h.FirstStamp++
	h.LastStamp = h.FirstStamp
	if w.entry.Payload == nil {
		w.entry = wire.Entry{Op: 1, Keys: [][]byte{[]byte("key")}, Payload: make([]byte, w.s.RecordBytes)}
	}
	putNumber(w.entry.Payload, uint64(h.FirstSeq))
	b = wire.AppendEntry(b[:wire.BatchHeaderBytes], h.FirstStamp, h.FirstStamp, &w.entry)
	wire.CloseBatch(b, h)
	w.refs[0] = wire.BatchRef{Header: *h, Bytes: b}
	w.held = append(w.held, b)
	_, err := w.j.Stage(w.refs[:], nil)
	return err
}

// start opens the log.
func (w *journalWorker) start() error {
	w.header = wire.BatchHeader{
		Kind: wire.BatchStart, Incarnation: wire.Incarnation{1}, Cluster: 1, Site: 1, Epoch: 1, Count: 1,
		FirstSeq: 1, FirstStamp: 1 << 12, LastStamp: 1 << 12,
	}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), nil)
	if err != nil {
		return err
	}
	wire.CloseBatch(b, &w.header)
	w.refs[0] = wire.BatchRef{Header: w.header, Bytes: b}
	w.held = append(w.held, b)
	_, err = w.j.Stage(w.refs[:], nil)
	w.header.Kind = wire.BatchData
	return err
}

// keepHouse gives back and prepares segments, as the engine's housework does.
func (w *journalWorker) keepHouse() {
	var err error
	for range w.kick {
		if err == nil {
			err = w.supply()
		}
	}
	w.house <- err
}

func (w *journalWorker) supply() error {
	if w.j.NeedsSpare() && !w.load.unwritten {
		_, err := w.j.Reclaim(func(log wire.LogID) wire.Position {
			tail, _ := w.j.Tail(log)
			return tail.Position
		})
		if err != nil {
			return err
		}
	}
	for more := true; more; {
		var err error
		if more, err = w.j.Prepare(); err != nil {
			return err
		}
	}
	return nil
}

// unwrittenFS is a disk on which a file is allocated where it should be zeroed:
// what a journal gets that relies on fallocate alone.
type unwrittenFS struct{ vfs.FS }

func (u unwrittenFS) Create(name string) (vfs.File, error) {
	f, err := u.FS.Create(name)
	if err != nil {
		return nil, err
	}
	raw, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &unwrittenFile{f, raw}, nil
}

type unwrittenFile struct {
	vfs.File
	raw *os.File
}

var zeros = make([]byte, 1<<20)

// zeroBytesMin tells the zeroing of a file, which comes in large pieces, from the
// padding of a unit.
const zeroBytesMin = 64 << 10

// WriteAt leaves out zeros at the end: only allocated.
func (f *unwrittenFile) WriteAt(parts [][]byte, off int64) error {
	last := len(parts) - 1
	if last < 0 || len(parts[last]) < zeroBytesMin || !bytes.Equal(parts[last], zeros[:len(parts[last])]) {
		return f.File.WriteAt(parts, off)
	}
	end := off
	for _, p := range parts[:last] {
		end += int64(len(p))
	}
	if err := unix.Fallocate(int(f.raw.Fd()), 0, end, int64(len(parts[last]))); err != nil {
		return &os.PathError{Op: "fallocate", Path: f.raw.Name(), Err: err}
	}
	return f.File.WriteAt(parts[:last], off)
}

func (f *unwrittenFile) Truncate(size int64) error {
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	return unix.Fallocate(int(f.raw.Fd()), 0, 0, size)
}

func (f *unwrittenFile) Close() error {
	f.raw.Close()
	return f.File.Close()
}
