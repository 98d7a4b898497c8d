package loadtest

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes a goroutine within some 60 µs of a moment. Go's own timers wait in
// epoll, whose time-outs are whole milliseconds when the process is idle: an
// open loop would measure that. A timerfd is an event of epoll's, and exact. It
// is one goroutine's.
type alarm struct {
	file *os.File
	conn interface{ Control(func(fd uintptr)) error }
	read [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &alarm{file: file, conn: conn}, nil
}

// sleep sleeps for d > 0.
func (a *alarm) sleep(d time.Duration) error {
	var set error
	err := a.conn.Control(func(fd uintptr) {
		set = unix.TimerfdSettime(int(fd), 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	})
	if err == nil {
		err = set
	}
	if err == nil {
		_, err = a.file.Read(a.read[:])
	}
	return err
}

func (a *alarm) close() { _ = a.file.Close() }
