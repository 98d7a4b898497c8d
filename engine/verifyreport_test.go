package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/node"
)

func TestShardsWithOneReasonAreOneGap(t *testing.T) {
	down, full := errors.New("no link"), errors.New("no room")
	var p VerifyPeer
	p.gap("journals", 0, 64, down)
	p.gap("journals", 64, 256, down)
	p.gap("state", 0, 1, down)
	p.gap("state", 1, 2, full)
	p.gap("state", 2, 3, down)
	p.gap("state", 4, 5, down)
	p.gap("state", 5, 256, fmt.Errorf("shard 5: %w", context.DeadlineExceeded))
	require.Equal(t, []VerifyGap{
		{"journals", 0, 256, "no link", false}, {"state", 0, 1, "no link", false},
		{"state", 1, 1, "no room", false},
		{"state", 2, 1, "no link", false}, {"state", 4, 1, "no link", false}, {"state", 5, 251, "time ran out", false},
	}, p.NotCompared)
}

// A report is bounded, however much there is to tell (I10), and says that there is more.
func TestAReportsListsAreBounded(t *testing.T) {
	var p VerifyPeer
	for shard := range 3 * listMax {
		p.gap("state", shard, shard+1, fmt.Errorf("reason %d", shard))
		p.differ(VerifyDifference{Shard: shard})
	}
	require.Len(t, p.NotCompared, listMax)
	require.Equal(t, 2*listMax, p.MoreNot)
	require.Len(t, p.Differences, listMax)
	require.True(t, p.More)
}

func TestTheWorstPeerIsTheResult(t *testing.T) {
	for _, c := range []struct {
		results []string
		cut     error
		result  string
		ended   string
	}{
		{[]string{VerifyEqual, VerifyEqual}, nil, VerifyEqual, ""},
		{[]string{VerifyEqual, VerifyEqual}, context.DeadlineExceeded, VerifyEqual, ""},
		{[]string{VerifyEqual, VerifyUnreachable}, nil, VerifyPartly, ""},
		{[]string{VerifyUnreachable, VerifyUnreachable}, nil, VerifyUnreachable, ""},
		{[]string{VerifyEqual, VerifyPartly}, context.DeadlineExceeded, VerifyPartly, VerifyTimeout},
		{[]string{VerifyDifferent, VerifyPartly}, context.Canceled, VerifyDifferent, VerifyInterrupted},
		{[]string{VerifyUnreachable, VerifyDifferent}, nil, VerifyDifferent, ""},
	} {
		var r VerifyReport
		for _, result := range c.results {
			r.Peers = append(r.Peers, VerifyPeer{Result: result})
		}
		r.conclude(c.cut)
		require.Equal(t, c.result, r.Result, "%v", c)
		require.Equal(t, c.ended, r.Ended, "%v", c)
	}
}

// Nothing is called equal that was not compared, and unreachable only without a link.
func TestAPeersResultIsWhatWasCompared(t *testing.T) {
	none := fmt.Errorf("site-b: %w", node.ErrNoLink)
	for _, c := range []struct {
		p      VerifyPeer
		gap    error
		result string
	}{
		{VerifyPeer{ShardsAsked: 4, ShardsCompared: 4}, nil, VerifyEqual},
		{VerifyPeer{ShardsAsked: 4, ShardsCompared: 3}, errors.New("stopped"), VerifyPartly},
		{VerifyPeer{ShardsAsked: 4}, none, VerifyUnreachable},
		{VerifyPeer{ShardsAsked: 4, LogsCompared: 4}, none, VerifyPartly},
		{VerifyPeer{ShardsAsked: 4}, context.Canceled, VerifyPartly},
	} {
		if c.gap != nil {
			c.p.gap("state", c.p.ShardsCompared, 4, c.gap)
		}
		c.p.conclude(c.gap)
		require.Equal(t, c.result, c.p.Result)
	}
}
