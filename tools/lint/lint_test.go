package lint

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	fileLinesMax     = 500
	testLinesMax     = 900
	functionLinesMax = 70
	columnsMax       = 120
)

// words that must not reach a commit, in code.
var words = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b|panic\("unwritten"\)`)

// calls that make a test slow or flaky.
var sleep = regexp.MustCompile(`\btime\.Sleep\(`)

// fixedPort is a loopback address with a port that somebody else may have.
var fixedPort = regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):[1-9]\d{2,4}\b`)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

func goFiles(t *testing.T, visit func(path, rel string, text []byte)) {
	t.Helper()
	top := root(t)
	count := 0
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != top && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		count++
		visit(path, filepath.ToSlash(rel), text)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, count, 20, "the walk found no code")
}

func TestCodeIsFormattedAndShort(t *testing.T) {
	goFiles(t, func(path, rel string, text []byte) {
		formatted, err := format.Source(text)
		require.NoError(t, err, rel)
		if !bytes.Equal(formatted, text) {
			t.Errorf("%s: not formatted; run gofmt -w %s", rel, rel)
		}
		linesMax := fileLinesMax
		if strings.HasSuffix(rel, "_test.go") {
			linesMax = testLinesMax
		}
		line := 0
		for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
			line++
			if n := len([]rune(strings.ReplaceAll(scan.Text(), "\t", "    "))); n > columnsMax {
				t.Errorf("%s:%d: %d columns, at most %d", rel, line, n, columnsMax)
			}
		}
		if line > linesMax {
			t.Errorf("%s: %d lines, at most %d", rel, line, linesMax)
		}
	})
}

func TestFunctionsFitAPage(t *testing.T) {
	goFiles(t, func(path, rel string, text []byte) {
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := fset.Position(f.Pos()).Line, fset.Position(f.End()).Line
			if last-first+1 > functionLinesMax {
				t.Errorf("%s:%d: %s has %d lines, at most %d", rel, first, f.Name.Name, last-first+1, functionLinesMax)
			}
		}
	})
}

func TestNoLeftovers(t *testing.T) {
	goFiles(t, func(_, rel string, text []byte) {
		if strings.HasPrefix(rel, "tools/lint/") {
			return
		}
		for i, line := range strings.Split(string(text), "\n") {
			test := strings.HasSuffix(rel, "_test.go")
			switch {
			case words.MatchString(line):
				t.Errorf("%s:%d: leftover: %s", rel, i+1, strings.TrimSpace(line))
			case test && sleep.MatchString(line):
				t.Errorf("%s:%d: a test that sleeps; wait for the event", rel, i+1)
			case test && fixedPort.MatchString(line):
				t.Errorf("%s:%d: a fixed port; listen on port 0", rel, i+1)
			}
		}
	})
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	packages := map[string]bool{}
	goFiles(t, func(_, rel string, text []byte) {
		dir := filepath.Dir(rel)
		packages[dir] = packages[dir] || filepath.Base(rel) == "doc.go"
	})
	for dir, documented := range packages {
		if !documented {
			t.Errorf("%s has no doc.go", dir)
		}
	}
}

// TestUnsafeStaysInItsRooms: only the rooms that talk to the kernel or the card
// may go round the type system. What walks all memory of the simulator to weigh it
// needs addresses, and looks at nothing behind them.
func TestUnsafeStaysInItsRooms(t *testing.T) {
	goFiles(t, func(path, rel string, text []byte) {
		rooms := []string{
			"uring/", "rdma/", "cgo/", "engine/store/vfs/gather_linux", "engine/sim/footprint_test.go",
			"tools/powerloss/device_linux.go",
		}
		for _, room := range rooms {
			if strings.HasPrefix(rel, room) {
				return
			}
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			if spec.Path.Value == `"unsafe"` {
				t.Errorf("%s: imports unsafe", rel)
			}
		}
	})
}

func TestVetAndStaticcheckAreSilent(t *testing.T) {
	for _, args := range [][]string{
		{"vet", "work"},
		{"tool", "staticcheck", "-checks", "all,-ST1000,-ST1003,-ST1016,-ST1020,-ST1021,-ST1022", "./...", "../..."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join(root(t), "tools")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), out)
	}
}
