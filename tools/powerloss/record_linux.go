package powerloss

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	recordName   = "powerloss-record"
	snapshotName = "powerloss-cut"
	snapshotStep = 64 // sectors that a snapshot copies at once
	resumeEvery  = 20 // cuts, of which one has its sites go on
)

// recording is a load on a device of dm-log-writes, and the image it began with.
type recording struct {
	s       *stand
	entries []logged
	counts  []int // by entry: the ledger's lines that count behind it
	notes   []note
}

// record runs the load on a device that logs every write, and kills it.
func (s *stand) record() (rec *recording, err error) {
	if err := s.makeImage(); err != nil {
		return nil, err
	}
	if err := copySparse(s.fresh(), s.image()); err != nil {
		return nil, err
	}
	if err := sparse(s.writeLog(), logBytes); err != nil {
		return nil, err
	}
	var undo undoes
	defer func() { err = errors.Join(err, undo.run()) }()
	base, err := attach(s.image())
	if err != nil {
		return nil, err
	}
	undo.add(base.close)
	log, err := attach(s.writeLog())
	if err != nil {
		return nil, err
	}
	undo.add(log.close)
	m, err := createMapped(recordName, s.fs.bytes, target{"log-writes", base.path + " " + log.path})
	if err != nil {
		return nil, err
	}
	undo.add(m.close)
	if err := mount(m.path, s.mounted(), s.fs.name); err != nil {
		return nil, err
	}
	undo.add(func() error { return unmount(s.mounted()) })
	load, err := s.start(recordName)
	if err != nil {
		return nil, err
	}
	if err := load.until(linesMax, loadTime); err != nil {
		return nil, err
	}
	if err := errors.Join(load.kill(), m.message("mark end"), undo.run()); err != nil {
		return nil, err
	}
	return s.readRecording()
}

func (s *stand) fresh() string { return filepath.Join(s.memory, "fresh") }

// readRecording reads what the log and the ledger have, up to the end of the load.
func (s *stand) readRecording() (*recording, error) {
	rec := &recording{s: s}
	f, err := os.Open(s.writeLog())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if rec.entries, err = readLog(f); err != nil {
		return nil, err
	}
	if rec.notes, err = s.notes(); err != nil {
		return nil, err
	}
	count, begun := 0, false
	for i, e := range rec.entries {
		if e.text == "end" {
			rec.entries = rec.entries[:i]
			return rec, nil
		}
		if _, err := fmt.Sscanf(e.text, lineMark, &count); err == nil {
			begun = true
		}
		rec.counts = append(rec.counts, count)
	}
	return nil, fmt.Errorf("%w: no mark of its end among %d entries, first line %v: was %s too small?",
		errLog, len(rec.entries), begun, s.writeLog())
}

// try replays the recording up to n moments, and checks what the journals have
// after each. tell is called for every verdict.
func (rec *recording) try(n int, r *rand.Rand, tell func(c cut, v *verdict)) (err error) {
	s := rec.s
	var undo undoes
	defer func() { err = errors.Join(err, undo.run()) }()
	log, err := os.Open(s.writeLog())
	if err != nil {
		return err
	}
	undo.add(log.Close)
	disk, err := os.OpenFile(s.fresh(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	undo.add(disk.Close)
	copied := filepath.Join(s.memory, "copied")
	if err := sparse(copied, copyBytes); err != nil {
		return err
	}
	origin, err := attach(s.fresh())
	if err != nil {
		return err
	}
	undo.add(origin.close)
	changes, err := attach(copied)
	if err != nil {
		return err
	}
	undo.add(changes.close)
	img := &image{disk: disk, log: log, entries: rec.entries}
	table := target{"snapshot", fmt.Sprintf("%s %s N %d", origin.path, changes.path, snapshotStep)}
	for i, c := range planCuts(rec.entries, 0, len(rec.entries), n, r) {
		if err := img.show(c); err != nil {
			return err
		}
		v, err := s.inspect(table, rec.notes[:rec.counts[c.at-1]], i%resumeEvery == 0)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		tell(c, v)
		if err := errors.Join(os.Truncate(copied, 0), os.Truncate(copied, copyBytes)); err != nil {
			return err
		}
	}
	return nil
}

// inspect mounts a snapshot of the image, which recovers its file system, and
// checks the journals on it. The image stays as it is.
func (s *stand) inspect(table target, notes []note, goOn bool) (v *verdict, err error) {
	m, err := createMapped(snapshotName, s.fs.bytes, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	if err := mount(m.path, s.mounted(), s.fs.name); err != nil {
		v = &verdict{}
		v.fault("the file system does not recover: %v", err)
		return v, nil
	}
	defer func() { err = errors.Join(err, unmount(s.mounted())) }()
	return s.look(notes, goOn)
}

// look checks the mounted disk; with goOn its sites are opened too. The first disk
// that is not as it should be is saved.
func (s *stand) look(notes []note, goOn bool) (*verdict, error) {
	v, err := check(s.data(), notes)
	if err == nil && v.bad() {
		err = s.saveFirst(notes, v)
	}
	if err != nil || v.bad() || !goOn {
		return v, err
	}
	return resume(v, s.data(), s.io, notes)
}

// undoes are steps back, taken from the last to the first.
type undoes []func() error

func (u *undoes) add(step func() error) { *u = append(*u, step) }

// run takes the steps that were not taken yet.
func (u *undoes) run() error {
	var errs []error
	for i := len(*u) - 1; i >= 0; i-- {
		errs = append(errs, (*u)[i]())
	}
	*u = nil
	return errors.Join(errs...)
}

// copySparse copies what a file has, and leaves its holes out.
func copySparse(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := dst.Truncate(info.Size()); err != nil {
		return errors.Join(err, dst.Close())
	}
	for at := int64(0); ; {
		begin, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return dst.Close()
		}
		if err != nil {
			return errors.Join(err, dst.Close())
		}
		if at, err = unix.Seek(int(src.Fd()), begin, unix.SEEK_HOLE); err != nil {
			return errors.Join(err, dst.Close())
		}
		part := io.NewSectionReader(src, begin, at-begin)
		if _, err := io.Copy(io.NewOffsetWriter(dst, begin), part); err != nil {
			return errors.Join(err, dst.Close())
		}
	}
}
