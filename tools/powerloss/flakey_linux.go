package powerloss

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

const flakeyName = "powerloss-flakey"

// failure is how a device of dm-flakey fails.
type failure string

const (
	dropWrites  failure = "drop_writes"  // they succeed, and nothing is written any more
	errorWrites failure = "error_writes" // they fail
)

// fail runs the load, lets the device fail in the midst of it, kills the load,
// makes the device whole, mounts it again, and checks. After dropped writes what
// was promised before they began must be there; with failed ones, everything.
func (s *stand) fail(how failure, r *rand.Rand) (v *verdict, err error) {
	if err := s.makeImage(); err != nil {
		return nil, err
	}
	var undo undoes
	defer func() { err = errors.Join(err, undo.run()) }()
	base, err := attach(s.image())
	if err != nil {
		return nil, err
	}
	undo.add(base.close)
	whole := target{"linear", base.path + " 0"}
	m, err := createMapped(flakeyName, s.fs.bytes, whole)
	if err != nil {
		return nil, err
	}
	undo.add(m.close)
	if err := mount(m.path, s.mounted(), s.fs.name); err != nil {
		return nil, err
	}
	broken := target{"flakey", fmt.Sprintf("%s 0 0 3600 1 %s", base.path, how)}
	count, ended, err := s.failUnderLoad(m, broken, how, r)
	if err := errors.Join(err, unmount(s.mounted()), m.load(whole)); err != nil {
		return nil, err
	}
	if err := mount(m.path, s.mounted(), s.fs.name); err != nil {
		v = &verdict{}
		v.fault("the file system does not recover: %v", err)
		return v, nil
	}
	undo.add(func() error { return unmount(s.mounted()) })
	notes, err := s.notes()
	if err != nil {
		return nil, err
	}
	if how == errorWrites {
		count = len(notes) // the load can have written no note after its engine stopped
	}
	if v, err = s.look(notes[:count], true); err == nil && !ended {
		v.fault("the load went on for %s after its writes failed", endTime)
	}
	return v, err
}

// failUnderLoad returns how many lines counted before the device failed, and
// whether the load ended as it should.
func (s *stand) failUnderLoad(m *mapped, broken target, how failure, r *rand.Rand) (count int, ended bool, err error) {
	load, err := s.start("")
	if err != nil {
		return 0, false, err
	}
	if err := load.until(100+r.IntN(linesMin), loadTime); err != nil {
		return 0, false, err
	}
	count = load.count
	if err := m.load(broken); err != nil {
		return 0, false, errors.Join(err, load.kill())
	}
	if how == errorWrites {
		return count, load.drain(), nil
	}
	if err := load.until(count+100, loadTime); err != nil { // it goes on as if nothing were
		return 0, false, err
	}
	return count, true, load.kill()
}
