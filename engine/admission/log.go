package admission

import (
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Log is one own log: where it ends durably, and whether it takes appends.
//
//	Open() only while not Stopped, not Suspect and not Short()
//	Short() == a need lies beyond Tail, or is another history
type Log struct {
	step.Log
	State    step.Admission
	Err      error // why it is refused
	Suspect  bool  // the journal is damaged, and nothing proves where the log ends
	Stopped  bool  // permanently, until an operator decides
	Agreed   bool  // a peer's position lies in our history
	Fetching bool  // what it lacks is asked for, or about to be

	opened bool           // its incarnation in the epoch held has begun, perhaps not durably yet
	grant  step.Admission // what it will be once its shard is ready to be opened; AdmitWaiting = nothing
	needs  []need
	t      *step.Turn // nil: no incarnation is older than another
}

// relate is how a position of somebody stands to where the log ends.
func (l *Log) relate(at wire.Position) step.Relation {
	if l.t == nil {
		return step.Relate(l.Tail, at)
	}
	return l.t.Relate(l.ID, l.Tail, at)
}

// need is the highest position in one incarnation that the Store or a peer is known to
// have had, and who that is: of a source that lost acknowledged data, it lies beyond Tail.
type need struct {
	at  wire.Position
	who string
}

// Open says whether the log takes appends.
func (l *Log) Open() bool { return l.State == step.AdmitVerified || l.State == step.AdmitUnverified }

// Waits says whether a peer's word may still change the log's state.
func (l *Log) Waits() bool { return l.State == step.AdmitWaiting || l.State == step.AdmitUnverified }

// Short says that the journal lacks what was acknowledged: the Store has applied it, or a
// peer once confirmed it.
func (l *Log) Short() bool {
	at, _ := l.Need()
	return at.Seq != 0
}

// Need is what the journal lacks, and who is known to have had it; zero if it lacks nothing.
func (l *Log) Need() (at wire.Position, who string) {
	for i := range l.needs {
		if r := l.relate(l.needs[i].at); r == step.Ahead || r == step.Differ {
			return l.needs[i].at, l.needs[i].who
		}
	}
	return wire.Position{}, ""
}

// differs says that somebody had another history than the journal: no position goes on
// behind both.
func (l *Log) differs() bool {
	return slices.ContainsFunc(l.needs, func(n need) bool { return l.relate(n.at) == step.Differ })
}

// Needs raises what the journal must hold before anything is appended. Positions of two
// incarnations do not stand for each other: both are needed.
func (l *Log) Needs(at wire.Position, who string) {
	for i := range l.needs {
		if n := &l.needs[i]; n.at.Same(at) {
			if at.Beyond(n.at) {
				*n = need{at, who}
			}
			return
		}
	}
	if at.Seq != 0 {
		l.needs = append(l.needs, need{at, who})
	}
}

// check says which of the inequalities does not hold.
func (l *Log) check() error {
	switch {
	case l.Open() && l.Suspect:
		return fmt.Errorf("it is %d and suspect", l.State)
	case l.Open() && l.Stopped:
		return fmt.Errorf("it is %d and stopped", l.State)
	case l.Open() && l.Err != nil:
		return fmt.Errorf("it is %d and refused: %w", l.State, l.Err)
	case l.State == step.AdmitRefused && l.Err == nil:
		return fmt.Errorf("it is refused without a reason")
	case l.State == step.AdmitVerified && l.Fetching:
		return fmt.Errorf("it is verified and fetched back")
	}
	return nil
}
