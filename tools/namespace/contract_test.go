package namespace

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/storetest"
	"github.com/claudefs/repl/wire"
)

// tearCount is how many torn crashes of a commit the contract suite tries.
const tearCount = 12

// contract is the harness: Pebble on a memory disk that forgets what was not
// synced, all of it or, after Tear, a random part.
type contract struct {
	t    testing.TB
	disk *vfs.MemFS
	tear int // -1 = not
}

func (c *contract) open() store.Store {
	s := openTest(c.t, Options{Dir: "db", Shards: 8, FS: c.disk})
	return s
}

func (c *contract) crash(store.Store) store.Store {
	cfg := vfs.CrashCloneCfg{}
	if c.tear >= 0 {
		cfg.UnsyncedDataPercent = 50
		cfg.RNG = rand.New(rand.NewPCG(uint64(c.tear), 1))
	}
	c.disk, c.tear = c.disk.CrashClone(cfg), -1
	return c.open()
}

func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	o.CacheBytes, o.MemTableBytes = 4<<20, 1<<20
	s, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// entryOf makes something new in the root for every n: suite and store may lose
// any of them in a crash, so none builds on another.
func entryOf(shard wire.Shard, n int) wire.Entry {
	inode := Inode(uint64(shard)<<inodeShardBits | uint64(n+counterFirst))
	p := payload{
		op: engine.OpCreate, time: int64(n), parent: Root, inode: inode, mode: 0o644,
		name: fmt.Appendf(nil, "name %d", n),
	}
	switch n % 3 {
	case 1:
		p.op = engine.OpMkDir
	case 2:
		p.op, p.name2 = engine.OpSymlink, []byte("target")
	}
	return wire.Entry{
		Op: p.op, UID: 1, GID: 2, Payload: p.encode(nil),
		Request: wire.RequestID{1, byte(shard), byte(n >> 8), byte(n)},
		Keys:    [][]byte{direntKey(nil, Root, string(p.name)), inodeKey(nil, inode)},
	}
}

// knownIn is what a client that repeats a request is answered.
func knownIn(s store.Store, shard wire.Shard, id wire.RequestID) (wire.Ref, bool) {
	v := view{r: s.(*Store).db, shard: shard}
	ref, known, err := v.known(id)
	if err != nil {
		panic(err)
	}
	return ref, known
}

// I1, I2, I3, I7: what the engine relies on.
func TestNamespaceKeepsTheStoreContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		c := &contract{t: t, disk: vfs.NewCrashableMem(), tear: -1}
		return storetest.Harness{
			Fresh: func() store.Store { return openTest(t, Options{Dir: "db", Shards: 8, FS: vfs.NewMem()}) },
			Open:  c.open,
			Close: func(s store.Store) error { return s.(*Store).Close() },
			Crash: c.crash,
			Tear:  func(_ store.Store, n int) { c.tear = n },
			Torn:  func(store.Store) bool { return c.tear < tearCount },
			Entry: entryOf, Known: knownIn, UnknownOp: 60000,
		}
	})
}
