package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

// askState asks site-b of the state of shard 0.
func askState(a *site, id uint64) {
	q := wire.Verify{ID: id, Kind: wire.VerifyState, Count: 8, Log: wire.LogID{Site: a.c.Site}, Seq: 6}
	a.step(&VerifyAsk{Peer: a.c.Peers[0].Site, Ask: q})
}

func TestQuestionIsAnsweredByThePeer(t *testing.T) {
	w, a, b := livelyPair()
	askState(a, 1)
	w.settle()
	require.Len(t, b.asked, 1)
	require.Equal(t, wire.VerifyState, b.asked[0].Ask.Kind)
	require.Equal(t, wire.Seq(6), b.asked[0].Ask.Seq)
	link := b.asked[0].Link
	b.step(&VerifyAnswer{Link: link, Answer: &wire.Verified{ID: 1, Text: "text"}})
	w.settle()
	require.Len(t, a.told, 1)
	require.NoError(t, a.told[0].Err)
	require.Equal(t, b.c.Site, a.told[0].Peer)

	askState(a, 2)
	askState(a, 3)
	w.settle()
	require.Len(t, b.asked, 3)
	b.step(&VerifyAnswer{Link: link, Answer: &wire.Verified{ID: 2}})
	w.settle()
	require.Len(t, a.told, 1, "question 2 was given up for question 3")
	a.step(&VerifyAsk{Peer: b.c.Site, Ask: wire.Verify{ID: 4, Kind: wire.VerifyEnd, Log: wire.LogID{Site: a.c.Site}}})
	w.settle()
	require.Equal(t, wire.VerifyEnd, b.asked[3].Ask.Kind)
	b.step(&VerifyAnswer{Link: link, Answer: &wire.Verified{ID: 3}})
	w.settle()
	require.Len(t, a.told, 1, "nobody waits any more")
	require.NoError(t, w.fault)
}

// What a site keeps for an asker is given back when the link ends, and who waits
// is told (I10).
func TestLostLinkEndsTheQuestionAtBothEnds(t *testing.T) {
	w, a, b := livelyPair()
	askState(a, 1)
	w.settle()
	cutAll(w)
	w.settle()
	require.Len(t, a.told, 1)
	require.ErrorIs(t, a.told[0].Err, ErrNoLink)
	require.Len(t, b.asked, 2)
	require.Equal(t, wire.VerifyEnd, b.asked[1].Ask.Kind)
	require.Equal(t, b.asked[0].Link, b.asked[1].Link)
	a.noDial, b.noDial = true, true
	askState(a, 2)
	require.Len(t, a.told, 2)
	require.ErrorIs(t, a.told[1].Err, ErrNoLink)
	a.noDial, b.noDial = false, false
	w.pass(10 * time.Second)
	askState(a, 3)
	w.settle()
	require.Len(t, b.asked, 3)
	require.Equal(t, wire.VerifyState, b.asked[2].Ask.Kind)
}

func TestAnswerToAQuestionNeverAskedEndsTheLink(t *testing.T) {
	w, a, _ := livelyPair()
	l := a.node.peers[0].link
	a.step(frame(l, wire.FrameVerified, &wire.Verified{ID: 9}))
	require.True(t, l.Closed)
	require.Empty(t, a.told)
	w.settle()
}
