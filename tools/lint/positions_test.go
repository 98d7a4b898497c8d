package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// homeOfPositions compares positions. Elsewhere seqs of two incarnations would be taken
// for each other.
const homeOfPositions = "wire/position.go"

// ledgers are the simulator's: a checker that asked the code under test would prove it by
// itself. Its shell is held to the engine's decisions by TestShellsDecideNothingThemselves.
const ledgers = "engine/sim/"

// oneIncarnation are the functions that compare seqs themselves, and why both are of one
// incarnation. What is not here uses Order, Covers or Fit.
var oneIncarnation = map[string]string{
	"engine: ownApplied": "behind follows",
	"engine: progress":   "behind follows",
	"engine/lag: Age":    "a log of Ages or of a Meter is in one incarnation, since Forget or Set",
	"engine/stream: row": "behind SeqIn",
}

// TestPositionsAreComparedInOnePlace: no Seq of a position is put in order outside.
func TestPositionsAreComparedInOnePlace(t *testing.T) {
	used := map[string]bool{}
	goFiles(t, func(file, rel string, text []byte) {
		if strings.HasSuffix(rel, "_test.go") || !strings.HasPrefix(rel, "engine/") || strings.HasPrefix(rel, ledgers) {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			where := path.Dir(rel) + ": " + f.Name.Name
			ast.Inspect(f, func(n ast.Node) bool {
				if !ordersSeqs(n) {
					return true
				}
				used[where] = true
				if oneIncarnation[where] == "" {
					t.Errorf("%s (%s) orders seqs of positions: use what %s has", where, rel, homeOfPositions)
				}
				return true
			})
		}
	})
	for where := range oneIncarnation {
		require.True(t, used[where], "%s is allowed to order seqs, and does not", where)
	}
}

// ordersSeqs says whether a node puts a field Seq in order, or takes the higher or lower
// of two.
func ordersSeqs(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		switch n.Op {
		case token.LSS, token.LEQ, token.GTR, token.GEQ:
			return isSeq(n.X) || isSeq(n.Y)
		}
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.Ident)
		if !ok || f.Name != "min" && f.Name != "max" {
			return false
		}
		for _, arg := range n.Args {
			if isSeq(arg) {
				return true
			}
		}
	}
	return false
}

// isSeq says whether an expression is a field Seq, or counts on from one.
func isSeq(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name == "Seq"
	case *ast.BinaryExpr:
		return isSeq(e.X) || isSeq(e.Y)
	case *ast.ParenExpr:
		return isSeq(e.X)
	case *ast.CallExpr: // a conversion
		return len(e.Args) == 1 && isSeq(e.Args[0])
	}
	return false
}

// TestOrderOfSeqsIsSeen: what the rule is for.
func TestOrderOfSeqsIsSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"a.Seq < b.Seq": true, "h.FirstSeq > q.at.Seq+1": true, "max(0, int64(t.Seq)-n)": true,
		"a.Seq == b.Seq": false, "a.Covers(b)": false, "number < other": false,
	} {
		e, err := parser.ParseExpr(text)
		require.NoError(t, err)
		require.Equal(t, want, ordersSeqs(e), text)
	}
}
