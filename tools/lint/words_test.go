package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// shown are the words of each kind of state, by the code that says them.
func shown(t *testing.T) map[string][]string {
	t.Helper()
	words := map[string][]string{}
	for _, c := range []struct{ kind, file, pattern string }{
		{"health", "engine/status.go", `(?m)^\tHealth\w+ += "(.+)"$`},
		{"role", "engine/snapshot.go", `(?m)^\trole\w+ += "(.+)"$`},
		{"appends", "engine/status.go", `(?m)^\tAppends\w+ += "(.+)"$`},
		{"shards", "engine/step/effects.go", `(?m)^\tAdmit(\w+)\b.* // `},
		{"journal", "engine/status.go", `(?m)^\tJournal\w+ += "(.+)"$`},
		{"apply", "engine/status.go", `(?m)^\tApply\w+ += "(.+)"$`},
		{"mending", "engine/status.go", `(?m)^\tMending\w+ += "(.+)"$`},
		{"lag", "engine/status.go", `(?m)^\tLag\w+ += "(.+)"$`},
		{"link", "engine/stream/outbound.go", `(?m)^\t+return "([a-z ]+)"$`},
		{"link", "engine/stream/outstatus.go", `(?m)s\.Link = "([a-z ]+)"$`},
		{"waiting on", "engine/stream/outstatus.go", `(?m)^\tWait\w+ +WaitingOn = "(.+)"$`},
		{"stopped log", "wire/names.go", `(?s)logCodeNames = \[\]string\{(.+?)\}`},
		{"stopped log", "wire/names.go", `"(internal)"`},
		{"verify", "engine/verify/report.go", `(?m)^\t(?:Equal|Partly|Unreachable|Different) += "(\w+)"`},
		{"check", "tools/cli/check.go", `checkWords = .*?\{(.+?)\}`},
	} {
		text, err := os.ReadFile(filepath.Join(root(t), c.file))
		require.NoError(t, err)
		found := regexp.MustCompile(c.pattern).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, found, "%s: no words of %s", c.file, c.kind)
		for _, m := range found {
			for word := range strings.SplitSeq(m[1], ",") {
				if word = strings.Trim(word, "\" \t\n"); c.kind == "shards" {
					word = strings.ToLower(word)
				}
				if word != "" && !slices.Contains(words[c.kind], word) {
					words[c.kind] = append(words[c.kind], word)
				}
			}
		}
	}
	return words
}

// TestEachStateHasAnExit: each word that status, verify and check show for a state has a
// row in docs/operating.md that says what it means and what ends it, and no row is of a
// word that nothing shows.
func TestEachStateHasAnExit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs/operating.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "## States, and what ends each")
	require.True(t, found)
	rest, _, _ = strings.Cut(rest, "\n## ")
	told, all, kind := map[string][]string{}, map[string]bool{}, ""
	row := regexp.MustCompile("(?m)^\\| ?(.*?) \\| `(.+?)` \\| (.*) \\| (.*) \\|$")
	for _, m := range row.FindAllStringSubmatch(rest, -1) {
		if m[1] != "" {
			kind = m[1]
		}
		require.NotEmpty(t, m[3], "%s: what %s means", kind, m[2])
		require.NotEmpty(t, m[4], "%s: what ends %s", kind, m[2])
		told[kind], all[m[2]] = append(told[kind], m[2]), true
	}
	for kind, words := range shown(t) {
		require.ElementsMatch(t, words, told[kind], kind)
		delete(told, kind)
	}
	require.Empty(t, told, "kinds that nothing shows")
	for word, place := range stateWords(t) {
		require.True(t, all[word], "%s: docs/operating.md does not say what ends the state %q", place, word)
	}
}
