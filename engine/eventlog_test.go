package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFloodOfOneKindLeavesTheLogReadable(t *testing.T) {
	var out bytes.Buffer
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	l := eventLog{logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: drop}))}
	start := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for shard := range 256 {
		l.write(&Event{At: start, Kind: "data-lost", Peer: "site-b", Shard: shard, Alarm: true, Text: "fetched back"})
	}
	l.write(&Event{At: start, Kind: "link-down", Peer: "site-b", Shard: -1, Text: "ended"})
	l.write(&Event{At: start, Kind: "data-lost", Peer: "site-c", Shard: 9, Alarm: true, Text: "fetched back"})

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, linesMax+3, "one line says that more was left out, other kinds and peers go on")
	require.Equal(t, `level=WARN msg="fetched back" kind=data-lost peer=site-b shard=0`, lines[0])
	require.Contains(t, lines[linesMax], "more events of kind data-lost are left out here for up to 1m0s")
	require.Equal(t, `level=INFO msg=ended kind=link-down peer=site-b`, lines[linesMax+1])

	out.Reset()
	l.write(&Event{At: start.Add(linesEvery), Kind: "data-lost", Peer: "site-b", Shard: 3, Alarm: true, Text: "again"})
	require.Equal(t, "level=WARN msg=again kind=data-lost peer=site-b left_out=240 shard=3\n", out.String())
}

func TestLogOfEventsStaysBounded(t *testing.T) {
	l := eventLog{logger: slog.New(slog.DiscardHandler)}
	for i := range 4 * lineKindsMax {
		l.write(&Event{At: time.Unix(0, 0), Kind: "refused", Peer: string(rune('a' + i)), Shard: -1})
		require.LessOrEqual(t, len(l.limit.lines), lineKindsMax+1, "I10")
	}
}
