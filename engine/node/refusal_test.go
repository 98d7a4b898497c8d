package node

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/stream"
)

// A refusal holds as long as nothing newer is known: a peer that cannot be reached any
// more refuses nothing.
func TestRefusalEndsWithANewerFact(t *testing.T) {
	w, a, b := pair()
	b.c.Primary = b.c.Site
	a.open()
	b.open()
	w.pass(3 * time.Second)
	require.Equal(t, "refused", peerOf(a).Link)
	b.crash()
	b.noDial, a.noDial = true, true
	w.pass(20 * time.Second)
	a.node.peers[0].Phase = stream.PhaseDialing
	a.step(&LinkDown{Peer: b.c.Site, Err: errors.New("connection refused")})
	p := peerOf(a)
	require.Equal(t, "down", p.Link)
	require.Equal(t, "connection refused", p.Reason)
}
