package engine_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/claudefs/repl/"

// floors lists, for each package, which of ours it may import. What is not
// here may not exist: a new room is a decision.
var floors = map[string][]string{
	"wire":                 {},
	"wire/link":            {"wire"},
	"wire/link/socket":     {"wire/link"},
	"wire/link/tcp":        {"wire", "wire/link", "wire/link/socket"},
	"wire/link/faultproxy": {},
	"wire/link/lobby":      {"wire/link", "wire/link/socket"},
	"wire/link/stripe":     {"wire", "wire/link", "wire/link/lobby"},
	"wire/link/linktest":   {"wire", "wire/link", "wire/link/faultproxy"},
	"uring":                {"wire", "wire/link", "wire/link/socket", "engine/store/vfs"},
	"rdma":                 {"wire", "wire/link", "wire/link/socket", "wire/link/lobby", "cgo/verbs"},
	"rdma/fakeverbs":       {"rdma"},
	"rdma/verbstest":       {"rdma"},
	"cgo/verbs":            {},

	"engine/internal/plant": {},

	// The heart: node composes the rooms, which share the words of a step.
	"engine/event":     {"wire"},
	"engine/step":      {"wire", "engine/event"},
	"engine/role":      {"wire", "engine/step", "engine/internal/plant"},
	"engine/lag":       {"wire", "engine/step"},
	"engine/admission": {"wire", "engine/event", "engine/step", "engine/role", "engine/internal/plant"},
	"engine/stream": {
		"wire", "engine/event", "engine/step", "engine/role", "engine/lag", "engine/admission", "engine/internal/plant",
	},
	"engine/fetch": {"wire", "engine/event", "engine/step", "engine/admission", "engine/stream"},
	"engine/node": {
		"wire", "engine/event", "engine/step", "engine/role", "engine/lag", "engine/admission", "engine/stream",
		"engine/fetch",
		"engine/internal/plant",
	},

	"engine/store":             {"wire"},
	"engine/store/vfs":         {},
	"engine/store/vfs/vfstest": {"engine/store/vfs"},
	"engine/store/arena":       {},
	"engine/store/journal":     {"wire", "engine/store/vfs", "engine/internal/plant"},
	"engine/store/writer":      {"wire", "engine/store/journal", "engine/internal/plant"},
	"engine/store/storetest":   {"wire", "engine/store"},
	"engine/apply":             {"wire", "engine/store", "engine/role", "engine/internal/plant"},

	"engine/audit":  {"engine/store/vfs"},
	"engine/verify": {"wire", "engine/node", "engine/store", "engine/store/journal"},
	"engine/mend":   {"wire", "engine/store", "engine/store/vfs"},
	"engine/orphan": {"wire", "engine/role", "engine/store/vfs", "engine/store/journal"},

	"engine": {
		"wire", "wire/link", "wire/link/socket", "wire/link/stripe", "wire/link/tcp", "uring", "rdma",
		"engine/event", "engine/role", "engine/lag", "engine/stream", "engine/node",
		"engine/apply", "engine/store", "engine/store/vfs", "engine/store/journal", "engine/store/writer",
		"engine/store/arena", "engine/audit", "engine/verify", "engine/mend", "engine/orphan", "engine/internal/plant",
	},
	"engine/admin":    {"engine"},
	"engine/observe":  {"engine"},
	"bench/busy":      {},
	"bench":           {}, // benchmarks only; tests may look anywhere
	"engine/sim/ends": {}, // a model: it runs nothing of ours
	"engine/sim": {
		"wire", "engine/event", "engine/role", "engine/lag", "engine/stream", "engine/node", "engine/apply",
		"engine/internal/plant",
		"engine/store", "engine/store/vfs", "engine/store/journal", "engine/store/writer", "engine/sim/plan",
	},
	"engine/sim/plan": {"wire", "engine/node", "engine/store/journal", "engine/store/writer"},
}

// owners are dependencies that one room alone may import: who does not import
// that room links nothing of them.
var owners = map[string]string{"github.com/prometheus/": "engine/observe"}

// pure rooms take values and return values: what they know comes in as an
// argument, what they want goes out as an effect.
var pure = []string{
	"engine/event", "engine/step", "engine/role", "engine/lag", "engine/admission", "engine/stream", "engine/fetch",
	"engine/node", "engine/apply",
}

// impure are imports that a pure room has no use for.
var impure = []string{
	"os", "net", "sync", "sync/atomic", "log", "log/slog", "crypto/rand", "math/rand", "io/ioutil",
	"path/filepath", "runtime", "syscall", "unsafe",
}

// clocks are the functions of package time that read or run a clock.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

type source struct {
	room, path string
	test       bool
	file       *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	var all []source
	fset := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return fs.SkipDir // another module
			}
			if path != root && (strings.HasPrefix(name,
				".") || name == "testdata" || name == "docs" || name == "examples") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		all = append(all, source{filepath.ToSlash(rel), path, strings.HasSuffix(name, "_test.go"), f})
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func imports(f *ast.File) (paths []string) {
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func TestImportsPointDownOnly(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := floors[s.room]
		if !known {
			t.Errorf("%s: room %q has no floor; name it in floors", s.path, s.room)
			continue
		}
		if s.test {
			continue // tests may look anywhere
		}
		for _, path := range imports(s.file) {
			if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s: %s may not import %s", s.path, s.room, own)
			}
		}
	}
}

func TestDependencyStaysInItsOwnersRoom(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range imports(s.file) {
			for prefix, owner := range owners {
				if strings.HasPrefix(path, prefix) && s.room != owner {
					t.Errorf("%s: only %s may import %s", s.path, owner, path)
				}
			}
		}
	}
}

func TestPureRoomsHaveNoEffects(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.room) {
			continue
		}
		for _, path := range imports(s.file) {
			if slices.Contains(impure, path) {
				t.Errorf("%s: pure room imports %s", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: pure room starts a goroutine", s.path)
			case *ast.ChanType:
				t.Errorf("%s: pure room has a channel", s.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%s: pure room calls time.%s", s.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestLibraryLeavesTheProcessAlone: a library that its host links does not
// catch signals, exit, or touch what belongs to the whole process.
func TestLibraryLeavesTheProcessAlone(t *testing.T) {
	forbidden := map[string][]string{
		"os":   {"Exit"},
		"log":  {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "SetOutput"},
		"http": {"Handle", "HandleFunc", "DefaultServeMux"},
		"slog": {"SetDefault", "Default"},
		// A FlagSet of one's own is a list of named values; the rest is the process's.
		"flag": {"CommandLine", "Parse", "Var", "Func", "Bool", "BoolVar", "Int", "IntVar", "Int64", "Int64Var",
			"Uint64", "Uint64Var", "Float64", "Float64Var", "String", "StringVar", "Duration", "DurationVar"},
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, path := range imports(s.file) {
			if path == "os/signal" || path == "expvar" || path == "net/http/pprof" {
				t.Errorf("%s: imports %s", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(forbidden[x.Name], sel.Sel.Name) {
					t.Errorf("%s: uses %s.%s", s.path, x.Name, sel.Sel.Name)
				}
			}
			if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: has an init function", s.path)
			}
			return true
		})
	}
}

// heartFieldsMax bounds the structs that everything in the heart reaches.
const heartFieldsMax = 20

// nodeLinesMax bounds package node without its tests, and shellFilesMax the engine's.
const nodeLinesMax, shellFilesMax = 2500, 28

// TestHeartStaysSmall: what a room of its own can hold does not go into these.
func TestHeartStaysSmall(t *testing.T) {
	lines, files := 0, 0
	for _, s := range sources(t) {
		switch {
		case s.test:
		case s.room == "engine/node":
			text, err := os.ReadFile(s.path)
			require.NoError(t, err)
			lines += strings.Count(string(text), "\n")
		case s.room == "engine":
			files++
		}
		if s.test || !slices.Contains(pure, s.room) || s.room == "engine/step" || s.room == "engine/apply" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if !ok || strings.HasSuffix(spec.Name.Name, "Status") { // a list for people, of any length
				return true
			}
			fields := 0
			for _, f := range body.Fields.List {
				fields += max(1, len(f.Names))
			}
			if fields > heartFieldsMax {
				t.Errorf("%s: %s has %d fields, at most %d", s.path, spec.Name.Name, fields, heartFieldsMax)
			}
			return true
		})
	}
	require.LessOrEqual(t, lines, nodeLinesMax, "lines of engine/node")
	require.LessOrEqual(t, files, shellFilesMax, "files of engine")
}
