package engine_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// Pain 11, https://github.com/HarperFast/harper/issues/1949: a mark that was saved
// only in an orderly shutdown, so that after a crash durable records never left.
func TestWhatWasDurableBeforeACrashStillReplicates(t *testing.T) {
	a, b := pair(t)
	a.start()
	for n := range 20 {
		a.put(engine.Shard(n%4), fmt.Sprintf("key %d", n), "value", engine.Local)
	}
	a.crash()
	a.start()
	b.start()
	for shard := range a.options.Shards {
		a.put(engine.Shard(shard), "after", "value", engine.Applied(1))
	}
	for n := range 20 {
		require.Equal(t, "value", b.value(engine.Shard(n%4), fmt.Sprintf("key %d", n)))
	}
	sameDigests(t, a, b)
}

// docs/pains.md answers every pain, and with tests that are there.
func TestEveryPainNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../docs/pains.md")
	require.NoError(t, err)
	var tests strings.Builder
	scripts := make(map[string]bool)
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, "_test.go"):
			b, err := os.ReadFile(path)
			tests.Write(b)
			return err
		case strings.HasSuffix(path, ".txt"):
			scripts[d.Name()] = true
		}
		return nil
	}))
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|.*\| (.*) \|$`).FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 35)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+|[a-z0-9-]+\\.txt|engine/[a-z]+)`")
	for i, row := range rows {
		require.Equal(t, fmt.Sprint(i+1), row[1])
		names := named.FindAllStringSubmatch(row[2], -1)
		require.NotEmpty(t, names, "pain %s has no answer", row[1])
		for _, name := range names {
			switch {
			case strings.HasSuffix(name[1], ".txt"):
				require.True(t, scripts[name[1]], "pain %s names %s", row[1], name[1])
			case !strings.HasPrefix(name[1], "engine/"):
				require.Contains(t, tests.String(), "\nfunc "+name[1]+"(", "pain %s", row[1])
			}
		}
	}
}
