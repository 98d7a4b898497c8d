package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets this test binary be the children of the command under test.
func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if child(role, os.Getenv(envSpec)) != nil {
			os.Exit(exitFailed)
		}
		return
	}
	os.Exit(m.Run())
}

// diskDir is a directory that is not in memory: the test's own, where it can be.
func diskDir(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{t.TempDir(), "."} {
		if memory, err := inMemory(dir); err == nil && !memory {
			return dir
		}
	}
	t.Skip("no directory on a disk: the temporary one and this one are in memory")
	return ""
}

func TestEveryKindOfContenderRunsEndToEnd(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.md")
	only := "^(stream-256B/(ours-1|net-coalesce|grpc-record|jetstream)|stream-64KiB/(ours-256|grpc-batch)|" +
		"trip-link/|open-50/(ours-1|net)|busy-trip-durable/ours-1|" +
		"durable-64KiB/(ours-1|net|grpc|jetstream)|journal-|limits/memcpy)"
	var stdout, stderr bytes.Buffer
	args := []string{"-quick", "-only", only, "-dir", diskDir(t), "-out", report}
	code := command(t.Context(), args, &stdout, &stderr)
	require.Equal(t, exitDone, code, stderr.String())
	require.NotContains(t, stderr.String(), "FAILED")

	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	require.Contains(t, lines, "ratio P1-record-vs-grpc+log shards=1 - goal >=6 invalid (1 rounds, 5 are needed)")
	for _, line := range lines {
		require.Regexp(t, `^ratio P\d+b?-\S+ (shards=\d+ )?\S+ goal [<>]=\S+ (ok|short|invalid \(.+\))$`, line)
	}
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	require.Contains(t, string(text), "### stream-256B")
	require.Contains(t, string(text), "| net-coalesce | pinned |")
}

func TestGateTurnsAnInvalidGoalIntoItsExitCode(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"-quick", "-gate", "-only", "journal-256B/(pwrite|journal-16)", "-dir", diskDir(t)}
	require.Equal(t, exitShort, command(t.Context(), args, &stdout, &stderr), stderr.String())
	require.Contains(t, stdout.String(), "ratio P8-commits-at-depth - goal >=5 invalid")
}

func TestWrongArgumentsRunNothing(t *testing.T) {
	for _, args := range [][]string{
		{"-only", "("}, {"-only", "no such row"}, {"-rounds", "0"}, {"more"},
		{"-dir", "/dev/shm"}, {"-dir", "/nowhere"}, {"-out", "/nowhere/report.md"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, command(t.Context(), args, &stdout, &stderr), "%v", args)
		require.NotEmpty(t, stderr.String())
	}
}

// filled is a run in which every contender was as fast as its figure, and ours by
// factor; jitter spreads the rounds of ours.
func filled(factor, jitter float64) *results {
	r := newResults(roundsMin, rows(), true)
	for _, row := range r.rows {
		for _, pin := range row.pins() {
			for _, name := range row.contenders {
				rate, ok := figures[row.name][name]
				if !ok {
					rate = 1000
				}
				for round := range r.rounds {
					scale := 1.0
					if strings.HasPrefix(name, "ours") {
						scale = factor * (1 + jitter*float64(round))
					}
					m := &measure{Bytes: uint64(rate * scale * 1e6), Elapsed: time.Second, CPU: time.Second}
					m.Records = m.Bytes / uint64(row.recordBytes)
					if row.mode == modeTrip {
						m.P50 = time.Duration(rate * 1e3)
					}
					at := cell{pin, row.name, name}
					r.measures[at] = append(r.measures[at], m)
				}
			}
		}
	}
	set := func(pin pinning, row, name string, rate float64) {
		for _, m := range r.of(pin, row, name) {
			m.Bytes = uint64(rate * 1e6)
		}
	}
	set(unpinned, "limits", "memcpy", figureMemcpyMBps)
	set(pinned, "stream-1MiB", "iperf3-cubic", figureLoopMBps)
	return r
}

func lineOf(t *testing.T, r *results, name, shards string) string {
	t.Helper()
	all := r.verdicts()
	for i := range all {
		if all[i].goal.name == name && (shards == "" || all[i].shards == "shards="+shards) {
			return all[i].String()
		}
	}
	require.FailNow(t, "no such goal", name)
	return ""
}

func TestGoalIsOkOrShortByTheMedianOfTheRounds(t *testing.T) {
	const name = "P2-64KiB-vs-grpc+log"
	require.Equal(t, "ratio P2-64KiB-vs-grpc+log shards=256 4.31 goal >=2 ok",
		lineOf(t, filled(4.31, 0), name, "256"))
	require.Equal(t, "ratio P2-64KiB-vs-grpc+log shards=1 1.90 goal >=2.5 short",
		lineOf(t, filled(1.9, 0), name, "1"))
}

func TestWideSpreadIsNeitherOkNorShort(t *testing.T) {
	require.Equal(t, "ratio P2-64KiB-vs-grpc+log shards=1 - goal >=2.5 invalid (spread 33 %)",
		lineOf(t, filled(10, 0.25), "P2-64KiB-vs-grpc+log", "1"))
}

func TestBusyMachineJudgesNothingUnlessAsked(t *testing.T) {
	r := filled(4.31, 0)
	r.noise["stream-64KiB"] = 0.97
	const name = "P2-64KiB-vs-grpc+log"
	require.Equal(t, "ratio P2-64KiB-vs-grpc+log shards=1 - goal >=2.5 "+
		"invalid (processors 97 % busy with something else)",
		lineOf(t, r, name, "1"))
	r.busy = true
	require.Contains(t, lineOf(t, r, name, "1"), "4.31 goal >=2.5 ok")
}

func TestContenderBelowItsOwnFigureVoidsItsGoals(t *testing.T) {
	r := filled(10, 0)
	for _, m := range r.of(pinned, "stream-64KiB", "grpc-batch") {
		m.Bytes /= 2
	}
	require.Contains(t, lineOf(t, r, "P2-64KiB-vs-grpc+log", "1"),
		"- goal >=2.5 invalid (grpc-batch ran at 658 MB/s, its own figure is 1316 here)")
	require.NotContains(t, lineOf(t, r, "P3-64KiB-vs-net+log", "1"), "invalid")

	// A machine that is slower by half excuses it.
	for _, m := range append(r.of(unpinned, "limits", "memcpy"), r.of(pinned, "stream-1MiB", "iperf3-cubic")...) {
		m.Bytes /= 2
	}
	require.NotContains(t, lineOf(t, r, "P2-64KiB-vs-grpc+log", "1"), "invalid")
}

func TestEveryGoalHasItsLine(t *testing.T) {
	var all []string
	verdicts := filled(1, 0).verdicts()
	for i := range verdicts {
		all = append(all, verdicts[i].String())
	}
	text := strings.Join(all, "\n")
	for _, goal := range strings.Fields("P1 P2 P3 P5 P6 P6b P7 P7b P8 P9 P10 P12 P13 P14 P16 P17 P18") {
		require.Contains(t, text, fmt.Sprintf("ratio %s-", goal))
	}
	for _, v := range verdicts {
		if v.goal.row != "" && len(v.goal.ours) == 2 {
			require.NotEmpty(t, v.shards, "one hot shard and 256: %s", v.goal.name)
		}
	}
}

func TestWireOverheadIsThatOfRealEncodings(t *testing.T) {
	one, err := overhead(1, 64<<10)
	require.NoError(t, err)
	require.InDelta(t, 0.0033, one, 0.0005)
	many, err := overhead(1000, 256)
	require.NoError(t, err)
	require.InDelta(t, 0.09, many, 0.01)
}

func TestFrameThatWasChangedOrLostIsNotCounted(t *testing.T) {
	body := make([]byte, 2*64)
	putNumber(body, 1)
	putNumber(body[64:], 2)
	head := make([]byte, headBytes)
	putHead(head, 2, 1, body)
	c := checker{recordBytes: 64}
	require.NoError(t, c.take(readHead(head), body))
	require.ErrorContains(t, c.take(readHead(head), body), "record 1 arrived, 3 was due")
	body[70] ^= 1
	require.ErrorContains(t, (&checker{recordBytes: 64}).take(readHead(head), body), "digest does not hold")
}

func TestQuantilesInterpolate(t *testing.T) {
	xs := []float64{5, 1, 4, 2, 3}
	require.Equal(t, 3.0, median(xs))
	require.Equal(t, 2.0, interquartile(xs))
	require.Equal(t, 2.5, median([]float64{1, 2, 3, 4}))
}
