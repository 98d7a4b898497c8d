package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errMissing: a tool that a limit needs is not installed.
var errMissing = errors.New("not installed")

const memcpyBytes = 256 << 20

// soloMemcpy copies what no cache holds.
func soloMemcpy(_ context.Context, s *spec) (measure, error) {
	from, to := make([]byte, memcpyBytes), make([]byte, memcpyBytes)
	for i := 0; i < len(from); i += 4096 {
		from[i], to[i] = 1, 1 // Pages that nobody wrote to are one page.
	}
	s.RecordBytes = memcpyBytes
	return clocked(s, func() (int, error) { return copy(to, from) / memcpyBytes, nil })
}

// tool runs a program and returns what it printed and used.
func tool(ctx context.Context, name string, args ...string) (out []byte, cpu time.Duration, err error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, errMissing)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w: %s%s", name, err, stderr.Bytes(), out)
	}
	return out, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// soloIperf is iperf3, both ends of it where the row's ends are: this process was
// started on the sender's processor.
func soloIperf(algorithm string) func(context.Context, *spec) (measure, error) {
	return func(ctx context.Context, s *spec) (m measure, err error) {
		path, err := exec.LookPath("iperf3")
		if err != nil {
			return m, fmt.Errorf("iperf3: %w", errMissing)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return m, err
		}
		port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		l.Close()
		serve := exec.CommandContext(ctx, path, "-s", "-1", "-p", port, "--forceflush")
		printed, err := serve.StdoutPipe()
		if err != nil {
			return m, err
		}
		if err := onCPU(receiverCPU(), serve.Start); err != nil {
			return m, err
		}
		defer serve.Wait()
		defer serve.Process.Kill()
		if _, err := printed.Read(make([]byte, 256)); err != nil { // It says that it listens.
			return m, fmt.Errorf("iperf3 server: %w", err)
		}
		go func() { // Ends with the server, which nobody must keep from printing.
			for b := make([]byte, 4096); ; {
				if _, err := printed.Read(b); err != nil {
					return
				}
			}
		}()
		seconds := max(1, int(s.Duration.Seconds()))
		out, cpu, err := tool(ctx, "iperf3", "-c", "127.0.0.1", "-p", port, "-t", strconv.Itoa(seconds),
			"-C", algorithm, "-l", "1M", "-J")
		if err != nil {
			return m, err
		}
		var report struct {
			End struct {
				Received struct {
					Bytes   uint64
					Seconds float64
				} `json:"sum_received"`
				Algorithm string `json:"sender_tcp_congestion"`
			}
		}
		if err := json.Unmarshal(out, &report); err != nil {
			return m, fmt.Errorf("iperf3: %w", err)
		}
		if report.End.Algorithm != algorithm {
			return m, fmt.Errorf("iperf3 ran on %q, not %q", report.End.Algorithm, algorithm)
		}
		r := report.End.Received
		m = measure{Bytes: r.Bytes, Records: r.Bytes >> 20, Elapsed: time.Duration(r.Seconds * 1e9), CPU: cpu}
		m.Note = "processor time is the sender's"
		return m, nil
	}
}

// receiverCPU is where the other end belongs: the last processor when this
// process was pinned to one, else anywhere (-1).
func receiverCPU() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil && set.Count() == 1 && set.IsSet(senderProcessor) {
		return receiverProcessor
	}
	return -1
}

// fioJob is one of the disk's limits.
type fioJob struct {
	args  []string
	block int
}

var (
	fioSeq  = fioJob{[]string{"--rw=write", "--bs=1M", "--iodepth=8", "--ioengine=libaio", "--direct=1"}, 1 << 20}
	fioSync = fioJob{[]string{"--rw=write", "--bs=4k", "--fdatasync=1", "--ioengine=psync"}, 4 << 10}
)

// soloFio writes a file that was written before, like a recycled segment.
func soloFio(job fioJob) func(context.Context, *spec) (measure, error) {
	return func(ctx context.Context, s *spec) (m measure, err error) {
		if _, err := exec.LookPath("fio"); err != nil {
			return m, fmt.Errorf("fio: %w", errMissing)
		}
		file := filepath.Join(s.Dir, "fio")
		f, err := os.Create(file)
		if err != nil {
			return m, err
		}
		_, err = f.Write(make([]byte, walFileBytes))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return m, err
		}
		args := append([]string{"--name=limit", "--filename=" + file, "--size=256M", "--overwrite=1", "--time_based",
			fmt.Sprintf("--runtime=%dms", s.Duration.Milliseconds()), "--output-format=json"}, job.args...)
		out, cpu, err := tool(ctx, "fio", args...)
		if err != nil {
			return m, err
		}
		var report struct {
			Jobs []struct {
				Write struct {
					Bytes   uint64 `json:"io_bytes"`
					Runtime int64
				}
			}
		}
		if err := json.Unmarshal(out[max(0, bytes.IndexByte(out, '{')):], &report); err != nil {
			return m, fmt.Errorf("fio: %w", err)
		}
		if len(report.Jobs) != 1 || report.Jobs[0].Write.Runtime == 0 {
			return m, fmt.Errorf("fio reported %d jobs", len(report.Jobs))
		}
		w := report.Jobs[0].Write
		m = measure{Bytes: w.Bytes, Records: w.Bytes / uint64(job.block), CPU: cpu}
		m.Elapsed = time.Duration(w.Runtime) * time.Millisecond
		return m, nil
	}
}
