package powerloss

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// loaded runs a load on ordinary files until so many lines were noted.
func loaded(t *testing.T, lines int) (dir string, notes []note) {
	t.Helper()
	dir = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ledger := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, load(ctx, loadOptions{Dir: dir, Ledger: ledger, IO: "portable", Watch: func(n int) error {
		if n >= lines {
			cancel()
		}
		return nil
	}}))
	b, err := os.ReadFile(ledger)
	require.NoError(t, err)
	notes, err = readLedger(bytes.NewReader(b))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(notes), lines)
	return dir, notes
}

func TestWhatWasPromisedIsThere(t *testing.T) { // I1
	dir, notes := loaded(t, 2000)
	v, err := check(dir, notes)
	require.NoError(t, err)
	require.Empty(t, v.faults)
	require.Zero(t, v.lost)
	require.Positive(t, v.acked)
	require.NotEmpty(t, v.own.entries)
	require.NotEmpty(t, v.mirror.entries)
	before := len(v.own.tails)
	v, err = resume(v, dir, "portable", notes)
	require.NoError(t, err)
	require.Empty(t, v.faults)
	require.Len(t, v.own.tails, before)
	for shard := range wire.Shard(shards) {
		require.Equal(t, uint64(1), v.own.numbers[writers+uint32(shard)])
		require.Equal(t, uint64(1), v.mirror.numbers[writers+uint32(shard)])
	}
}

// The check is tried as well: what was never written is missed, at the right site.
func TestPromiseThatWasNotKeptIsNamed(t *testing.T) {
	dir, notes := loaded(t, 300)
	last := notes[len(notes)-1]
	for i := len(notes) - 1; last.promise == nil || last.level != durable; i-- {
		last = notes[i]
	}
	never := *last.promise
	never.seq += 1_000_000
	v, err := check(dir, append(notes, note{promise: &never}))
	require.NoError(t, err)
	require.Equal(t, 1, v.lost)
	require.Len(t, v.faults, 2, "the own journal and the mirror")
	require.Contains(t, v.faults[0], filepath.Join(source, "own")+": lost: ")
	require.Contains(t, v.faults[1], filepath.Join(mirror, "mirror")+": lost: ")

	other := *last.promise
	other.number++
	v, err = check(dir, append(notes, note{promise: &other}))
	require.NoError(t, err)
	require.Equal(t, 1, v.lost)
	require.Contains(t, v.faults[0], "promised was entry")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, mirror, "mirror")))
	v, err = check(dir, notes)
	require.NoError(t, err)
	want := 0
	for _, n := range notes {
		if n.promise != nil && n.level == durable {
			want++
		}
	}
	require.Equal(t, want, v.lost)
}

func TestLedgerIsReadBack(t *testing.T) {
	inc := wire.Incarnation{1, 2, 3}
	notes := []note{
		{promise: &promise{level: durable, shard: 3, inc: inc, seq: 77, writer: 5, number: 9}},
		{floor: &floor{site: mirror, log: wire.LogID{Site: 1 << 31, Shard: 2}, inc: inc, seq: 1 << 40}},
		{promise: &promise{level: local, inc: inc, seq: 1, writer: 1, number: 1}},
	}
	var b []byte
	for _, n := range notes {
		b = n.append(b)
	}
	got, err := readLedger(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, notes, got)
	got, err = readLedger(bytes.NewReader(b[:len(b)-1]))
	require.NoError(t, err)
	require.Equal(t, notes[:2], got, "a line without its end is none")
	_, err = readLedger(bytes.NewReader([]byte("ack x\n")))
	require.ErrorContains(t, err, "line 1")
}

func TestDamageIsAFalseAlarmOfACut(t *testing.T) { // I9
	dir, notes := loaded(t, 300)
	segments, err := filepath.Glob(filepath.Join(dir, source, "own", "segment-*"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	b, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	b[len(b)/256] ^= 1 // among the first units
	require.NoError(t, os.WriteFile(segments[0], b, 0o600))
	v, err := check(dir, notes)
	require.NoError(t, err)
	require.Positive(t, v.others)
	require.Contains(t, v.faults[0], "false alarm")
}
