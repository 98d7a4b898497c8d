package orphan

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

const (
	orphansSuffix = ".orphans" // EPOCH-NUMBER.orphans, both in hexadecimal
	settledName   = "settled"
	newSuffix     = ".new" // being written; of no moment when it is met
)

// shelf is the directory of the files. For one goroutine.
type shelf struct {
	fs      vfs.FS
	dir     string
	made    bool
	files   []*file
	settled []Range
	next    uint64  // number of the next file
	faults  []error // files that do not hold
}

type file struct {
	name   string
	pieces []piece
}

// openShelf reads the directory; none is one without files.
func openShelf(files vfs.FS, dir string) (*shelf, error) {
	s := &shelf{fs: files, dir: dir, next: 1}
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.load(name); errors.Is(err, ErrFile) {
			s.faults = append(s.faults, err)
		} else if err != nil {
			return nil, err
		}
	}
	s.tidy(names)
	return s, nil
}

// tidy removes what a write that did not end left: a file under another name, and one that was
// written a second time under a later number. What stays is met again.
func (s *shelf) tidy(names []string) {
	for _, name := range names {
		if strings.HasSuffix(name, newSuffix) {
			_ = s.fs.Remove(s.dir + "/" + name)
		}
	}
	for i := len(s.files) - 1; i >= 0; i-- {
		f := s.files[i]
		others := &shelf{files: slices.Concat(s.files[:i], s.files[i+1:])}
		have := others.saved()
		if !slices.ContainsFunc(f.pieces, func(p piece) bool { return len(p.without(have)) > 0 }) {
			s.files = others.files
			_ = s.fs.Remove(s.dir + "/" + f.name)
		}
	}
}

// load takes a file of the directory, unless its name is another one's.
func (s *shelf) load(name string) error {
	kind := byte(kindOrphans)
	switch stem, ok := strings.CutSuffix(name, orphansSuffix); {
	case name == settledName:
		kind = kindSettled
	case !ok:
		return nil
	default:
		if _, number, ok := strings.Cut(stem, "-"); ok {
			if n, err := strconv.ParseUint(number, 16, 64); err == nil {
				s.next = max(s.next, n+1)
			}
		}
	}
	b, err := s.read(name)
	if err != nil {
		return err
	}
	pieces, err := decode(b, kind)
	if err != nil {
		return fmt.Errorf("%s/%s: %w: keep a copy of it elsewhere, and move it away", s.dir, name, err)
	}
	if kind == kindOrphans {
		s.files = append(s.files, &file{name, pieces})
		return nil
	}
	for _, p := range pieces {
		s.settled = append(s.settled, p.Range)
	}
	return nil
}

func (s *shelf) read(name string) (b []byte, err error) {
	f, err := s.fs.Open(s.dir + "/" + name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil {
		b = make([]byte, size)
		if size > 0 {
			_, err = f.ReadAt(b, 0)
		}
	}
	return b, errors.Join(err, f.Close())
}

// saved are the ranges that files have, of which some may be settled.
func (s *shelf) saved() (all []Range) {
	for _, f := range s.files {
		for i := range f.pieces {
			all = append(all, f.pieces[i].Range)
		}
	}
	return all
}

// add writes a file of one epoch: it is there, and durable, when add returns without an error.
func (s *shelf) add(epoch wire.Epoch, drafts []*draft) error {
	name := fmt.Sprintf("%016x-%x%s", uint64(epoch), s.next, orphansSuffix)
	b := encode(kindOrphans, drafts)
	pieces, err := decode(b, kindOrphans) // what does not read is not written
	if err != nil {
		return err
	}
	if err := s.write(name, b); err != nil {
		return err
	}
	s.next++
	s.files = append(s.files, &file{name, pieces})
	return nil
}

// write puts a file in the place of the one with that name, if there is one.
func (s *shelf) write(name string, b []byte) error {
	if !s.made {
		if err := s.fs.MkdirAll(s.dir); err != nil {
			return err
		}
		s.made = true
	}
	temporary := s.dir + "/" + name + newSuffix
	if err := s.fs.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.fs.Create(temporary)
	if err != nil {
		return err
	}
	err = f.WriteAt([][]byte{b}, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, s.fs.Remove(temporary)) // a flush that failed is not tried again
	}
	if err := s.fs.Rename(temporary, s.dir+"/"+name); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// settle notes durably that ranges are not listed any more, then removes files that have no others.
func (s *shelf) settle(ranges []Range) error {
	all := merged(slices.Concat(s.settled, ranges))
	var drafts []*draft
	for _, r := range all {
		drafts = append(drafts, &draft{Range: r})
	}
	if err := s.write(settledName, encode(kindSettled, drafts)); err != nil {
		return err
	}
	s.settled = all
	var faults []error
	s.files = slices.DeleteFunc(s.files, func(f *file) bool {
		for i := range f.pieces {
			if len(f.pieces[i].without(all)) > 0 {
				return false
			}
		}
		if err := s.fs.Remove(s.dir + "/" + f.name); err != nil {
			faults = append(faults, err)
			return false
		}
		return true
	})
	return errors.Join(append(faults, s.fs.SyncDir(s.dir))...)
}

// merged joins ranges that overlap or touch, sorted by log, epoch and seq.
func merged(ranges []Range) (all []Range) {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, compareRanges)
	for _, r := range ranges {
		if n := len(all) - 1; n >= 0 && all[n].Incarnation == r.Incarnation && r.After <= all[n].To {
			all[n].To = max(all[n].To, r.To)
			continue
		}
		all = append(all, r)
	}
	return all
}
