package audit

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
)

// Defaults of Options.
const (
	FileBytesDefault = 1 << 20
	FilesMaxDefault  = 256
)

// ErrUnavailable: a line could not be made durable. A verb that needs it is not done. It is
// tried again with the next line.
var ErrUnavailable = errors.New("audit trail cannot be written")

// KindLineRemoved is the event of bytes that were not a whole line and were removed.
const KindLineRemoved = "line-removed"

// Options of a Trail.
type Options struct {
	FS   vfs.FS
	Dir  string // its own directory; created if absent
	Site string // name
	// FileBytes is the size of a file; 0 = 1 MiB. At least 64 KiB.
	FileBytes int64
	// FilesMax is how many files are kept; 0 = 256. The oldest are removed beyond it.
	FilesMax int
	// Now is the wall clock; nil = time.Now.
	Now func() time.Time
}

// Trail writes the trail of one site. One process may have it open: the owner of the
// directory's lock.
type Trail struct {
	o Options

	mu     sync.Mutex
	file   vfs.File // nil: to be loaded
	number uint64   // of file
	used   int64    // bytes of file
	next   vfs.File // prepared; nil = none yet
	seq    uint64   // of the last durable line
	hash   string   // of it
	err    error    // why the last line was not written
	closed bool
	open   map[uint64]*Record // verbs of this Trail without outcome, by seq
}

// New returns the trail of a directory. Nothing is read or written before the first line:
// that creates the directory, or continues what is there. Damage in older lines does not keep
// it from being continued, see Check.
func New(o Options) *Trail {
	if o.FileBytes == 0 {
		o.FileBytes = FileBytesDefault
	}
	o.FileBytes = max(o.FileBytes, 64<<10)
	if o.FilesMax == 0 {
		o.FilesMax = FilesMaxDefault
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Trail{o: o, open: map[uint64]*Record{}}
}

// load finds the end of the trail, removes what is not whole there, and ends verbs that a
// process left without outcome. mu is held.
func (t *Trail) load() error {
	if err := t.o.FS.MkdirAll(t.o.Dir); err != nil {
		return err
	}
	numbers, err := list(t.o.FS, t.o.Dir)
	if err != nil {
		return err
	}
	t.seq, t.hash, t.number, t.used = 0, noHash, 0, 0
	begun, rest := map[uint64]*Record{}, []byte(nil) // rest: what is not a whole line, behind the last one
	for _, number := range numbers {
		if err := t.refresh(number); err != nil {
			return err
		}
		b, err := read(t.o.FS, fileName(t.o.Dir, number))
		if err != nil {
			return err
		}
		if used := t.replay(b, begun); used > 0 {
			t.number, t.used, rest = number, int64(used), nil
			b = b[used:]
		} // else it was prepared
		rest = append(rest, bytes.Trim(b, "\x00 \n")...)
	}
	if err := t.begin(numbers, len(rest) > 0); err != nil {
		return err
	}
	if len(rest) > 0 {
		if err := t.removed(rest); err != nil {
			return err
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(begun)) {
		if t.open[seq] != nil {
			continue
		}
		if err := t.append(begun[seq].ended(Interrupted, begun[seq].What)); err != nil {
			return err
		}
	}
	return nil
}

// removed puts a line that has the bytes of what is not a whole line in its place, and clears
// what is left of that: a power cut leaves such bytes, and so does somebody who edits the
// last line, or the only one.
func (t *Trail) removed(rest []byte) error {
	number, from := t.number, t.used
	if err := t.append(&Record{Kind: KindLineRemoved, Outcome: Observed, What: cut(fmt.Sprintf(
		"not a whole line, as the process or machine may have stopped while it was written: %q", rest))}); err != nil {
		return err
	}
	if t.number == number {
		from = t.used
	}
	f, err := t.o.FS.Open(fileName(t.o.Dir, number))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.fill(f, from); err != nil || t.next != nil {
		return err
	}
	t.next, err = t.prepare(t.number + 1) // those bytes may be its
	return err
}

// replay takes the lines of a file. It returns where the last intact one ends.
func (t *Trail) replay(b []byte, begun map[uint64]*Record) (used int) {
	for at := 0; at < len(b); {
		line := lineOf(b[at:])
		at += len(line)
		r, bad := parse(line)
		if bad != nil {
			continue // blank, not whole, or Check's to report
		}
		used, t.seq, t.hash = at, r.Seq, r.Hash
		if r.Outcome == Begun {
			begun[r.Seq] = &r
		}
		delete(begun, r.Of)
	}
	return used
}

// refresh makes reads of a file come from the medium: after a failed flush the cache may
// show bytes that the medium does not have.
func (t *Trail) refresh(number uint64) error {
	f, err := t.o.FS.Open(fileName(t.o.Dir, number))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Refresh()
}

// begin opens the file with the newest line; without any line, the newest file with other
// bytes, or creates the first.
func (t *Trail) begin(numbers []uint64, other bool) (err error) {
	switch {
	case t.number == 0 && other:
		t.number = numbers[len(numbers)-1]
	case t.number == 0:
		t.number = 1
		t.file, err = t.prepare(t.number)
		return err
	}
	t.file, err = t.o.FS.Open(fileName(t.o.Dir, t.number))
	return err
}

// prepare creates a file at its full size, or takes one that has no line.
func (t *Trail) prepare(number uint64) (vfs.File, error) {
	name := fileName(t.o.Dir, number)
	f, err := t.o.FS.Open(name)
	if err != nil {
		if f, err = t.o.FS.Create(name); err != nil {
			return nil, err
		}
	}
	if err = t.fill(f, 0); err == nil {
		err = t.o.FS.SyncDir(t.o.Dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// fill writes newlines from an offset to the full size.
func (t *Trail) fill(f vfs.File, from int64) error {
	if from < t.o.FileBytes {
		if err := f.WriteAt([][]byte{bytes.Repeat([]byte("\n"), int(t.o.FileBytes-from))}, from); err != nil {
			return err
		}
	}
	return f.Sync()
}

// Begin writes that a verb begins, flushed, before it acts. End of the result ends it.
func (t *Trail) Begin(e Entry) (*Act, error) {
	r := e.record(Begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.write(r); err != nil {
		return nil, err
	}
	t.open[r.Seq] = r
	return &Act{t, r}, nil
}

// Note writes an event, flushed.
func (t *Trail) Note(e Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.write(e.record(Observed))
}

// Act is a verb under way.
type Act struct {
	t     *Trail
	begun *Record
}

// End writes the outcome of the verb, flushed. A line that cannot be written is returned as
// ErrUnavailable: the verb has acted all the same, and the next Open calls it interrupted.
func (a *Act) End(outcome Outcome, what string) error {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	if err := a.t.write(a.begun.ended(outcome, cut(what))); err != nil {
		return err
	}
	delete(a.t.open, a.begun.Seq)
	return nil
}

// ended is the line that ends a line "begun".
func (r *Record) ended(outcome Outcome, what string) *Record {
	return &Record{Kind: r.Kind, Actor: r.Actor, Peer: r.Peer, Shard: r.Shard, What: what, Outcome: outcome, Of: r.Seq}
}

func (e *Entry) record(outcome Outcome) *Record {
	r := &Record{Kind: e.Kind, Actor: e.Actor, Peer: e.Peer, What: cut(e.What), Outcome: outcome}
	if e.Shard >= 0 {
		shard := e.Shard
		r.Shard = &shard
	}
	return r
}

// cut bounds a text and keeps it valid UTF-8.
func cut(s string) string {
	if len(s) > WhatBytesMax {
		s = s[:WhatBytesMax]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// write appends a line. It finds the end of the trail first, for the first line and after a
// failure.
func (t *Trail) write(r *Record) error {
	if t.closed {
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	}
	var err error
	if t.file == nil {
		err = t.load()
	}
	if err == nil {
		err = t.append(r)
	}
	if err != nil {
		t.drop()
		t.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		return t.err
	}
	t.err = nil
	return nil
}

// append writes one line and flushes it.
func (t *Trail) append(r *Record) error {
	r.Seq, r.At, r.Site, r.Prev = t.seq+1, t.o.Now().UTC(), t.o.Site, t.hash
	line, err := r.encode()
	if err != nil {
		return err
	}
	if t.used+int64(len(line)) > t.o.FileBytes {
		if err := t.rotate(); err != nil {
			return err
		}
	}
	if err := t.file.WriteAt([][]byte{line}, t.used); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	t.used += int64(len(line))
	t.seq, t.hash = r.Seq, r.Hash
	if t.next == nil && t.used > t.o.FileBytes/2 {
		t.next, _ = t.prepare(t.number + 1) // rotate tries again
	}
	return nil
}

// rotate goes on to the next file and removes the oldest ones.
func (t *Trail) rotate() (err error) {
	if t.next == nil {
		if t.next, err = t.prepare(t.number + 1); err != nil {
			return err
		}
	}
	t.file.Close()
	t.file, t.next, t.used = t.next, nil, 0
	t.number++
	numbers, err := list(t.o.FS, t.o.Dir)
	if err != nil {
		return err
	}
	for len(numbers) > t.o.FilesMax {
		if err := t.o.FS.Remove(fileName(t.o.Dir, numbers[0])); err != nil {
			return err
		}
		numbers = numbers[1:]
	}
	return nil
}

// Err says why the last line could not be written; nil if it was.
func (t *Trail) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// drop closes the files.
func (t *Trail) drop() {
	for _, f := range []vfs.File{t.file, t.next} {
		if f != nil {
			f.Close() // What counts was flushed.
		}
	}
	t.file, t.next = nil, nil
}

// Close closes the trail. Any number of calls.
func (t *Trail) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.drop()
}
