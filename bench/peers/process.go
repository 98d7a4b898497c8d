package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// used reads the process's counters. Reading the allocations stops the world for
// some microseconds, outside the measured time at the sender.
func used() (usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("getrusage: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{at: time.Now(), cpu: cpuOf(&r), mallocs: m.Mallocs, switches: r.Nvcsw + r.Nivcsw}, nil
}

// sameCongestion switches every TCP socket of this process and reads it back, so
// that no contender is compared by the pacing that the system happens to choose.
// Sockets that a contender opens by itself are reached too. It returns how many
// of them are connected.
func sameCongestion(name string) (connected int, err error) {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, err
	}
	for _, entry := range dir {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil ||
			protocol != unix.IPPROTO_TCP {
			continue
		}
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
			return 0, fmt.Errorf("socket %d: congestion control %q: %w", fd, name, err)
		}
		have, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || have != name {
			return 0, fmt.Errorf("socket %d: congestion control is %q, not %q (%v)", fd, have, name, err)
		}
		if _, err := unix.Getpeername(fd); err == nil {
			connected++
		} else if !errors.Is(err, unix.ENOTCONN) {
			return 0, fmt.Errorf("socket %d: %w", fd, err)
		}
	}
	return connected, nil
}

// onCPU runs start with its thread on one processor, so that a process started
// there lives there from its first instruction; below 0 it only runs it.
func onCPU(cpu int, start func() error) error {
	if cpu < 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("affinity to processor %d: %w", cpu, err)
	}
	err := start()
	if back := unix.SchedSetaffinity(0, &all); back != nil {
		return errors.Join(err, fmt.Errorf("affinity: %w", back))
	}
	return err
}
