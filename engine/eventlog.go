package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// What the logger gets of one kind of event about one peer: a refusal comes with
// every dial, lost data with every shard, and a reader at night needs the other
// kinds between them. The hook gets every event.
const (
	linesMax     = 16
	linesEvery   = time.Minute
	lineKindsMax = 1024 // strangers' sites count as peers
)

// eventLog writes events to the host's logger. One goroutine uses it.
type eventLog struct {
	logger *slog.Logger // nil = silent
	lines  map[lineKind]*lineCount
}

type lineKind struct{ kind, peer string }

// lineCount is what was logged of a kind since a moment, and what was left out.
type lineCount struct {
	since   time.Time
	written int
	leftOut int
}

// write logs event, or leaves it out.
func (l *eventLog) write(event *Event) {
	if l.logger == nil {
		return
	}
	level := slog.LevelInfo
	if event.Alarm {
		level = slog.LevelWarn
	}
	attrs := append(make([]slog.Attr, 0, 4), slog.String("kind", event.Kind))
	if event.Peer != "" {
		attrs = append(attrs, slog.String("peer", event.Peer))
	}
	count, begun := l.count(event)
	if begun > 0 {
		attrs = append(attrs, slog.Int("left_out", begun))
	}
	text := event.Text
	switch {
	case count.written < linesMax:
		if event.Shard >= 0 {
			attrs = append(attrs, slog.Int("shard", event.Shard))
		}
	case count.leftOut == 0:
		count.leftOut++
		text = fmt.Sprintf("more events of kind %s are left out of the log for up to %v: the status tells what holds",
			event.Kind, linesEvery)
	default:
		count.leftOut++
		return
	}
	count.written++
	l.logger.LogAttrs(context.Background(), level, text, attrs...)
}

// count is what was logged of the event's kind; begun is how many the time before
// this one left out, where event begins a new one.
func (l *eventLog) count(event *Event) (count *lineCount, begun int) {
	if l.lines == nil || len(l.lines) > lineKindsMax {
		l.lines = make(map[lineKind]*lineCount)
	}
	of := lineKind{event.Kind, event.Peer}
	count = l.lines[of]
	if count == nil {
		count = &lineCount{since: event.At}
		l.lines[of] = count
	}
	if event.At.Sub(count.since) >= linesEvery {
		begun = count.leftOut
		*count = lineCount{since: event.At}
	}
	return count, begun
}
