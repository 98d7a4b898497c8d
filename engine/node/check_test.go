package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckFindsBrokenInequality: one of each room, broken on purpose.
func TestCheckFindsBrokenInequality(t *testing.T) {
	for name, spoil := range map[string]func(*Node){
		"admission": func(n *Node) { n.own[0].Suspect = true },
		"links":     func(n *Node) { n.strangers++ },
		"session":   func(n *Node) { n.peers[0].phase = phaseDown },
		"reader":    func(n *Node) { n.peers[0].phase, n.peers[0].reader = phaseSeek, readerAtEnd },
		"confirmed": func(n *Node) { n.peers[0].logs[0].durable.Seq += 1000 },
		"mirrors":   func(n *Node) { n.unclean++ },
	} {
		_, a, _ := livelyPair()
		require.NoError(t, a.node.Check(), name)
		spoil(a.node)
		require.Error(t, a.node.Check(), name)
	}
}
