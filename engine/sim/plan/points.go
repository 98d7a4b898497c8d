package plan

import (
	"fmt"
	"strings"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/writer"
)

// Points are the places in the heart, the journal and the writer that ask whether
// to do now what is always allowed and hardly ever happens, and how often the
// answer is yes. In an engine nobody answers, so it is no.
var Points = []struct {
	Name  string
	Mark  string
	OneIn int
}{
	{writer.PointBatchClosed, "sometimes " + writer.PointBatchClosed, 4},
	{journal.PointSegmentBegun, "sometimes " + journal.PointSegmentBegun, 64},
	{journal.PointStageFailed, "sometimes " + journal.PointStageFailed, 64},
	{journal.PointUnitRead, "sometimes " + journal.PointUnitRead, 2},
	{node.PointWindowOfOne, "sometimes " + node.PointWindowOfOne, 2},
	{node.PointBatchAFrame, "sometimes " + node.PointBatchAFrame, 2},
	{node.PointGrantOfOne, "sometimes " + node.PointGrantOfOne, 2},
}

// PointSet says which of points are awake at a site.
type PointSet uint8

// drawPoints wakes some of them in a third of the worlds.
func drawPoints(s Stream) PointSet {
	if !s.OneIn(3) {
		return 0
	}
	return PointSet(s.IntN(1 << len(Points)))
}

// MarshalText lists the names.
func (p PointSet) MarshalText() ([]byte, error) {
	var names []string
	for i := range Points {
		if p>>i&1 != 0 {
			names = append(names, Points[i].Name)
		}
	}
	return []byte(strings.Join(names, ",")), nil
}

// UnmarshalText reads what MarshalText wrote.
func (p *PointSet) UnmarshalText(text []byte) error {
	*p = 0
	for _, name := range strings.Split(string(text), ",") {
		known := name == ""
		for i := range Points {
			if Points[i].Name == name {
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
