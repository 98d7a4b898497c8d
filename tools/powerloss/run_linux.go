package powerloss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/claudefs/repl/engine/store/vfs"
)

// lineMark is a mark in the log of writes: so many lines of the ledger count.
const lineMark = "lines=%d"

// modules of the kernel that a run needs.
var modules = []string{"loop", "dm_mod", "dm_log_writes", "dm_flakey", "dm_snapshot", "ext4", "xfs"}

// Options of a run.
type Options struct {
	Cuts   int    // of each file system
	Rounds int    // with a failing device, of each file system, data path and failure
	Seed   uint64 // of what is chosen; when the load's writes come is not in it
	Memory string // a directory in memory
	Disk   string // a directory on a disk that is not under test
	Child  string // the program, which calls RunLoad first
	Say    func(format string, args ...any)
	Save   io.Writer // takes the first disk that lost something, as text; nil = nobody does
}

// Result of a run.
type Result struct {
	Cuts   int
	Acked  int // promises in the recordings
	Lost   int // promises that were not kept, summed over all cuts
	Faults int // everything else that must not be: false alarms, order, chains
}

// Failed says whether anything was found.
func (r *Result) Failed() bool { return r.Lost > 0 || r.Faults > 0 }

// Run cuts the power under a load: on each file system, on each data path. An
// error means that it could not be done; what was found is in the result.
func Run(o Options) (total Result, err error) {
	began := time.Now()
	for _, module := range modules {
		// What is missing afterwards is named by who needs it.
		_ = exec.Command("modprobe", module).Run()
	}
	for _, fs := range fileSystems {
		var sum Result
		for i, path := range []string{"portable", "io_uring"} {
			s := &stand{
				fs: fs, io: path, child: o.Child, save: &o.Save,
				memory: filepath.Join(o.Memory, "powerloss"), disk: filepath.Join(o.Disk, "powerloss"),
			}
			t := &tally{o: &o, s: s, began: began, sum: &sum}
			cuts := o.Cuts/2 + i*(o.Cuts%2)
			if err := t.run(cuts, rand.New(rand.NewPCG(o.Seed, uint64(i)))); err != nil {
				return total, fmt.Errorf("%s, %s: %w", fs.name, path, err)
			}
		}
		o.Say("fs=%s cuts=%d acked=%d lost=%d%s", fs.name, sum.Cuts, sum.Acked, sum.Lost, sum.others())
		total.Cuts, total.Acked = total.Cuts+sum.Cuts, total.Acked+sum.Acked
		total.Lost, total.Faults = total.Lost+sum.Lost, total.Faults+sum.Faults
	}
	o.Say("cuts=%d lost=%d%s", total.Cuts, total.Lost, total.others())
	return total, nil
}

// others is the end of a line about faults that are not losses.
func (r *Result) others() string {
	if r.Faults == 0 {
		return ""
	}
	return fmt.Sprintf(" other_faults=%d", r.Faults)
}

// tally counts what is found on one stand.
type tally struct {
	o     *Options
	s     *stand
	began time.Time
	sum   *Result
	told  int
}

func (t *tally) run(cuts int, r *rand.Rand) (err error) {
	for _, dir := range []string{t.s.memory, t.s.disk} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	rec, err := t.s.record()
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	t.say("recorded: %d entries of the log of writes, %d lines of promises", len(rec.entries), len(rec.notes))
	var promises, checked, lost int
	for _, n := range rec.notes {
		if n.promise != nil {
			promises++
		}
	}
	t.sum.Acked += promises
	var torn int64
	if err := rec.try(cuts, r, func(c cut, v *verdict) {
		checked, lost, torn = checked+v.acked, lost+v.lost, torn+v.torn
		t.sum.Cuts++
		t.add(c.String(), v)
	}); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	t.say("%d cuts: %d promises looked up, %d lost, %d bytes of torn tails", cuts, checked, lost, torn)
	if cuts > 0 && checked == 0 {
		return errors.New("invalid: no cut had a promise before it")
	}
	for _, how := range []failure{dropWrites, errorWrites} {
		for range t.o.Rounds {
			v, err := t.s.fail(how, r)
			if err != nil {
				return fmt.Errorf("%s: %w", how, err)
			}
			t.add(string(how), v)
			t.say("%s: %d promises looked up, %d lost", how, v.acked, v.lost)
		}
	}
	return nil
}

// say tells how far it is, and since when it runs.
func (t *tally) say(format string, args ...any) {
	t.o.Say("%4.0f s %s %s: %s", time.Since(t.began).Seconds(), t.s.fs.name, t.s.io, fmt.Sprintf(format, args...))
}

// add adds a verdict; the first bad ones are told in full.
func (t *tally) add(what string, v *verdict) {
	t.sum.Lost += v.lost
	t.sum.Faults += v.others
	if !v.bad() {
		return
	}
	if t.told++; t.told > 3 {
		return
	}
	for _, f := range v.faults[:min(len(v.faults), 3)] {
		t.say("%s: %s", what, f)
	}
	t.say("%s: %d promises of %d lost, %d other faults", what, v.lost, v.acked, v.others)
}

// RunLoad runs the load if this process was started for that, and says whether it
// was. disk stands between the engines and their files; nil = nothing does.
func RunLoad(disk func(path string) (vfs.FS, error)) (bool, error) {
	text, ok := os.LookupEnv(loadVariable)
	if !ok {
		return false, nil
	}
	var o loadOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return true, fmt.Errorf("%s: %w", loadVariable, err)
	}
	if disk != nil {
		fs, err := disk(o.IO)
		if err != nil {
			return true, err
		}
		o.FS = fs
	}
	var marked *mapped
	if o.Mark != "" {
		m, err := openMapped(o.Mark)
		if err != nil {
			return true, err
		}
		marked = m
	}
	o.Watch = func(lines int) error {
		if marked != nil {
			if err := marked.message(fmt.Sprintf("mark "+lineMark, lines)); err != nil {
				return err
			}
		}
		_, err := fmt.Println(lines)
		return err
	}
	return true, load(context.Background(), o)
}
