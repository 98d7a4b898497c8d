package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
	"github.com/stretchr/testify/require"
)

// TestDurableClockBoundCoversStamps: whatever stamps were acknowledged, a restart behind
// the journal's bound stamps behind them (I8).
func TestDurableClockBoundCoversStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t)
		a.options.Peers = nil
		a.start()
		for range 5 {
			a.put(1, "key", "value", engine.Local)
			<-time.After(3 * time.Second) // of the bubble's time
		}
		a.put(1, "key", "last", engine.Local)
		a.crash()
		j, _, err := journal.Open(journal.Options{
			FS: a.disk, Dir: "/data/own", Kind: journal.Own, Cluster: wire.ClusterIDOf("test"),
			Site: wire.SiteIDOf("test", "site-a"), SegmentBytes: a.options.SegmentBytes,
		})
		require.NoError(t, err)
		defer j.Close()
		tails := j.Tails()
		require.Len(t, tails, 1)
		require.GreaterOrEqual(t, j.Control().ClockBound, tails[0].LastStamp)
	})
}
