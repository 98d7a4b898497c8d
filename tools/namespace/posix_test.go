package namespace

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

func newTest(t testing.TB) (*Store, *loop) {
	s := openTest(t, Options{Dir: "db", Shards: 16, FS: vfs.NewMem()})
	return s, newLoop(t, s)
}

// elsewhere is a top-level name in another shard than /a.
func elsewhere(s *Store) string {
	for c := 'b'; ; c++ {
		if path := "/" + string(c); ShardOf(path, s.shards) != ShardOf("/a", s.shards) {
			return path
		}
	}
}

var (
	none    syscall.Errno
	longest = strings.Repeat("n", NameBytesMax)
)

// prepared is the tree that each row of posixTable starts from.
var prepared = []Operation{
	{Op: engine.OpMkDir, Path: "/a", Mode: 0o755},
	{Op: engine.OpMkDir, Path: "/a/empty"},
	{Op: engine.OpMkDir, Path: "/a/full"},
	{Op: engine.OpCreate, Path: "/a/full/f", Mode: 0o644},
	{Op: engine.OpCreate, Path: "/a/f", Mode: 0o644},
	{Op: engine.OpLink, Path: "/a/f", Target: "/a/hard"},
	{Op: engine.OpSymlink, Path: "/a/soft", Target: "full"},
	{Op: engine.OpSetXattr, Path: "/a/f", Target: "user.k", Data: []byte("v")},
}

var posixTable = []struct {
	name string
	op   Operation
	want syscall.Errno
}{
	{"create", Operation{Op: engine.OpCreate, Path: "/a/new"}, none},
	{"create with the longest name", Operation{Op: engine.OpCreate, Path: "/a/" + longest}, none},
	{"create with a longer name", Operation{Op: engine.OpCreate, Path: "/a/x" + longest}, syscall.ENAMETOOLONG},
	{"create on a name", Operation{Op: engine.OpCreate, Path: "/a/f"}, syscall.EEXIST},
	{"overwrite a file", Operation{Op: engine.OpCreate, Flags: FlagOverwrite, Path: "/a/f"}, none},
	{"overwrite a directory", Operation{Op: engine.OpCreate, Flags: FlagOverwrite, Path: "/a/empty"}, syscall.EISDIR},
	{"overwrite a symlink", Operation{Op: engine.OpCreate, Flags: FlagOverwrite, Path: "/a/soft"}, syscall.ELOOP},
	{"create without parent", Operation{Op: engine.OpCreate, Path: "/a/no/f"}, syscall.ENOENT},
	{"create below a file", Operation{Op: engine.OpCreate, Path: "/a/f/x"}, syscall.ENOTDIR},
	{"create through a symlink", Operation{Op: engine.OpCreate, Path: "/a/soft/x"}, syscall.ELOOP},
	{"create with dots", Operation{Op: engine.OpCreate, Path: "/a/../x"}, syscall.EINVAL},
	{"create relative", Operation{Op: engine.OpCreate, Path: "a/x"}, syscall.EINVAL},
	{"create with NUL", Operation{Op: engine.OpCreate, Path: "/a/x\x00"}, syscall.EINVAL},
	{"create with a type in the mode", Operation{Op: engine.OpCreate, Path: "/a/x", Mode: 0o100644}, syscall.EINVAL},
	{"mkdir on a name", Operation{Op: engine.OpMkDir, Path: "/a/full/"}, syscall.EEXIST},
	{"mkdir on the root", Operation{Op: engine.OpMkDir, Path: "/"}, syscall.EEXIST},
	{"symlink to nothing", Operation{Op: engine.OpSymlink, Path: "/a/s"}, syscall.ENOENT},
	{"link", Operation{Op: engine.OpLink, Path: "/a/f", Target: "/a/full/g"}, none},
	{"link to a symlink", Operation{Op: engine.OpLink, Path: "/a/soft", Target: "/a/soft2"}, none},
	{"link a directory", Operation{Op: engine.OpLink, Path: "/a/empty", Target: "/a/e2"}, syscall.EPERM},
	{"link on a name", Operation{Op: engine.OpLink, Path: "/a/f", Target: "/a/full/f"}, syscall.EEXIST},
	{"unlink", Operation{Op: engine.OpUnlink, Path: "/a/f"}, none},
	{"unlink a directory", Operation{Op: engine.OpUnlink, Path: "/a/empty"}, syscall.EISDIR},
	{"unlink nothing", Operation{Op: engine.OpUnlink, Path: "/a/none"}, syscall.ENOENT},
	{"unlink the root", Operation{Op: engine.OpUnlink, Flags: FlagDir, Path: "/"}, syscall.EBUSY},
	{"rmdir", Operation{Op: engine.OpUnlink, Flags: FlagDir, Path: "/a/empty"}, none},
	{"rmdir a file", Operation{Op: engine.OpUnlink, Flags: FlagDir, Path: "/a/f"}, syscall.ENOTDIR},
	{"rmdir a full directory", Operation{Op: engine.OpUnlink, Flags: FlagDir, Path: "/a/full"}, syscall.ENOTEMPTY},
	{"rename a file", Operation{Op: engine.OpRename, Path: "/a/f", Target: "/a/full/g"}, none},
	{"rename over a file", Operation{Op: engine.OpRename, Path: "/a/f", Target: "/a/full/f"}, none},
	{"rename over its own link", Operation{Op: engine.OpRename, Path: "/a/f", Target: "/a/hard"}, none},
	{"rename over a directory", Operation{Op: engine.OpRename, Path: "/a/f", Target: "/a/empty"}, syscall.EISDIR},
	{"rename a directory", Operation{Op: engine.OpRename, Path: "/a/full", Target: "/a/empty/x"}, none},
	{"rename over empty", Operation{Op: engine.OpRename, Path: "/a/full", Target: "/a/empty"}, none},
	{"rename over full", Operation{Op: engine.OpRename, Path: "/a/empty", Target: "/a/full"}, syscall.ENOTEMPTY},
	{"rename dir over file", Operation{Op: engine.OpRename, Path: "/a/empty", Target: "/a/f"}, syscall.ENOTDIR},
	{"rename into itself", Operation{Op: engine.OpRename, Path: "/a/full", Target: "/a/full/x"}, syscall.EINVAL},
	{"rename over the parent", Operation{Op: engine.OpRename, Path: "/a/full/f", Target: "/a/full"}, syscall.EISDIR},
	{"rename nothing", Operation{Op: engine.OpRename, Path: "/a/none", Target: "/a/x"}, syscall.ENOENT},
	{"write", Operation{Op: engine.OpWrite, Path: "/a/f", Data: []byte("x")}, none},
	{"write a directory", Operation{Op: engine.OpWrite, Path: "/a/full", Data: []byte("x")}, syscall.EISDIR},
	{"write a symlink", Operation{Op: engine.OpWrite, Path: "/a/soft", Data: []byte("x")}, syscall.ELOOP},
	{"write nothing", Operation{Op: engine.OpWrite, Path: "/a/f"}, syscall.EINVAL},
	{"write the most", Operation{Op: engine.OpWrite, Path: "/a/f", Data: make([]byte, DataBytesMax)}, none},
	{"write more", Operation{Op: engine.OpWrite, Path: "/a/f", Data: make([]byte, DataBytesMax+1)}, syscall.EINVAL},
	{"write far", Operation{Op: engine.OpWrite, Path: "/a/f", Data: []byte("x"), Offset: FileBytesMax}, syscall.EFBIG},
	{"truncate far", Operation{Op: engine.OpTruncate, Path: "/a/f", Size: FileBytesMax + 1}, syscall.EFBIG},
	{"truncate to the largest", Operation{Op: engine.OpTruncate, Path: "/a/f", Size: FileBytesMax}, none},
	{"set attributes", Operation{Op: engine.OpSetAttr, Flags: FlagMode, Path: "/a/soft", Mode: 0o7777}, none},
	{"set no attributes", Operation{Op: engine.OpSetAttr, Path: "/a/f"}, syscall.EINVAL},
	{"set the root's", Operation{Op: engine.OpSetAttr, Flags: FlagMode, Path: "/"}, syscall.EPERM},
	{"set an xattr", Operation{Op: engine.OpSetXattr, Path: "/a/f", Target: "user.k2"}, none},
	{"remove an xattr", Operation{Op: engine.OpRemoveXattr, Path: "/a/f", Target: "user.k"}, none},
	{"remove no xattr", Operation{Op: engine.OpRemoveXattr, Path: "/a/f", Target: "user.k2"}, syscall.ENODATA},
	{"an operation of tomorrow", Operation{Op: 12, Path: "/a/f"}, syscall.ENOSYS},
}

func TestOperationsAnswerAsPOSIXSays(t *testing.T) {
	for _, row := range posixTable {
		t.Run(row.name, func(t *testing.T) {
			s, l := newTest(t)
			for _, r := range l.all(prepared) {
				require.NoError(t, r.Err)
			}
			before := totalOf(t, s)
			err := l.do(row.op)
			require.Equal(t, row.want, Errno(err), "%v", err)
			if row.want == none {
				require.NoError(t, err)
				require.Equal(t, totalOf(t, s), totalOf(t, l.replay(oneByOne)), "I7")
				return
			}
			require.ErrorContains(t, err, row.op.Path)
			require.Equal(t, before, totalOf(t, s), "a refused operation changed something")
		})
	}
}

func TestRenameAndLinkAcrossShardsAreRefused(t *testing.T) {
	s, l := newTest(t)
	l.all(prepared)
	other := elsewhere(s)
	require.NoError(t, l.do(Operation{Op: engine.OpMkDir, Path: other}))
	for _, op := range []wire.Op{engine.OpRename, engine.OpLink} {
		err := l.do(Operation{Op: op, Path: "/a/f", Target: other + "/f"})
		require.Equal(t, syscall.EXDEV, Errno(err))
	}
	r := l.all([]Operation{{Op: engine.OpCreate, Path: "/a/1"}, {Op: engine.OpCreate, Path: other + "/1"}})
	require.NoError(t, r[0].Err)
	require.Equal(t, syscall.EXDEV, Errno(r[1].Err), "one Submit is of one shard")
}

func TestRootListsAllShardsInOrder(t *testing.T) {
	s, l := newTest(t)
	var want []string
	for c := 'a'; c <= 'z'; c++ {
		require.NoError(t, l.do(Operation{Op: engine.OpMkDir, Path: "/" + string(c)}))
		want = append(want, string(c))
	}
	var got []string
	for after := ""; ; {
		page, err := s.List(context.Background(), "/", after, 4)
		require.NoError(t, err)
		for _, name := range page {
			got = append(got, name.Name)
			after = name.Name
		}
		if len(page) < 4 {
			break
		}
	}
	require.Equal(t, want, got)
}

func TestRequestIsDoneOnce(t *testing.T) {
	s, l := newTest(t)
	op := Operation{Op: engine.OpMkDir, Path: "/a", Request: wire.RequestID{1}}
	results := make([]Result, 2)
	n, receipt, err := s.Submit(context.Background(), l, []Operation{op, op}, results)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.False(t, results[0].Repeated)
	require.True(t, results[1].Repeated, "known from what is pending")
	require.Equal(t, results[0].Ref, results[1].Ref)
	require.NoError(t, receipt.Wait(context.Background()))
	again := l.all([]Operation{op})
	require.True(t, again[0].Repeated, "known from the store")
	require.Equal(t, results[0].Ref, again[0].Ref)
	rows := 0
	require.NoError(t, s.Decided(context.Background(), 0, func(d Decided) error {
		rows++
		require.Equal(t, Decided{Row: 1, Ref: results[0].Ref, Request: op.Request}, d)
		return nil
	}))
	require.Equal(t, 1, rows, "I2")
}

func TestContentIsWhatWasWritten(t *testing.T) {
	s, l := newTest(t)
	require.NoError(t, l.do(Operation{Op: engine.OpCreate, Path: "/f"}))
	var want []byte
	write := func(offset int, data []byte) {
		if end := offset + len(data); end > len(want) {
			want = append(want, make([]byte, end-len(want))...)
		}
		copy(want[offset:], data)
		require.NoError(t, l.do(Operation{Op: engine.OpWrite, Path: "/f", Offset: uint64(offset), Data: data}))
	}
	write(ChunkBytes-3, []byte("across the edge"))
	write(5*ChunkBytes+1, bytes.Repeat([]byte("z"), 3*ChunkBytes))
	write(6*ChunkBytes, make([]byte, ChunkBytes))
	write(10, []byte("early"))
	end := len(want)
	for _, r := range [][2]int{{0, end}, {ChunkBytes - 1, ChunkBytes + 1}, {3, 3}, {2*ChunkBytes + 7, end - 9}} {
		var got bytes.Buffer
		require.NoError(t, s.Read(context.Background(), "/f", uint64(r[0]), int64(r[1]-r[0]), &got))
		require.True(t, bytes.Equal(want[r[0]:r[1]], got.Bytes()), "range %v", r)
	}
	require.NoError(t, l.do(Operation{Op: engine.OpTruncate, Path: "/f", Size: ChunkBytes}))
	require.NoError(t, l.do(Operation{Op: engine.OpTruncate, Path: "/f", Size: ChunkBytes + 9}))
	var got bytes.Buffer
	require.NoError(t, s.Read(context.Background(), "/f", 0, -1, &got))
	require.True(t, bytes.Equal(append(want[:ChunkBytes:ChunkBytes], make([]byte, 9)...), got.Bytes()))
}

func TestRefusedAppendLeavesNoTraceInTheOverlay(t *testing.T) {
	s, l := newTest(t)
	require.NoError(t, l.do(Operation{Op: engine.OpMkDir, Path: "/a"}))
	ctx, results := context.Background(), make([]Result, 3)
	n, _, err := s.Submit(ctx, l, []Operation{{Op: engine.OpCreate, Path: "/a/pending"}}, results)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	l.full = true
	n, _, err = s.Submit(ctx, l, []Operation{{Op: engine.OpCreate, Path: "/a/lost"}}, results)
	require.ErrorIs(t, err, errLogFull)
	require.Zero(t, n)
	l.full = false
	got := l.all([]Operation{
		{Op: engine.OpWrite, Path: "/a/lost", Data: []byte("x")},
		{Op: engine.OpCreate, Path: "/a/pending"},
		{Op: engine.OpCreate, Path: "/a/lost"},
	})
	require.Equal(t, syscall.ENOENT, Errno(got[0].Err))
	require.Equal(t, syscall.EEXIST, Errno(got[1].Err))
	require.NoError(t, got[2].Err)
}

func TestEntryThatContradictsTheStateStopsTheLog(t *testing.T) {
	s, l := newTest(t)
	require.NoError(t, l.do(Operation{Op: engine.OpMkDir, Path: "/a"}))
	c := *l.changes[0]
	before := totalOf(t, s)
	require.ErrorIs(t, s.Apply(context.Background(), &c), ErrDamaged)
	require.Equal(t, before, totalOf(t, s))
}

func TestStoreIsRefusedWithAnotherShardCount(t *testing.T) {
	disk := vfs.NewMem()
	s := openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
	require.NoError(t, s.Close())
	_, err := Open(Options{Dir: "db", Shards: 8, FS: disk})
	require.ErrorIs(t, err, ErrOptions)
	require.ErrorContains(t, err, "created with 16 shards, opened with 8")
	_, err = s.Stat("/")
	require.ErrorIs(t, err, ErrClosed)
}

func TestPebblesLastWordStopsTheStoreNotTheProcess(t *testing.T) {
	s, err := Open(Options{Dir: "db", Shards: 4, FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	require.NoError(t, err)
	go s.log.Fatalf("disk %d is gone\nand where that was seen", 3) // Never ends: Pebble expects no return.
	<-s.Broken()
	_, err = s.Cursors(0)
	require.ErrorIs(t, err, ErrBroken)
	require.ErrorContains(t, err, "disk 3 is gone")
	require.NotContains(t, err.Error(), "where")
	require.ErrorIs(t, s.Sync(context.Background()), ErrBroken)
	require.ErrorIs(t, s.Close(), ErrBroken)
}

// Pebble would panic, with the process.
func TestDirectoryThatGoesStopsStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(Options{Dir: dir, Shards: 4, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(dir))
	l := newLoop(t, s)
	for i := 0; s.Err() == nil; i++ { // until the log is to go on in a new file
		op := Operation{Op: engine.OpMkDir, Path: fmt.Sprintf("/%0200d", i)}
		_, _, _ = s.Submit(t.Context(), l, []Operation{op}, make([]Result, 1)) // the last one fails
	}
	<-s.Broken()
	require.ErrorIs(t, s.Err(), ErrBroken)
	require.ErrorContains(t, s.Err(), "no such file or directory")
	require.ErrorIs(t, s.Close(), ErrBroken)
}

// I7: the digest is of the state, not of how it came about.
func TestSameContentHasTheSameDigest(t *testing.T) {
	const size = 2*ChunkBytes + 100
	histories := [][]Operation{
		{{Op: engine.OpWrite, Path: "/f", Data: append([]byte("a"), make([]byte, size-1)...)}},
		{{Op: engine.OpWrite, Path: "/f", Data: []byte("a")}, {Op: engine.OpTruncate, Path: "/f", Size: size}},
		{
			{Op: engine.OpWrite, Path: "/f", Data: bytes.Repeat([]byte("a"), size)},
			{Op: engine.OpWrite, Path: "/f", Offset: 1, Data: make([]byte, size-1)},
		},
		{
			{Op: engine.OpWrite, Path: "/f", Data: bytes.Repeat([]byte("a"), 5*ChunkBytes)},
			{Op: engine.OpTruncate, Path: "/f", Size: 1},
			{Op: engine.OpTruncate, Path: "/f", Size: size},
		},
	}
	var first Total
	for i, ops := range histories {
		s := openTest(t, Options{
			Dir: "db", Shards: 16, FS: vfs.NewMem(), Now: func() time.Time { return time.Unix(1e9, 0) },
		})
		l := newLoop(t, s)
		for _, r := range l.all(append([]Operation{{Op: engine.OpCreate, Path: "/f"}}, ops...)) {
			require.NoError(t, r.Err)
		}
		total := totalOf(t, s)
		total.Applied = 0
		if i == 0 {
			first = total
		}
		require.Equal(t, first, total, "history %d", i)
	}
}

func TestWhatIsFoundAtOpenIsDurable(t *testing.T) {
	disk := vfs.NewMem()
	s := openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
	newLoop(t, s).all(prepared)
	require.NoError(t, s.Close())
	s = openTest(t, Options{Dir: "db", Shards: 16, FS: disk})
	cursors, err := s.Cursors(ShardOf("/a", 16))
	require.NoError(t, err)
	require.Len(t, cursors, 1)
	durable, err := s.Durable(ShardOf("/a", 16))
	require.NoError(t, err)
	require.Equal(t, cursors, durable)
}
