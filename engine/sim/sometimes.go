package sim

import (
	"fmt"
	"strings"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
)

// points are the places in the heart, the journal and the writer that ask whether
// to do now what is always allowed and hardly ever happens, and how often the
// answer is yes. In an engine nobody answers, so it is no.
var points = []struct {
	name  string
	mark  string
	oneIn int
}{
	{writer.PointBatchClosed, "sometimes " + writer.PointBatchClosed, 4},
	{journal.PointSegmentBegun, "sometimes " + journal.PointSegmentBegun, 64},
	{journal.PointStageFailed, "sometimes " + journal.PointStageFailed, 64},
	{journal.PointUnitRead, "sometimes " + journal.PointUnitRead, 2},
	{node.PointWindowOfOne, "sometimes " + node.PointWindowOfOne, 2},
	{node.PointBatchAFrame, "sometimes " + node.PointBatchAFrame, 2},
	{node.PointGrantOfOne, "sometimes " + node.PointGrantOfOne, 2},
}

// pointSet says which of points are awake at a site.
type pointSet uint8

// drawPoints wakes some of them in a third of the worlds.
func drawPoints(s stream) pointSet {
	if !s.oneIn(3) {
		return 0
	}
	return pointSet(s.IntN(1 << len(points)))
}

// MarshalText lists the names.
func (p pointSet) MarshalText() ([]byte, error) {
	var names []string
	for i := range points {
		if p>>i&1 != 0 {
			names = append(names, points[i].name)
		}
	}
	return []byte(strings.Join(names, ",")), nil
}

// UnmarshalText reads what MarshalText wrote.
func (p *pointSet) UnmarshalText(text []byte) error {
	*p = 0
	for _, name := range strings.Split(string(text), ",") {
		known := name == ""
		for i := range points {
			if points[i].name == name {
				*p |= 1 << i
				known = true
			}
		}
		if !known {
			return fmt.Errorf("no point is named %q", name)
		}
	}
	return nil
}

// sometimes is the hook that the site's rooms get; nil where no point is awake.
func (s *site) sometimes() func(string) bool {
	awake := s.plan().sometimes
	if awake == 0 {
		return nil
	}
	return func(point string) bool {
		for i := range points {
			if points[i].name != point {
				continue
			}
			if awake>>i&1 == 0 || !s.rare.oneIn(points[i].oneIn) {
				return false
			}
			s.w.mark(points[i].mark)
			return true
		}
		return false
	}
}
