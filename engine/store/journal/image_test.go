package journal

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// image is a directory of a journal as bytes: read-only for the recovery under
// test, writable for whoever damages it.
type image struct {
	vfs.FS // not set: recovery writes nothing
	files  map[string][]byte
	buf    []byte
	v      *verifier
}

type imageFile struct {
	vfs.File
	b []byte
}

func (f *imageFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.b[min(off, int64(len(f.b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *imageFile) Refresh() error { return nil } // an image is the medium

func (f *imageFile) Size() (int64, error) { return int64(len(f.b)), nil }

func (f *imageFile) Close() error { return nil }

func (m *image) List(string) ([]string, error) {
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (m *image) Open(name string) (vfs.File, error) {
	b, ok := m.files[path.Base(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &imageFile{b: b}, nil
}

// recover runs the production recovery over the image.
func (m *image) recover(o Options) (*recovery, error) {
	o.FS = m
	r := newRecovery(&o)
	if m.v != nil { // of the recovery before: half a million of them make garbage
		r.w.buf, r.v = m.buf, m.v
	}
	err := r.run()
	m.buf, m.v = r.w.buf, r.v
	return r, err
}

// imageOf copies a journal's directory.
func imageOf(t *testing.T, fsys vfs.FS, dir string) *image {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	m := &image{files: map[string][]byte{}}
	for _, name := range names {
		if name == lockName {
			continue
		}
		f, err := fsys.Open(path.Join(dir, name))
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		b := make([]byte, size)
		if size > 0 {
			_, err = f.ReadAt(b, 0)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		m.files[name] = b
	}
	return m
}

// disk puts the image on a fresh memory disk.
func (m *image) disk(t *testing.T, dir string) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{})
	require.NoError(t, mem.MkdirAll(dir))
	for name, b := range m.files {
		f, err := mem.Create(path.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, f.WriteAt([][]byte{b}, 0))
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
	}
	require.NoError(t, mem.SyncDir(dir))
	return mem
}

// spot is one unit of an image.
type spot struct {
	off, end int64
	number   UnitNumber
}

// spots lists the units of a segment file that hold.
func (m *image) spots(t *testing.T, name string) (headBytes int64, units []spot) {
	t.Helper()
	require.NoError(t, Inspect(m, name, func(i Item) error {
		require.Nil(t, i.Damage)
		if i.Head != nil {
			headBytes = i.Head.Bytes
		}
		if i.Unit != nil {
			units = append(units, spot{i.Offset, i.Offset + int64(i.Unit.Bytes), i.Unit.Number})
		}
		return nil
	}))
	return headBytes, units
}

const (
	oldName = "segment-0000000000000001.seg"
	newName = "segment-0000000000000002.seg"
)

// twoSegments writes a journal with a full segment and a newest one with more
// than 64 KiB of units, the last of which lies below no mark.
func twoSegments(t *testing.T) (*image, Options) {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{})
	o := testOptions(mem)
	fillTwoSegments(t, &o, newWriter(5))
	return imageOf(t, mem, "j"), o
}

// fillTwoSegments does it for a journal of any kind.
func fillTwoSegments(t *testing.T, o *Options, w *writer) {
	t.Helper()
	o.SegmentBytes = 96 << 10
	j, _, err := Open(*o)
	require.NoError(t, err)
	w.cluster = o.Cluster
	for i := 0; len(j.segs) < 2 || j.segs[1].end-j.segs[1].headBytes < 64<<10; i++ {
		var batches []wire.BatchRef
		for k := range 1 + i%4 {
			batches = append(batches, w.batch(wire.Shard((i+k)%5), 300+i*977%2900))
		}
		if i%7 == 3 && o.Kind == Own {
			_, err := j.StageControl([]ControlRecord{{ClockBound: w.stamp}}, w.stamp)
			require.NoError(t, err)
		}
		_, err := j.Stage(batches, nil)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		require.Less(t, len(j.segs), 3)
	}
}

func (f *imageFile) Sync() error { return nil }
