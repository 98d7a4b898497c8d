package powerloss

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

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
	dir, notes := loaded(t, 3000)
	v, err := check(dir, notes)
	require.NoError(t, err)
	require.Empty(t, v.faults)
	require.Zero(t, v.lost)
	require.Positive(t, v.acked)
	t.Logf("%+v", *v)
}
