package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
)

const suffix = ".jsonl"

func fileName(dir string, number uint64) string {
	return path.Join(dir, fmt.Sprintf("%06d%s", number, suffix))
}

// list returns the numbers of the files, rising; nothing if there is no directory.
func list(files vfs.FS, dir string) ([]uint64, error) {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	var numbers []uint64
	for _, name := range names { // sorted, and of one length
		base, ok := strings.CutSuffix(name, suffix)
		if number, err := strconv.ParseUint(base, 10, 64); ok && err == nil && fileName("", number) == name {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// read returns the bytes of a file without the newlines that fill it.
func read(files vfs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("audit trail: %s: %w", name, err)
	}
	if size > readBytesMax {
		return nil, fmt.Errorf("audit trail: %s has %d bytes, limit %d", name, size, readBytesMax)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("audit trail: %s: %w", name, err)
	}
	used := len(bytes.TrimRight(b, "\n")) + 1 // and the newline of the last line
	return b[:min(used, len(b))], nil
}

// Place is where a trail breaks a rule.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1; 0 = the file itself
	Seq  uint64 `json:"seq"`  // of that line, or of the last intact one before it
	Rule string `json:"rule"` // syntax, hash, prev, seq, file
	Text string `json:"text"`
}

// Report is the result of Check, as JSON in schema 1.
type Report struct {
	Schema   int       `json:"schema"` // 1
	Kind     string    `json:"kind"`   // "audit-check"
	Files    int       `json:"files"`
	Lines    int       `json:"lines"`
	First    uint64    `json:"first_seq"` // 0 = no line
	Last     uint64    `json:"last_seq"`
	LastHash string    `json:"last_hash"` // compare it with a copy that was kept elsewhere
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	Places   []Place   `json:"places"` // at most placesMax
	Unstated int       `json:"places_not_listed"`
	Open     int       `json:"verbs_without_outcome"`
}

const (
	placesMax    = 100
	readBytesMax = 64 << 20
)

var (
	errSyntax = errors.New("not a line of a trail")
	errHash   = errors.New("hash")
)

// visit calls each for each line of the trail, in order: with the record, or with an error
// for bytes that are not a record. A file that cannot be read ends it.
func visit(files vfs.FS, dir string, numbers []uint64,
	each func(name string, line int, r *Record, bad error) error) error {
	for _, number := range numbers {
		name := fileName(dir, number)
		b, err := read(files, name)
		if err != nil {
			return err
		}
		for number := 1; len(b) > 0; number++ {
			line := lineOf(b)
			b = b[len(line):]
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			r, bad := parse(line)
			if err := each(name, number, &r, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check reads the whole trail in dir and reports each place that breaks a rule. It changes
// nothing and may run beside a Trail: a line that is being written may be reported as the
// last line's syntax. An error means that a file could not be read.
func Check(files vfs.FS, dir string) (*Report, error) {
	numbers, err := list(files, dir)
	if err != nil {
		return nil, err
	}
	out := &Report{Schema: 1, Kind: "audit-check", Files: len(numbers), Places: []Place{}}
	for i := 1; i < len(numbers); i++ {
		if numbers[i] != numbers[i-1]+1 {
			out.broken(Place{fileName(dir, numbers[i-1]), 0, 0, "file",
				fmt.Sprintf("%s follows: files between them are missing", path.Base(fileName("", numbers[i])))})
		}
	}
	begun := map[uint64]bool{}
	var last *Record
	err = visit(files, dir, numbers, func(name string, line int, r *Record, bad error) error {
		switch {
		case errors.Is(bad, errHash):
			out.broken(Place{name, line, r.Seq, "hash", bad.Error()})
		case bad != nil:
			out.broken(Place{name, line, out.Last, "syntax", bad.Error()})
			return nil
		case last != nil && r.Seq != last.Seq+1:
			out.broken(Place{name, line, r.Seq, "seq", fmt.Sprintf("seq: got %d, want %d", r.Seq, last.Seq+1)})
		case last != nil && r.Prev != last.Hash, last == nil && r.Seq == 1 && r.Prev != noHash:
			out.broken(Place{name, line, r.Seq, "prev", "it does not continue the line before it"})
		}
		kept := *r
		last = &kept
		out.note(r)
		if r.Outcome == Begun {
			begun[r.Seq] = true
		}
		delete(begun, r.Of)
		return nil
	})
	out.Open = len(begun)
	return out, err
}

func (r *Report) broken(p Place) {
	if len(r.Places) == placesMax {
		r.Unstated++
		return
	}
	r.Places = append(r.Places, p)
}

func (r *Report) note(line *Record) {
	r.Lines++
	if r.First == 0 {
		r.First, r.FirstAt = line.Seq, line.At
	}
	r.Last, r.LastAt, r.LastHash = line.Seq, line.At, line.Hash
}

// Read calls each with the records from since on, in the order of the trail; an error of each
// ends it. Lines that do not parse are left out: Check finds them. It may run beside
// a Trail.
func Read(files vfs.FS, dir string, since time.Time, each func(*Record) error) error {
	numbers, err := list(files, dir)
	if err != nil {
		return err
	}
	return visit(files, dir, numbers, func(_ string, _ int, r *Record, bad error) error {
		if bad != nil && !errors.Is(bad, errHash) || r.At.Before(since) {
			return nil
		}
		return each(r)
	})
}
