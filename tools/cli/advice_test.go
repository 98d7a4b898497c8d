package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var (
	advisedVerb = regexp.MustCompile(`\bcfs((?: [a-z][a-z-]+)+)`)
	advisedFlag = regexp.MustCompile(`(?:^|[\s("'` + "`" + `])--([a-z][a-z-]*)`)
)

// sayings are the string literals of a folder's production code, by place.
func sayings(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				found[set.Position(lit.Pos()).String()] = text
			}
			return true
		})
		return nil
	}))
	return found
}

// What an error, a status or a help page advises can be typed: each verb that it names
// is one, and each flag is a flag of some verb.
func TestAdvisedCommandsExist(t *testing.T) {
	root := testRoot()
	flags := map[string]bool{"help": true, "version": true}
	for _, c := range leaves(root) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
	}
	found := 0
	for _, folder := range []string{"../../engine", "../../tools"} {
		for place, text := range sayings(t, folder) {
			if strings.Contains(place, "/tools/lint/") || strings.Contains(place, "/tools/powerloss/") {
				continue
			}
			for _, m := range advisedVerb.FindAllStringSubmatch(text, -1) {
				if fault := advice(root, strings.Fields(m[1])); fault != "" {
					t.Errorf("%s: %s", place, fault)
				}
				found++
			}
			if !strings.Contains(place, "/cli/") || strings.Contains(place, "/simledger.go") {
				continue // flags of other programs
			}
			for _, m := range advisedFlag.FindAllStringSubmatch(text, -1) {
				if !flags[m[1]] {
					t.Errorf("%s: no verb has a flag --%s", place, m[1])
				}
				found++
			}
		}
	}
	require.Greater(t, found, 50, "the walk found no advice")
}

// prose are words behind cfs that are not meant as a verb: "a cfs node", "cfs fs and cfs admin".
var prose = []string{"node", "at", "and", "control", "help", "says", "names", "tells", "there"}

// advice says what is wrong with the words behind cfs; "" = nothing.
func advice(root *cobra.Command, words []string) string {
	at := root
	for _, word := range words {
		if slices.Contains(prose, word) || at.Annotations[impactKey] != "" {
			return "" // the command ends here, or arguments begin
		}
		i := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			return at.CommandPath() + " has no verb " + word
		}
		at = at.Commands()[i]
	}
	return ""
}

// A step that status advises for a stopped log names no cause that the code does not.
func TestEveryStoppedLogHasANextStep(t *testing.T) {
	for code, next := range nextSteps {
		require.NotEmpty(t, next, code)
		require.NotContains(t, next, "mended", code)
	}
	require.NotEmpty(t, nextForStopped("another code"))
}

// Shells offer the values that a flag takes, and the peers of the node.
func TestValuesAreCompleted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"schema":1,"kind":"status","peers":[{"site":"site-b"},{"site":"other"}]}`))
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	for line, want := range map[string]string{
		"admin replication status -o ": "table\nwide\njson\njsonl\n",
		"demo --io ":                   "auto\nrdma\nio_uring\nportable\n",
		"server --log ":                "text\njson\n",
		"admin replication verify --admin " + addr + " --peer si":   "site-b\n",
		"admin replication verify --admin 127.0.0.1:1 --peer site-": "",
	} {
		words := strings.Split(line, " ")
		code, stdout, stderr := run(append([]string{"__complete"}, words...)...)
		require.Zero(t, code, stderr)
		offered, _, _ := strings.Cut(stdout, ":4\n")
		require.Equal(t, want, offered, line)
	}
}
