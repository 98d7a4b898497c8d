package namespace

import (
	"io/fs"
	"strings"
	"syscall"

	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/wire"
)

// Limits of names, as everywhere on Linux.
const (
	NameBytesMax       = 255
	PathBytesMax       = 4096
	TargetBytesMax     = 4095
	XattrNameBytesMax  = 255
	XattrValueBytesMax = 65535
	XattrCountMax      = 1024
)

// ShardOf returns the shard of a path: that of its first component. The root
// itself is in shard 0.
func ShardOf(path string, shards int) wire.Shard {
	path = strings.TrimLeft(path, "/")
	if path == "" {
		return 0
	}
	first, _, _ := strings.Cut(path, "/")
	return wire.Shard(xxh3.HashString(first) % uint64(shards))
}

// Clean checks an absolute path and returns it without doubled and trailing
// slashes. "." and ".." are EINVAL: the node does not walk.
func Clean(path string) (string, error) {
	if len(path) > PathBytesMax {
		return "", syscall.ENAMETOOLONG
	}
	if path == "" {
		return "", syscall.ENOENT
	}
	if path[0] != '/' || strings.IndexByte(path, 0) >= 0 {
		return "", syscall.EINVAL
	}
	plain := true
	for i, rest := 1, path[1:]; rest != "" || i == 1; i++ {
		name, tail, more := strings.Cut(rest, "/")
		switch {
		case len(name) > NameBytesMax:
			return "", syscall.ENAMETOOLONG
		case name == "." || name == "..":
			return "", syscall.EINVAL
		case name == "" && path != "/" || more && tail == "":
			plain = false
		}
		rest = tail
	}
	if plain {
		return path, nil
	}
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(names, "/"), nil
}

// split cuts a clean path, not "/", into its directory and its name.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// within says whether path lies below dir; both are clean.
func within(path, dir string) bool {
	return len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/'
}

func pathError(op, path string, err error) error {
	if _, ok := err.(syscall.Errno); ok {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return err
}

// place is where a path leads.
type place struct {
	path   string
	parent Inode
	name   string
	entry  dirent
	found  bool
	root   bool
}

// resolve walks a clean path. Everything before the last name must be a
// directory: ENOENT, ENOTDIR, or ELOOP for a symlink, which is not followed. dirs
// remembers directories, by clean path; nil = none.
func (v *view) resolve(path string, dirs map[string]Inode) (place, error) {
	if path == "/" {
		return place{path: path, entry: dirent{Root, TypeDir}, found: true, root: true}, nil
	}
	dir, name := split(path)
	parent, err := v.directory(dir, dirs)
	if err != nil {
		return place{}, err
	}
	d, found, err := v.dirent(parent, name)
	return place{path: path, parent: parent, name: name, entry: d, found: found}, err
}

// directory returns the inode of a clean path ("" = the root) that must be a
// directory.
func (v *view) directory(path string, dirs map[string]Inode) (Inode, error) {
	if path == "" {
		return Root, nil
	}
	if n, ok := dirs[path]; ok {
		return n, nil
	}
	above, name := split(path)
	parent, err := v.directory(above, dirs)
	if err != nil {
		return 0, err
	}
	d, found, err := v.dirent(parent, name)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, syscall.ENOENT
	case d.kind == TypeSymlink:
		return 0, syscall.ELOOP
	case d.kind != TypeDir:
		return 0, syscall.ENOTDIR
	}
	if dirs != nil {
		if len(dirs) >= dirsMax {
			clear(dirs)
		}
		dirs[path] = d.inode
	}
	return d.inode, nil
}

// dirsMax bounds a remembered set of directories.
const dirsMax = 1024
