package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How busy a machine may be before a row, sampled while nothing of ours runs but
// what the kernel still writes back: beyond quietShareMax the report says so,
// beyond busyShareMax the row's races are not judged.
const (
	quietShareMax = 0.05
	busyShareMax  = 0.20
)

// busyShare is the share of all processors' time that was used during d, stolen
// time included.
func busyShare(d time.Duration) (float64, error) {
	busy, total, err := processorTime()
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	busyAfter, totalAfter, err := processorTime()
	if err != nil {
		return 0, err
	}
	if totalAfter == total {
		return 0, nil
	}
	return float64(busyAfter-busy) / float64(totalAfter-total), nil
}

// processorTime reads the first line of /proc/stat: user nice system idle iowait
// irq softirq steal, in ticks since boot.
func processorTime() (busy, total uint64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 {
		return 0, 0, fmt.Errorf("/proc/stat: %q", line)
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		total += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, total, nil
}

// machine describes where it ran, for the report.
func machine(disk string, procs int) (lines []string) {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for a bad address only
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	lines = append(lines,
		fmt.Sprintf("processors: %d × %s", runtime.NumCPU(), processorModel()),
		fmt.Sprintf("memory: %.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30)),
		fmt.Sprintf("kernel: %s", unix.ByteSliceToString(u.Release[:])),
		fmt.Sprintf("go: %s, GOMAXPROCS=%d in every process", runtime.Version(), procs),
		fmt.Sprintf("disk of the durable rows: %s", fileSystem(disk)),
		fmt.Sprintf("congestion control: %s on every socket of every contender", congestion),
	)
	return lines
}

func processorModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if name, model, ok := strings.Cut(scan.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown"
}

func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err.Error()
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return fmt.Sprintf("type %#x", st.Type)
}

// inMemory says whether a directory's files are nowhere else.
func inMemory(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st.Type == unix.TMPFS_MAGIC, nil
}
