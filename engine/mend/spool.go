package mend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// spoolName is the one file of a directory.
const spoolName = "spool"

// recordKind is what a record of the file has. Part of the format, never reuse.
type recordKind uint8

const (
	recordHead  recordKind = 1 // first: which shard is mended from where
	recordView  recordKind = 2 // what follows is of this view; or everything before is, too
	recordRows  recordKind = 3 // fragments of parts
	recordCover recordKind = 4 // parts of the whole shard
	recordEnd   recordKind = 5 // last: the file is complete
)

const (
	spoolVersion    = 1
	recordHeadBytes = 4 + 4 + 8          // kind, body bytes, checksum
	recordBytesMax  = wire.FrameBytesMax // of a body
	coverPartsMax   = 1024               // of one record
	spoolFlushBytes = 64 << 20           // flushed each so many bytes: what a power cut may cost
)

// ErrSpool: the file is not one of this release, or was changed. It is dropped, and what it
// held is asked for again.
var ErrSpool = errors.New("the file of a mending does not hold")

// extent is a stretch of the file.
type extent struct {
	at    int64
	bytes int
}

// held is a part of the file.
type held struct {
	Part
	rows []extent
}

// Head says whose file it is.
type Head struct {
	Mend  store.MendID
	Shard wire.Shard
	From  string // name of the source
}

// Spool is the file of one mending: one shard at a time.
//
//	head │ view │ rows │ rows │ … │ cover … │ end
//
// Each record has a kind u8, three zero bytes, the size of its body u32, an XXH3-64 over both
// and the body, and the body. Where the bytes of a record do not hold, the file ends before
// it. A rows record replaces what earlier ones have of the same part. For one goroutine.
type Spool struct {
	fs   vfs.FS
	dir  string
	f    vfs.File
	head Head

	end     int64 // of the last whole record
	flushed int64
	parts   []held // sorted by Lo, disjoint
	partial held   // what came of a part that is not whole
	base    []wire.Cursor
	cover   []Part
	cursors []wire.Cursor // of a complete file
	done    bool
}

// CreateSpool begins a file in dir, in the place of one that is there.
func CreateSpool(files vfs.FS, dir string, head Head) (*Spool, error) {
	if err := files.MkdirAll(dir); err != nil {
		return nil, err
	}
	if err := removeSpool(files, dir); err != nil {
		return nil, err
	}
	f, err := files.Create(dir + "/" + spoolName)
	if err != nil {
		return nil, err
	}
	s := &Spool{fs: files, dir: dir, f: f, head: head}
	body := append([]byte{spoolVersion}, head.Mend[:]...)
	body = binary.LittleEndian.AppendUint32(body, uint32(head.Shard))
	if _, err := s.write(recordHead, append(body, head.From...)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(s.flush(), files.SyncDir(dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// OpenSpool opens the file in dir. fs.ErrNotExist: there is none. ErrSpool: it is not a file
// of this release.
func OpenSpool(files vfs.FS, dir string) (*Spool, error) {
	f, err := files.Open(dir + "/" + spoolName)
	if err != nil {
		return nil, err
	}
	s := &Spool{fs: files, dir: dir, f: f}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// removeSpool removes the file in dir, if there is one.
func removeSpool(files vfs.FS, dir string) error {
	if err := files.Remove(dir + "/" + spoolName); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return files.SyncDir(dir)
}

// DropSpool removes what is in dir, of whatever release.
func DropSpool(files vfs.FS, dir string) error { return removeSpool(files, dir) }

// Head says whose file it is.
func (s *Spool) Head() Head { return s.head }

// Bytes is how large the file is.
func (s *Spool) Bytes() int64 { return s.end }

// Complete says that everything is in it.
func (s *Spool) Complete() bool { return s.done }

// Cursors are those of the view, and Cover the whole shard there. Only of a complete file.
func (s *Spool) Cursors() []wire.Cursor { return s.cursors }
func (s *Spool) Cover() []Part          { return s.cover }

// Held are the parts in the file, what it has of one more, and the cursors of the view that
// they are all of; nil = of several.
func (s *Spool) Held() (parts []Part, partial Partial, base []wire.Cursor) {
	for i := range s.parts {
		parts = append(parts, s.parts[i].Part)
	}
	partial.Part = s.partial.Part
	for _, x := range s.partial.rows {
		partial.Bytes += x.bytes
	}
	return parts, partial, s.base
}

// Close closes the file, which stays.
func (s *Spool) Close() error { return s.f.Close() }

// Remove closes and removes the file.
func (s *Spool) Remove() error {
	return errors.Join(s.f.Close(), removeSpool(s.fs, s.dir))
}

// Append writes a record of a Gather. After an error nothing of it is there, and the same
// may be appended again.
func (s *Spool) Append(r *Record) error {
	if len(r.Fragments) > 0 {
		if err := s.appendRows(r); err != nil {
			return err
		}
	}
	if r.View == nil && !r.Whole {
		return nil
	}
	flag := byte(0)
	if r.Whole {
		flag = 1
	}
	if _, err := s.write(recordView, appendCursors([]byte{flag}, r.View)); err != nil {
		return err
	}
	if s.base = nil; r.Whole {
		s.base = nonNil(r.View)
	}
	return nil
}

// nonNil tells no cursors from none known.
func nonNil(c []wire.Cursor) []wire.Cursor {
	if c == nil {
		return []wire.Cursor{}
	}
	return c
}

func (s *Spool) appendRows(r *Record) error {
	body := binary.LittleEndian.AppendUint16(nil, uint16(len(r.Fragments)))
	for i := range r.Fragments {
		f := &r.Fragments[i]
		body = appendPart(body, &f.Part)
		body = binary.LittleEndian.AppendUint32(body, uint32(f.Skip))
		body = binary.LittleEndian.AppendUint32(body, uint32(f.Bytes))
		more := byte(0)
		if f.More {
			more = 1
		}
		body = append(body, more)
	}
	at := int64(len(body))
	begin, err := s.write(recordRows, body, r.Data)
	if err != nil {
		return err
	}
	at += begin
	for i := range r.Fragments {
		f := &r.Fragments[i]
		s.take(f, at)
		at += int64(f.Bytes)
	}
	return nil
}

// FlushSome flushes the file if much was appended. A failure is final for the file.
func (s *Spool) FlushSome() error {
	if s.end-s.flushed < spoolFlushBytes {
		return nil
	}
	return s.flush()
}

// take notes what the file has of a part.
func (s *Spool) take(f *Fragment, at int64) {
	if f.Skip == 0 {
		s.partial = held{Part: f.Part}
	}
	if f.Bytes > 0 {
		s.partial.rows = append(s.partial.rows, extent{at, f.Bytes})
	}
	if f.More {
		return
	}
	h := s.partial
	s.partial = held{}
	i, found := slices.BinarySearchFunc(s.parts, h.Lo, func(p held, lo []byte) int { return bytes.Compare(p.Lo, lo) })
	if found {
		s.parts[i] = h
		return
	}
	s.parts = slices.Insert(s.parts, i, h)
}

// errFlush: what the medium has of the file is not known. It is dropped.
var errFlush = errors.New("flush of the file of a mending")

// Finish completes the file: the whole shard at the source, and the cursors of its view. It
// is flushed when Finish returns. Where there is no room for that, it may be called again.
func (s *Spool) Finish(cover []Part, cursors []wire.Cursor) error {
	began := s.end
	err := func() error {
		for part := range slices.Chunk(cover, coverPartsMax) {
			body := binary.LittleEndian.AppendUint16(nil, uint16(len(part)))
			for i := range part {
				body = appendPart(body, &part[i])
			}
			if _, err := s.write(recordCover, body); err != nil {
				return err
			}
		}
		body := binary.LittleEndian.AppendUint64(nil, uint64(len(cover)))
		_, err := s.write(recordEnd, appendCursors(body, cursors))
		return err
	}()
	if err != nil {
		s.end = began
		return err
	}
	if err := errors.Join(s.flush(), s.fs.SyncDir(s.dir)); err != nil {
		return err
	}
	s.cover, s.cursors, s.done = cover, cursors, true
	return nil
}

// write appends a record, and returns where its body begins.
func (s *Spool) write(kind recordKind, parts ...[]byte) (body int64, err error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	head := make([]byte, 8, recordHeadBytes)
	head[0] = byte(kind)
	binary.LittleEndian.PutUint32(head[4:], uint32(size))
	var sum xxh3.Hasher
	_, _ = sum.Write(head) // never fails
	for _, p := range parts {
		_, _ = sum.Write(p)
	}
	head = binary.LittleEndian.AppendUint64(head, sum.Sum64())
	if err := s.f.WriteAt(append([][]byte{head}, parts...), s.end); err != nil {
		return 0, err
	}
	body = s.end + recordHeadBytes
	s.end = body + int64(size)
	return body, nil
}

func (s *Spool) flush() error {
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errFlush, err)
	}
	s.flushed = s.end
	return nil
}

// load reads the records, up to the first that does not hold, and cuts off what follows.
func (s *Spool) load() error {
	size, err := s.f.Size()
	if err != nil {
		return err
	}
	for !s.done {
		kind, body, err := s.read(s.end, size)
		if err != nil {
			return err
		}
		if body == nil {
			break
		}
		begin := s.end + recordHeadBytes
		if err := s.replay(kind, body, begin); err != nil {
			return fmt.Errorf("%s/%s at offset %d: %w: %w", s.dir, spoolName, s.end, ErrSpool, err)
		}
		s.end = begin + int64(len(body))
	}
	if s.end == 0 {
		return fmt.Errorf("%s/%s: no head: %w", s.dir, spoolName, ErrSpool)
	}
	if !s.done {
		s.cover = nil
		if s.end < size {
			if err := s.f.Truncate(s.end); err != nil {
				return err
			}
		}
	}
	return s.flush()
}

// read returns the record at an offset; no body: none is whole there.
func (s *Spool) read(at, size int64) (recordKind, []byte, error) {
	var head [recordHeadBytes]byte
	if at+recordHeadBytes > size {
		return 0, nil, nil
	}
	if _, err := s.f.ReadAt(head[:], at); err != nil {
		return 0, nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if n > recordBytesMax || at+recordHeadBytes+n > size {
		return 0, nil, nil
	}
	body := make([]byte, n)
	if _, err := s.f.ReadAt(body, at+recordHeadBytes); n > 0 && err != nil {
		return 0, nil, err
	}
	var sum xxh3.Hasher
	_, _ = sum.Write(head[:8]) // never fails
	_, _ = sum.Write(body)
	if sum.Sum64() != binary.LittleEndian.Uint64(head[8:]) {
		return 0, nil, nil
	}
	return recordKind(head[0]), body, nil
}

// replay takes a record whose bytes hold.
func (s *Spool) replay(kind recordKind, body []byte, begin int64) error {
	r := reader{b: body}
	if (kind == recordHead) != (s.end == 0) {
		return fmt.Errorf("record of kind %d: the head is first", kind)
	}
	switch kind {
	case recordHead:
		if v := r.u8(); v != spoolVersion {
			return fmt.Errorf("version %d, this release reads %d: %w", v, spoolVersion, wire.ErrVersion)
		}
		copy(s.head.Mend[:], r.take(len(s.head.Mend)))
		s.head.Shard = wire.Shard(r.u32())
		s.head.From = string(r.take(len(r.b)))
	case recordView:
		whole := r.u8() == 1
		cursors := r.cursors()
		if s.base = nil; whole {
			s.base = nonNil(cursors)
		}
	case recordRows:
		s.replayRows(&r, begin)
	case recordCover:
		for range r.u16() {
			s.cover = append(s.cover, r.part())
		}
	case recordEnd:
		if n := r.u64(); n != uint64(len(s.cover)) {
			return fmt.Errorf("%d parts of %d", len(s.cover), n)
		}
		s.cursors, s.done = r.cursors(), true
	default:
		return fmt.Errorf("record of kind %d", kind)
	}
	return r.err()
}

func (s *Spool) replayRows(r *reader, begin int64) {
	var fragments []Fragment
	size := len(r.b)
	for range r.u16() {
		f := Fragment{Part: r.part(), Skip: int(r.u32()), Bytes: int(r.u32())}
		f.More = r.u8() == 1
		fragments = append(fragments, f)
	}
	at := begin + int64(size-len(r.b))
	for i := range fragments {
		f := &fragments[i]
		r.take(f.Bytes)
		s.take(f, at)
		at += int64(f.Bytes)
	}
}
