package engine_test

import (
	"strings"
	"testing"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// TestSlowFrameArrives: a megabyte takes four times
// HeartbeatTimeout on this path, and nothing else comes meanwhile. The session lives,
// because the bytes move (I14).
func TestSlowFrameArrives(t *testing.T) {
	for _, io := range []string{"portable", "io_uring"} {
		t.Run(io, func(t *testing.T) {
			if io == "io_uring" {
				needRing(t)
			}
			a, b, proxy := realPair(t, io)
			a.put(1, "first", "v", engine.Applied(1))
			sessions := a.Status().Peers[0].Sessions
			proxy.Bandwidth(linktest.ToTarget, 256<<10)
			large := strings.Repeat("x", wire.EntryPayloadBytesMax)
			a.put(1, "large", large, engine.Applied(1))
			require.Equal(t, large, b.value(1, "large"))
			require.Equal(t, sessions, a.Status().Peers[0].Sessions)
		})
	}
}
