package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// TestFuzzTargetsHaveACorpus: go test runs what a fuzzer once found worth keeping; a
// target without it tries its few seeds and nothing else, and a folder whose target was
// renamed is tried by nobody.
func TestFuzzTargetsHaveACorpus(t *testing.T) {
	targets, folders := map[string]string{}, map[string]bool{}
	goFiles(t, func(path, rel string, text []byte) {
		if !strings.HasSuffix(rel, "_test.go") {
			return
		}
		corpora := filepath.Join(filepath.Dir(path), "testdata", "fuzz")
		for _, m := range fuzzFunc.FindAllSubmatch(text, -1) {
			targets[filepath.Join(corpora, string(m[1]))] = rel
		}
		found, err := filepath.Glob(filepath.Join(corpora, "*"))
		require.NoError(t, err)
		for _, folder := range found {
			folders[folder] = true
		}
	})
	require.Greater(t, len(targets), 10, "the walk found no targets")
	for folder, rel := range targets {
		inputs, err := os.ReadDir(folder)
		if len(inputs) == 0 {
			t.Errorf("%s: %s has no input below testdata/fuzz (%v); run it with -fuzz, and keep some of "+
				"what go env GOCACHE has in its folder fuzz", rel, filepath.Base(folder), err)
		}
		delete(folders, folder)
	}
	for folder := range folders {
		t.Errorf("%s: no target has this name", folder)
	}
}
