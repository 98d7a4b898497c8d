package uring_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
)

// stormRounds is how many threads begin their first operation in a storm; some
// hundreds make the kernel give one up.
const stormRounds = 300

// TestSignalsFailNoOperation: each thread's first operation that must wait is for a
// worker that signals keep from being made (I10).
func TestSignalsFailNoOperation(t *testing.T) {
	d := openDisk(t, uring.SetupBest)
	f, err := d.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	block := [][]byte{make([]byte, 4096)}
	for name, work := range map[string]func() error{
		"file": func() error {
			if err := f.WriteAt(block, 0); err != nil {
				return err
			}
			return f.Sync()
		},
		"queue": func() error {
			q, err := d.OpenQueue(vfs.QueueOptions{Depth: 1, Buffered: true})
			if err != nil {
				return err
			}
			q.Write(f, block, 0, 1)
			done := q.Wait(nil, true)
			if err := q.Close(); err != nil {
				return err
			}
			return done[0].Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := d.Stats().Revoked
			for range stormRounds {
				require.NoError(t, inStorm(work))
			}
			t.Logf("%d operations were given up and made again", d.Stats().Revoked-before)
		})
	}
	require.NoError(t, f.Close())
}

// inStorm works on a thread of its own, which signals interrupt all the time.
func inStorm(work func() error) error {
	thread, done, over := make(chan int), make(chan error), make(chan struct{})
	go func() { // ends with the work
		runtime.LockOSThread() // for ever: the thread ends with it
		thread <- unix.Gettid()
		done <- work()
	}()
	quiet := make(chan struct{})
	go func() { // ends when the work is done
		defer close(quiet)
		pid, tid := unix.Getpid(), <-thread
		for {
			select {
			case <-over:
				return
			default:
				_ = unix.Tgkill(pid, tid, unix.SIGURG) // what Go's runtime itself interrupts with
			}
		}
	}()
	err := <-done
	close(over)
	<-quiet
	return err
}
