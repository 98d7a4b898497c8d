package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoTree: no tree that is worth importing was found.
var ErrNoTree = errors.New("no tree to import")

// treeFilesMin is how many files make a default tree worth showing.
const treeFilesMin = 2000

// tree is what is going to be imported.
type tree struct {
	dir   string
	names int // files, directories and links
	bytes int64
}

// chooseTree measures dir, or the first default that is large enough.
func chooseTree(ctx context.Context, dir string) (tree, error) {
	if dir != "" {
		return measureTree(ctx, dir)
	}
	candidates := []string{"/usr/share"}
	if root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(root)))
	}
	candidates = append(candidates, "/usr/local/go", "/usr/lib")
	for _, dir := range candidates {
		if t, err := measureTree(ctx, dir); err == nil && t.names >= treeFilesMin {
			return t, nil
		}
	}
	return tree{}, fmt.Errorf("%w: none of %s has %d files", ErrNoTree, strings.Join(candidates, ", "), treeFilesMin)
}

// measureTree counts what lies below dir. What cannot be read is left to the
// import, which tells about it.
func measureTree(ctx context.Context, dir string) (tree, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return tree{}, fmt.Errorf("%w: %w", ErrNoTree, err)
	}
	t := tree{dir: resolved}
	if info, err := os.Stat(resolved); err == nil && !info.IsDir() {
		return tree{}, fmt.Errorf("%w: %s is not a directory", ErrNoTree, dir)
	}
	err = filepath.WalkDir(resolved, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == resolved:
			return err
		case err != nil:
			return nil
		}
		if path != resolved {
			t.names++
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			t.bytes += info.Size()
		}
		return nil
	})
	return t, err
}
