//go:build rdma && linux && cgo

package rdma

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// descriptor lets goroutines wait, in the runtime's poller, for a descriptor that the
// library made and closes.
type descriptor struct {
	file *os.File // a duplicate: closing it leaves the library's open
	raw  syscall.RawConn
	try  func(uintptr) bool // made once, so that wait allocates nothing
	took error              // the last try's
}

// newDescriptor is for one goroutine at a time to wait with. The function takes an
// event; it answers EAGAIN where there is none.
func newDescriptor(fd int, take func() error) (*descriptor, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	d := &descriptor{file: os.NewFile(uintptr(twin), "verbs")}
	d.try = func(uintptr) bool {
		d.took = take()
		return !errors.Is(d.took, syscall.EAGAIN)
	}
	// Without the poller it would not wake, so that is refused.
	err = d.file.SetReadDeadline(time.Time{})
	if err == nil {
		d.raw, err = d.file.SyscallConn()
	}
	if err != nil {
		_ = d.file.Close() // nothing was written
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	return d, nil
}

// wait waits until an event is taken. After wake the error wraps net.ErrClosed.
func (d *descriptor) wait() error {
	err := d.raw.Read(d.try)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return net.ErrClosed
	}
	if err != nil {
		return err
	}
	return d.took
}

// wake ends wait, now and for good.
func (d *descriptor) wake() { _ = d.file.SetReadDeadline(time.Unix(1, 0)) } // fails when it is closed

func (d *descriptor) close() { _ = d.file.Close() } // nothing was written
