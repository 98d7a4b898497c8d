//go:build rdma && linux && cgo

package rdma_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
)

// acking answers every frame from memory until the link ends.
func acking(c link.Conn) error {
	var answer []byte
	for {
		f, err := c.Recv()
		if err != nil {
			return err
		}
		answer = (&wire.Ack{Level: wire.LevelReceived, Number: f.Envelope.Number}).AppendTo(answer[:0], 1)
		f.Release()
		if err := c.Send([][]byte{answer}); err != nil {
			return err
		}
	}
}

// perftest reads what the script ci/rxe/perftest measured before, in this guest and
// run: lines of a name and a number; nil where it did not run.
func perftest(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(os.TempDir() + "/perftest")
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	figures := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		var name string
		var figure float64
		_, err := fmt.Sscan(line, &name, &figure)
		require.NoError(t, err, line)
		figures[name] = figure
	}
	return figures
}

// show prints a figure, and perftest's with the ratio where it is known.
func show(t *testing.T, name, unit string, ours, theirs float64) {
	if theirs == 0 {
		t.Logf("##show %s: %.1f %s", name, ours, unit)
		return
	}
	t.Logf("##show %s: %.1f %s, perftest %.1f: %.2f x", name, ours, unit, theirs, ours/theirs)
}

// What a link costs over the bare verbs, with acks from memory. Printed and not judged:
// in an emulated guest neither figure means anything but beside the other.
func TestRealStreamAndAckBesidePerftest(t *testing.T) {
	needDevice(t)
	figures := perftest(t)
	memory, o := lending(t, 64<<10)
	r := &rig{Transport: openReal(t, o)}
	dialed, accepted := r.pair(t)
	done := make(chan error, 1)
	go func() { done <- acking(accepted) }() // ends with the link
	took := func(count int) time.Duration {
		const window = 64
		begin := time.Now()
		for i := range count + window {
			if i < count {
				require.NoError(t, dialed.SendLent([][]byte{memory}, func() {}))
			}
			if i >= window {
				f, err := dialed.Recv()
				require.NoError(t, err)
				f.Release()
			}
		}
		return time.Since(begin)
	}
	fillFrame(memory, 1)
	took(100)
	const count = 1000
	show(t, "stream of 64 KiB frames, acknowledged", "MiB/s", count*64/1024/took(count).Seconds(), figures["bw"])

	small := [][]byte{newFrame(256, 1)}
	trips := make([]time.Duration, count)
	for i := range trips {
		begin := time.Now()
		require.NoError(t, dialed.Send(small))
		f, err := dialed.Recv()
		require.NoError(t, err)
		f.Release()
		trips[i] = time.Since(begin)
	}
	slices.Sort(trips)
	// ib_write_lat tells half a round trip.
	show(t, "256 B written and acknowledged", "us", float64(trips[count/2].Nanoseconds())/1e3, 2*figures["lat"])
	require.NoError(t, dialed.Close())
	<-done
}
