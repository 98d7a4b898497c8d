//go:build powerloss

package powerloss

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/stretchr/testify/require"
)

var (
	cuts   = flag.Int("powerloss.cuts", 200, "moments at which the power fails, on each file system")
	rounds = flag.Int("powerloss.rounds", 1, "loads on a device that fails, of each kind")
	seed   = flag.Uint64("powerloss.seed", 1, "of what is chosen")
	saved  = flag.String("powerloss.saved", "", "a disk that a run saved, to look at it again")
	red    = flag.Bool("powerloss.red", false, "no flush reaches the disk: something must be lost")
)

const plantVariable = "CLAUDEFS_POWERLOSS_NOFLUSH"

func TestMain(m *testing.M) {
	var disk func(string) (vfs.FS, error)
	if os.Getenv(plantVariable) != "" {
		disk = withoutFlush
	}
	ran, err := RunLoad(disk)
	if !ran {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestNothingPromisedIsLostWithThePower needs root, the device mapper, loop
// devices and both file systems: it runs in the guest of make powerloss.
func TestNothingPromisedIsLostWithThePower(t *testing.T) { // I1, I2, I3, I4, I9, I12
	if *red {
		t.Setenv(plantVariable, "1")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	result, err := Run(Options{
		Cuts: *cuts, Rounds: *rounds, Seed: *seed, Memory: "/dev/shm", Disk: "/tmp", Child: self,
		Say:  func(format string, args ...any) { fmt.Printf("##show "+format+"\n", args...) },
		Save: os.Stdout,
	})
	require.NoError(t, err)
	require.False(t, result.Failed(), "%+v", result)
}

// TestSavedDisk looks again at what ci/powerloss/run saved of a run that failed.
func TestSavedDisk(t *testing.T) {
	if *saved == "" {
		t.Skip("no disk is named: -powerloss.saved")
	}
	faults, err := LookAgain(*saved, t.TempDir())
	require.NoError(t, err)
	require.Empty(t, faults)
}

// withoutFlush is the planted fault: files whose Sync does nothing, and no queue
// of forced writes, so that journals write and sync.
func withoutFlush(io string) (vfs.FS, error) {
	if io == "portable" {
		return unflushed{vfs.OS{}}, nil
	}
	d, err := uring.OpenDisk(uring.DiskOptions{})
	return unflushed{d}, err
}

type unflushed struct{ vfs.FS }

func (u unflushed) Create(name string) (vfs.File, error) { return wrap(u.FS.Create(name)) }

func (u unflushed) Open(name string) (vfs.File, error) { return wrap(u.FS.Open(name)) }

func (u unflushed) SyncDir(string) error { return nil }

func wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unflushedFile{f}, nil
}

type unflushedFile struct{ vfs.File }

func (unflushedFile) Sync() error { return nil }
