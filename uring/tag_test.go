package uring_test

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHostsNeverLinkGiouring: only files that need the tag may import it.
func TestHostsNeverLinkGiouring(t *testing.T) {
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Skip("not in the source tree: ", err)
	}
	found := 0
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			if spec.Path.Value != `"github.com/pawelgaczynski/giouring"` {
				continue
			}
			found++
			line, _, _ := strings.Cut(string(text), "\n")
			tag, err := constraint.Parse(line)
			require.NoError(t, err, path)
			without := tag.Eval(func(tag string) bool { return tag != "giouring" })
			require.False(t, without, "%s: builds without the tag", path)
		}
		return nil
	}))
	require.NotZero(t, found)
}
