package verify

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
	var p PeerReport
	p.gap("journals", 0, 64, down)
	p.gap("journals", 64, 256, down)
	p.gap("state", 0, 1, down)
	p.gap("state", 1, 2, full)
	p.gap("state", 2, 3, down)
	p.gap("state", 4, 5, down)
	p.gap("state", 5, 256, fmt.Errorf("shard 5: %w", context.DeadlineExceeded))
	require.Equal(t, []Gap{
		{"journals", 0, 256, "no link", false}, {"state", 0, 1, "no link", false},
		{"state", 1, 1, "no room", false},
		{"state", 2, 1, "no link", false}, {"state", 4, 1, "no link", false}, {"state", 5, 251, "time ran out", false},
	}, p.NotCompared)
}

// A report is bounded, however much there is to tell (I10), and says that there is more.
func TestReportsListsAreBounded(t *testing.T) {
	var p PeerReport
	for shard := range 3 * listMax {
		p.gap("state", shard, shard+1, fmt.Errorf("reason %d", shard))
		p.differ(Difference{Shard: shard})
	}
	require.Len(t, p.NotCompared, listMax)
	require.Equal(t, 2*listMax, p.MoreNot)
	require.Len(t, p.Differences, listMax)
	require.True(t, p.More)
}

func TestWorstPeerIsTheResult(t *testing.T) {
	for _, c := range []struct {
		results []string
		cut     error
		result  string
		ended   string
	}{
		{[]string{Equal, Equal}, nil, Equal, ""},
		{[]string{Equal, Equal}, context.DeadlineExceeded, Equal, ""},
		{[]string{Equal, Unreachable}, nil, Partly, ""},
		{[]string{Unreachable, Unreachable}, nil, Unreachable, ""},
		{[]string{Equal, Partly}, context.DeadlineExceeded, Partly, Timeout},
		{[]string{Different, Partly}, context.Canceled, Different, Interrupted},
		{[]string{Unreachable, Different}, nil, Different, ""},
	} {
		var r Report
		for _, result := range c.results {
			r.Peers = append(r.Peers, PeerReport{Result: result})
		}
		r.conclude(c.cut)
		require.Equal(t, c.result, r.Result, "%v", c)
		require.Equal(t, c.ended, r.Ended, "%v", c)
	}
}

// Nothing is called equal that was not compared, and unreachable only without a link.
func TestPeersResultIsWhatWasCompared(t *testing.T) {
	none := fmt.Errorf("site-b: %w", node.ErrNoLink)
	for _, c := range []struct {
		p      PeerReport
		gap    error
		result string
	}{
		{PeerReport{ShardsAsked: 4, ShardsCompared: 4}, nil, Equal},
		{PeerReport{ShardsAsked: 4, ShardsCompared: 3}, errors.New("stopped"), Partly},
		{PeerReport{ShardsAsked: 4}, none, Unreachable},
		{PeerReport{ShardsAsked: 4, LogsCompared: 4}, none, Partly},
		{PeerReport{ShardsAsked: 4}, context.Canceled, Partly},
	} {
		if c.gap != nil {
			c.p.gap("state", c.p.ShardsCompared, 4, c.gap)
		}
		c.p.conclude(c.gap)
		require.Equal(t, c.result, c.p.Result)
	}
}
