package engine_test

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Engine and simulator each have a shell around the heart. What both decide from a
// journal's facts has one home, so that the simulator proves what the engine does:
//
//	engine/store/journal/hole.go    is it in a hole, what is missing, what fills it
//	engine/store/journal/tails.go   where logs end, where a reader begins
//	engine/stream/answer.go         how questions for batches are answered
//	engine/apply/feed.go            who waits for a repair, what goes to the applier
//	engine/store/writer/bound.go    the durable clock bound
//	engine/store/writer/tail.go     where appends go on

// simShell are the files of the simulator that stand for the engine's; the others make
// worlds, faults and checkers, which must see for themselves.
var simShell = []string{"answer.go", "feed.go", "flush.go", "hostlog.go", "ops.go", "shell.go", "site.go"}

// decided are calls that belong to those homes alone: who makes one in a shell decides
// again.
var decided = map[string]string{
	"SegmentStart": "ReadBeyond or ReadRetained of journal/tails.go",
	"NotRetained":  "ReadBeyond or ReadRetained of journal/tails.go",
	"Logs":         "Tails or Positions of journal/tails.go",
	"Repair":       "Fill of journal/hole.go",
	"NextLost":     "apply.Feed",
	"Repairs":      "apply.Feed",
	"TakesNext":    "apply.Feed",
	"StampMax":     "Fill of writer/bound.go",
	"Flush":        "Fill of writer/bound.go",
	"SetTail":      "GoOn of writer/tail.go",
}

// shared are calls that both shells must make: the same decision, made once.
var shared = []string{
	"Add", "Fill", "GoOn", "LastOfEach", "Moved", "NewFeed", "ReadBeyond", "ReadRetained", "Serve", "Tails",
	"TakeMoved", "Takes", "Update", "Wait",
}

// facts are what batches and holes are compared by.
var facts = []string{"Seq", "FirstSeq", "LastSeq", "Incarnation", "Prev", "Chain", "Epoch", "LastStamp", "ClockBound"}

// compared are the comparisons of facts that a shell may make: function and reason. What
// is not here belongs into one of the homes.
var compared = map[string]string{
	"engine: bootShards":      "what Wait answers for an earlier life",
	"engine: Wait":            "levels: the simulator has waiters of its own",
	"engine: follows":         "levels: of which incarnation watermarks are",
	"engine: goesOn":          "levels: the same",
	"engine: ownApplied":      "levels",
	"engine: reached":         "levels",
	"engine: progress":        "levels",
	"engine/sim: repeated":    "a mark: a session began behind the peer's tail",
	"engine/sim: openJournal": "what a checker is told of an opening",
}

func TestShellsDecideNothingThemselves(t *testing.T) {
	called := map[string]map[string]bool{"engine": {}, "engine/sim": {}}
	for _, s := range sources(t) {
		calls := called[s.room]
		if s.test || calls == nil || s.room == "engine/sim" && !slices.Contains(simShell, filepath.Base(s.path)) {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			where := s.room + ": " + f.Name.Name
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
						calls[sel.Sel.Name] = true
						if home := decided[sel.Sel.Name]; home != "" {
							t.Errorf("%s calls %s itself: use %s", where, sel.Sel.Name, home)
						}
					}
				case *ast.KeyValueExpr:
					if key, ok := n.Key.(*ast.Ident); ok && key.Name == "ClockBound" {
						t.Errorf("%s makes a clock bound itself: use Fill of writer/bound.go", where)
					}
				case *ast.BinaryExpr:
					if comparison(n.Op) && (fact(n.X) || fact(n.Y)) && compared[where] == "" {
						t.Errorf("%s compares facts of logs itself (%s)", where, s.path)
					}
				}
				return true
			})
		}
	}
	for _, name := range shared {
		for room, calls := range called {
			require.True(t, calls[name], "%s does not call %s: the other shell's decision is not its own", room, name)
		}
	}
}

func comparison(op token.Token) bool {
	return slices.Contains([]token.Token{token.LSS, token.LEQ, token.GTR, token.GEQ, token.EQL, token.NEQ}, op)
}

// fact says whether an expression is, or counts on from, a fact of a batch or a position.
func fact(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return slices.Contains(facts, e.Sel.Name)
	case *ast.CallExpr:
		return fact(e.Fun)
	case *ast.BinaryExpr:
		return fact(e.X) || fact(e.Y)
	case *ast.ParenExpr:
		return fact(e.X)
	}
	return false
}
