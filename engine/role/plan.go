package role

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/claudefs/repl/wire"
)

// Plan is the state that a move of the writer was planned from: what an operator has seen. Two
// plans with one id lose the same.
type Plan struct {
	Epoch   wire.Epoch  // held by the site that is asked
	Site    wire.SiteID // which is to write
	Unheard []string    // sites that have not reported what they have, sorted
	// Logs are where they end at the site that takes over by itself; empty where the writer
	// hands over, because that loses nothing whatever is appended meanwhile. In any order.
	Logs []Standing
}

// Standing is where a log ends.
type Standing struct {
	Log wire.LogID
	At  wire.Position
}

// The parts of an id, in their order: what changed between two plans is said by part.
var planParts = [...]string{
	"the epoch, or the site that is to write", "which sites have reported what they have", "where the logs end here",
}

// ID is the plan's name: three hashes, one for each of its parts.
func (p *Plan) ID() string {
	var b []byte
	part := func() string {
		sum := sha256.Sum256(b)
		b = b[:0]
		return fmt.Sprintf("%x", sum[:4])
	}
	b = binary.BigEndian.AppendUint64(b, uint64(p.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(p.Site))
	ids := []string{part()}
	for _, name := range p.Unheard {
		b = append(append(b, name...), 0)
	}
	ids = append(ids, part())
	logs := slices.Clone(p.Logs)
	slices.SortFunc(logs, func(x, y Standing) int { return x.Log.Compare(y.Log) })
	for i := range logs {
		l := &logs[i]
		b = binary.BigEndian.AppendUint32(b, uint32(l.Log.Site))
		b = binary.BigEndian.AppendUint32(b, uint32(l.Log.Shard))
		b = append(b, l.At.Incarnation[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(l.At.Seq))
		b = append(b, l.At.Chain[:]...)
	}
	return strings.Join(append(ids, part()), "-")
}

// PlanChanged says what has changed since a plan with this id; "" = nothing.
func PlanChanged(id, now string) string {
	was, is := strings.Split(id, "-"), strings.Split(now, "-")
	if len(was) != len(planParts) || len(is) != len(planParts) {
		return fmt.Sprintf("%q is not the id of a plan", id)
	}
	var changed []string
	for i, part := range planParts {
		if was[i] != is[i] {
			changed = append(changed, part)
		}
	}
	return strings.Join(changed, ", and ")
}
