package powerloss

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	linesMin     = 600  // a load that noted less is not a load
	linesMax     = 3000 // and more takes longer without telling more
	loadTime     = 40 * time.Second
	logBytes     = 1 << 30 // sparse
	copyBytes    = 192 << 20
	endTime      = 60 * time.Second // a load whose writes fail has to end in
	loadVariable = "CLAUDEFS_POWERLOSS_LOAD"
)

// fileSystem is one kind of those that are tried.
type fileSystem struct {
	name  string
	bytes int64
	make  []string
}

var fileSystems = []fileSystem{
	{"ext4", 256 << 20, []string{"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}},
	{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f"}}, // 300 MiB is its least
}

// stand is where a load runs on a device whose power can fail.
type stand struct {
	fs     fileSystem
	io     string     // of the engines
	memory string     // a directory in memory: images
	disk   string     // one on another disk: what is recorded
	child  string     // the program that calls RunLoad
	save   *io.Writer // takes the first bad disk, then is nil
}

func (s *stand) image() string    { return filepath.Join(s.memory, "image") }
func (s *stand) ledger() string   { return filepath.Join(s.disk, "ledger") }
func (s *stand) writeLog() string { return filepath.Join(s.disk, "log") }
func (s *stand) mounted() string  { return filepath.Join(s.memory, "mnt") }
func (s *stand) data() string     { return filepath.Join(s.mounted(), "data") }

// makeImage makes a fresh file system in a file.
func (s *stand) makeImage() error {
	if err := sparse(s.image(), s.fs.bytes); err != nil {
		return err
	}
	out, err := exec.Command(s.fs.make[0], append(s.fs.make[1:], s.image())...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(s.fs.make, " "), err, out)
	}
	return nil
}

// sparse makes a file of zeros that takes no room.
func sparse(name string, bytes int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(bytes), f.Close())
}

// saveFirst saves the first disk that a check found fault with.
func (s *stand) saveFirst(notes []note, v *verdict) error {
	w := *s.save
	if *s.save = nil; w == nil {
		return nil
	}
	return save(w, s.data(), notes, v)
}

// running is a load in a process of its own.
type running struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	count int // lines that count
}

// start begins the load; mark names a device of dm-log-writes, or nothing.
func (s *stand) start(mark string) (*running, error) {
	o, err := json.Marshal(loadOptions{Dir: s.data(), Ledger: s.ledger(), IO: s.io, Mark: mark})
	if err != nil {
		return nil, err
	}
	r := &running{cmd: exec.Command(s.child)}
	r.cmd.Env = append(os.Environ(), loadVariable+"="+string(o))
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.lines = bufio.NewScanner(out)
	return r, r.cmd.Start()
}

// until returns when so many lines count, or after limit if there are linesMin
// by then; the process goes on.
func (r *running) until(lines int, limit time.Duration) error {
	kill := time.AfterFunc(limit+endTime, func() { r.cmd.Process.Kill() })
	defer kill.Stop()
	began := time.Now()
	for r.count < lines && (r.count < linesMin || time.Since(began) < limit) {
		if !r.lines.Scan() {
			return fmt.Errorf("the load ended by itself after %d lines: %w", r.count, r.wait())
		}
		n, err := strconv.Atoi(r.lines.Text())
		if err != nil {
			return fmt.Errorf("the load said %q: %w", r.lines.Text(), errors.Join(err, r.kill()))
		}
		r.count = n
	}
	return nil
}

func (r *running) wait() error { return r.cmd.Wait() }

// drain waits for a load to end by itself, and says whether it did.
func (r *running) drain() bool {
	kill := time.AfterFunc(endTime, func() { r.cmd.Process.Kill() })
	for r.lines.Scan() {
		continue
	}
	_ = r.wait() // it says why on its own stderr
	return kill.Stop()
}

// kill ends the process with no notice.
func (r *running) kill() error {
	if err := r.cmd.Process.Kill(); err != nil {
		return err
	}
	for r.lines.Scan() {
		continue // what it still said
	}
	var exit *exec.ExitError
	if err := r.cmd.Wait(); !errors.As(err, &exit) {
		return err
	}
	return nil
}

// notes reads what the ledger has.
func (s *stand) notes() ([]note, error) {
	f, err := os.Open(s.ledger())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLedger(f)
}
