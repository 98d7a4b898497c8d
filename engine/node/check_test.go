package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// TestCheckFindsBrokenInequality: one of each room, broken on purpose.
func TestCheckFindsBrokenInequality(t *testing.T) {
	for name, spoil := range map[string]func(*Node){
		"admission": func(n *Node) { n.own[0].Suspect = true },
		"links":     func(n *Node) { n.strangers++ },
		"session":   func(n *Node) { n.peers[0].Phase = stream.PhaseDown },
		"reader":    func(n *Node) { n.peers[0].Phase = stream.PhaseSeek },
		"confirmed": func(n *Node) { n.peers[0].Logs[0].Durable.Seq += 1000 },
		"mirrors":   func(n *Node) { n.mirrorLog(wire.LogID{Site: n.peers[0].Site}).Floor.Seq = 1000 },
	} {
		_, a, _ := livelyPair()
		require.NoError(t, a.node.Check(), name)
		spoil(a.node)
		require.Error(t, a.node.Check(), name)
	}
}
