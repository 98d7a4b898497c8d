package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/sim"
)

// TestLedgerRowClaimsNoSeedThatWasNotLived: a campaign ends early once enough worlds
// are broken.
func TestLedgerRowClaimsNoSeedThatWasNotLived(t *testing.T) {
	r := &sim.Report{Seeds: 20, Whole: true}
	require.Contains(t, ledgerRow("abc", "1-20", r), "| abc | sim | 1-20 |")
	r.Whole, r.Broken = false, []*sim.Breach{{}, {}, {}}
	require.Contains(t, ledgerRow("abc", "1-2000", r), "| abc | sim | 20 of 1-2000 | 0 | 0 | 3 |")
}

// TestOnlyALedgerTakesRows: what is none is told before the campaign.
func TestOnlyALedgerTakesRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.md")
	ours, err := os.ReadFile("../../docs/ledger.md")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, ours, 0o644))
	require.NoError(t, isLedger(file))
	for text, ok := range map[string]bool{
		"": false, "\n": false, "# Ledger\n": false, "| a | b |": false, "| a |\n\ntext\n": false,
		"# Ledger\n\n| a |\n|---|\n": true,
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		if err := isLedger(file); ok {
			require.NoError(t, err, "%q", text)
		} else {
			require.ErrorContains(t, err, "not a ledger", "%q", text)
		}
	}
}
