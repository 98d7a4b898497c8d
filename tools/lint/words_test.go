package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stateWords are the words that a status shows for a state, by the code that says them:
// the constants of engine/status.go, what is assigned to a State or a Link, the phases of
// a link, what is waited for.
func stateWords(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, name := range []string{
		"engine/status.go", "engine/snapshot.go", "engine/stream/outbound.go", "engine/stream/outstatus.go",
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root(t), name), nil, 0)
		require.NoError(t, err)
		add := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if word, _ := strconv.Unquote(lit.Value); word != "" {
					found[word] = set.Position(lit.Pos()).String()
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					field, ok := to.(*ast.SelectorExpr)
					if ok && (field.Sel.Name == "State" || field.Sel.Name == "Link") && i < len(n.Rhs) {
						add(n.Rhs[i])
					}
				}
			case *ast.FuncDecl:
				if n.Name.Name != "String" {
					break
				}
				ast.Inspect(n, func(n ast.Node) bool {
					if r, ok := n.(*ast.ReturnStmt); ok {
						for _, e := range r.Results {
							add(e)
						}
					}
					return true
				})
			case *ast.ValueSpec:
				if kind, ok := n.Type.(*ast.Ident); name == "engine/status.go" || ok && kind.Name == "WaitingOn" {
					for _, e := range n.Values {
						add(e)
					}
				}
			}
			return true
		})
	}
	require.Greater(t, len(found), 15, "the walk found no words")
	return found
}

// A word that status shows for a state is explained once, in the glossary.
func TestPagesExplainEveryStateWord(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs/glossary.md"))
	require.NoError(t, err)
	_, states, found := strings.Cut(string(text), "## Words of status")
	require.True(t, found)
	for word, place := range stateWords(t) {
		if !strings.Contains(states, "`"+word+"`") {
			t.Errorf("%s: docs/glossary.md does not explain the state %q", place, word)
		}
	}
}
