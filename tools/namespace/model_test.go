package namespace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// model is a slow, obvious file system: a map from path to file. Hard links
// share one.
type model struct {
	shards int
	files  map[string]*modelFile
}

type modelFile struct {
	kind   Type
	mode   uint32
	data   []byte
	target string
	xattrs map[string]string
}

func newModel(shards int) *model {
	return &model{shards: shards, files: map[string]*modelFile{"": {kind: TypeDir}}}
}

func (m *model) children(path string) (names []string) {
	for other := range m.files {
		if dir, _, ok := cutLast(other); ok && dir == path {
			names = append(names, other)
		}
	}
	return names
}

func cutLast(path string) (dir, name string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

// find checks that what is above path are directories.
func (m *model) find(path string) (*modelFile, syscall.Errno) {
	dir, _, ok := cutLast(path)
	if !ok {
		return m.files[""], 0
	}
	above, errno := m.find(dir)
	switch {
	case errno != 0:
		return nil, errno
	case above == nil:
		return nil, syscall.ENOENT
	case above.kind == TypeSymlink:
		return nil, syscall.ELOOP
	case above.kind == TypeFile:
		return nil, syscall.ENOTDIR
	}
	return m.files[path], 0
}

func (m *model) do(op *Operation) syscall.Errno {
	f, errno := m.find(op.Path)
	if errno != 0 {
		return errno
	}
	makes := op.Op == engine.OpCreate || op.Op == engine.OpMkDir || op.Op == engine.OpSymlink
	if makes && f != nil {
		return syscall.EEXIST
	}
	if !makes && f == nil {
		return syscall.ENOENT
	}
	switch op.Op {
	case engine.OpCreate:
		m.files[op.Path] = &modelFile{kind: TypeFile, mode: op.Mode, xattrs: map[string]string{}}
	case engine.OpMkDir:
		m.files[op.Path] = &modelFile{kind: TypeDir, mode: op.Mode, xattrs: map[string]string{}}
	case engine.OpSymlink:
		m.files[op.Path] = &modelFile{kind: TypeSymlink, mode: 0o777, target: op.Target, xattrs: map[string]string{}}
	case engine.OpUnlink:
		return m.unlink(op, f)
	case engine.OpLink:
		return m.link(op, f)
	case engine.OpRename:
		return m.rename(op, f)
	case engine.OpWrite, engine.OpTruncate:
		if f.kind == TypeDir {
			return syscall.EISDIR
		}
		if f.kind == TypeSymlink {
			return syscall.ELOOP
		}
		end := op.Size
		if op.Op == engine.OpWrite {
			end = max(uint64(len(f.data)), op.Offset+uint64(len(op.Data)))
		}
		f.data = append(f.data, make([]byte, max(end, uint64(len(f.data)))-uint64(len(f.data)))...)[:end]
		copy(f.data[min(op.Offset, end):], op.Data)
	case engine.OpSetAttr:
		f.mode = op.Mode
	case engine.OpSetXattr:
		f.xattrs[op.Target] = string(op.Data)
	case engine.OpRemoveXattr:
		if _, ok := f.xattrs[op.Target]; !ok {
			return syscall.ENODATA
		}
		delete(f.xattrs, op.Target)
	}
	return 0
}

func (m *model) unlink(op *Operation, f *modelFile) syscall.Errno {
	switch dir := op.Flags&FlagDir != 0; {
	case dir && f.kind != TypeDir:
		return syscall.ENOTDIR
	case !dir && f.kind == TypeDir:
		return syscall.EISDIR
	case dir && len(m.children(op.Path)) > 0:
		return syscall.ENOTEMPTY
	}
	delete(m.files, op.Path)
	return 0
}

func (m *model) link(op *Operation, f *modelFile) syscall.Errno {
	if f.kind == TypeDir {
		return syscall.EPERM
	}
	if ShardOf(op.Path, m.shards) != ShardOf(op.Target, m.shards) {
		return syscall.EXDEV
	}
	to, errno := m.find(op.Target)
	if errno != 0 {
		return errno
	}
	if to != nil {
		return syscall.EEXIST
	}
	m.files[op.Target] = f
	return 0
}

func (m *model) rename(op *Operation, f *modelFile) syscall.Errno {
	if ShardOf(op.Path, m.shards) != ShardOf(op.Target, m.shards) {
		return syscall.EXDEV
	}
	to, errno := m.find(op.Target)
	switch {
	case errno != 0:
		return errno
	case strings.HasPrefix(op.Target, op.Path+"/"):
		return syscall.EINVAL
	case to == f:
		return 0
	case to != nil && f.kind == TypeDir && to.kind != TypeDir:
		return syscall.ENOTDIR
	case to != nil && f.kind != TypeDir && to.kind == TypeDir:
		return syscall.EISDIR
	case to != nil && to.kind == TypeDir && len(m.children(op.Target)) > 0:
		return syscall.ENOTEMPTY
	}
	delete(m.files, op.Path)
	m.files[op.Target] = f
	for path, below := range maps.Clone(m.files) {
		if rest, ok := strings.CutPrefix(path, op.Path+"/"); ok {
			delete(m.files, path)
			m.files[op.Target+"/"+rest] = below
		}
	}
	return 0
}

// lines is what Walk should see, without times and numbers.
func (m *model) lines() (out []string) {
	for path, f := range m.files {
		if path == "" {
			continue
		}
		links := 0
		for _, other := range m.files {
			if other == f {
				links++
			}
		}
		size := len(f.data)
		switch f.kind {
		case TypeDir:
			children := m.children(path)
			links, size = 2, len(children)
			for _, c := range children {
				if m.files[c].kind == TypeDir {
					links++
				}
			}
		case TypeSymlink:
			size = len(f.target)
		}
		xattrs := slices.Sorted(maps.Keys(f.xattrs))
		h := hasher{hash: sha256.New()}
		for _, name := range xattrs {
			h.row([]byte(name), []byte(f.xattrs[name]))
		}
		a := Attr{
			Type: f.kind, Mode: f.mode, Nlink: uint32(links), Size: uint64(size), Target: f.target,
			Xattrs: uint32(len(xattrs)),
		}
		content := sha256.Sum256(f.data)
		out = append(out, line(path, &a, h.hash.Sum(nil), content[:]))
	}
	slices.Sort(out)
	return out
}

func line(path string, a *Attr, xattrs, content []byte) string {
	if a.Xattrs == 0 {
		xattrs = nil
	}
	if a.Type != TypeFile {
		content = nil
	}
	return fmt.Sprintf("%s %s %o links %d size %d %q xattrs %x content %x",
		path, a.Type, a.Mode, a.Nlink, a.Size, a.Target, xattrs, content)
}

func walked(t *testing.T, s *Store) (out []string) {
	require.NoError(t, s.Walk(context.Background(), "/", func(r *Row) error {
		if r.Path != "/" {
			out = append(out, line(r.Path, &r.Attr, r.Xattrs, r.Content))
		}
		return nil
	}))
	slices.Sort(out)
	return out
}

var modelOps = []wire.Op{
	engine.OpCreate, engine.OpCreate, engine.OpMkDir, engine.OpMkDir, engine.OpSymlink, engine.OpUnlink,
	engine.OpUnlink, engine.OpRename, engine.OpRename, engine.OpRename, engine.OpLink, engine.OpWrite,
	engine.OpWrite, engine.OpWrite, engine.OpTruncate, engine.OpSetAttr, engine.OpSetXattr, engine.OpRemoveXattr,
}

func randomPath(r *rand.Rand) string {
	path := "/" + string("ab"[r.IntN(2)])
	for range r.IntN(4) {
		path += "/" + string("xyz"[r.IntN(3)])
	}
	return path
}

// randomOp sizes its data around the edges of chunks.
func randomOp(r *rand.Rand) Operation {
	op := Operation{Op: modelOps[r.IntN(len(modelOps))], Path: randomPath(r), Mode: uint32(r.IntN(0o10000))}
	edge := func() uint64 { return uint64(r.IntN(3))*ChunkBytes + uint64(r.IntN(3)*r.IntN(9)) }
	switch op.Op {
	case engine.OpUnlink:
		if r.IntN(2) == 0 {
			op.Flags = FlagDir
		}
	case engine.OpRename, engine.OpLink:
		op.Target = randomPath(r)
	case engine.OpSymlink:
		op.Target = randomPath(r)
	case engine.OpWrite:
		op.Offset = edge()
		op.Data = bytes.Repeat([]byte{byte(r.IntN(3))}, int(edge())+1)
	case engine.OpTruncate:
		op.Size = edge()
	case engine.OpSetAttr:
		op.Flags = FlagMode
	case engine.OpSetXattr, engine.OpRemoveXattr:
		op.Target = "user." + string("kl"[r.IntN(2)])
		op.Data = []byte{byte(r.IntN(256))}
		if op.Op == engine.OpRemoveXattr {
			op.Data = nil
		}
	}
	return op
}

// Groups of random size are validated ahead of what is applied; answers, the
// tree and the digests must be those of the obvious file system (I7).
func TestRandomOperationsMatchModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			s, l := newTest(t)
			m := newModel(s.shards)
			ctx := context.Background()
			for range 120 {
				receipts := map[wire.Shard]Receipt{}
				for range 1 + r.IntN(8) {
					op := randomOp(r)
					results := make([]Result, 1)
					n, receipt, err := s.Submit(ctx, l, []Operation{op}, results)
					require.NoError(t, err)
					require.Equal(t, 1, n)
					want := m.do(&op)
					err = results[0].Err
					require.Equal(t, want, Errno(err), "%s %s %s: %v", OpName(op.Op), op.Path, op.Target, err)
					receipts[ShardOf(op.Path, s.shards)] = receipt
				}
				for _, shard := range slices.Sorted(maps.Keys(receipts)) {
					if r.IntN(3) > 0 {
						require.NoError(t, receipts[shard].Wait(ctx))
					}
				}
			}
			for _, shard := range slices.Sorted(maps.Keys(l.pending)) {
				if entries := l.pending[shard]; len(entries) > 0 {
					require.NoError(t, l.apply(ctx, shard, entries))
				}
			}
			require.Equal(t, m.lines(), walked(t, s))
			other := l.replay(oneByOne)
			require.Equal(t, totalOf(t, s), totalOf(t, other))
			for shard := range s.shards {
				a, _, err := s.Digest(ctx, wire.Shard(shard), nil, nil)
				require.NoError(t, err)
				b, _, err := other.Digest(ctx, wire.Shard(shard), nil, nil)
				require.NoError(t, err)
				require.Equal(t, a, b, "shard %d", shard)
			}
		})
	}
}
