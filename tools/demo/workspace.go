package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// workspace is the directory of a run: each site's data and log.
type workspace struct {
	dir  string
	made bool // by this run, which may remove it
}

// ErrNotEmpty: the directory that was named for the run holds something.
var ErrNotEmpty = errors.New("is not empty")

// openWorkspace takes an empty directory, or makes a temporary one.
func openWorkspace(dir string) (workspace, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "cfs-demo-")
		return workspace{dir, true}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return workspace{}, err
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s %w", dir, ErrNotEmpty)
	}
	return workspace{dir, false}, err
}

func (w workspace) data(site string) string { return filepath.Join(w.dir, site) }

func (w workspace) log(site string) string { return filepath.Join(w.dir, site+".log") }

// clear removes what the run made, and nothing else.
func (w workspace) clear() error {
	if w.made {
		return os.RemoveAll(w.dir)
	}
	var errs []error
	for _, site := range append(siteNames[:], "copy") {
		errs = append(errs, os.RemoveAll(w.data(site)), os.RemoveAll(w.log(site)))
	}
	for _, scenario := range DrillScenarios() {
		errs = append(errs, os.RemoveAll(filepath.Join(w.dir, scenario)))
	}
	return errors.Join(errs...)
}

// tidy clears after a run that went well or was interrupted. What a failed run
// leaves is evidence. It returns where that is, "" if it is gone.
func (w workspace) tidy(ok, keep bool, err error) (string, error) {
	if keep || err == nil && !ok || err != nil && !errors.Is(err, context.Canceled) {
		return w.dir, err
	}
	return "", errors.Join(err, w.clear())
}
