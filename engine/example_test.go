package engine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
)

// temporary is a directory for an example. Its cleaner is called at the end.
func temporary() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "repl-example")
	if err != nil {
		panic(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Two sites: what is appended at one is durable, then applied, at the other.
func Example() {
	dirA, removeA := temporary()
	defer removeA()
	dirB, removeB := temporary()
	defer removeB()
	ctx := context.Background()

	stateB := store.NewMem()
	b := must(engine.Open(ctx, engine.Options{
		Cluster: "prod", Site: "site-b", Dir: dirB, Store: stateB, SegmentBytes: 4 << 20,
		Listen: "127.0.0.1:0", Insecure: true, Primary: "site-a",
		Peers: []engine.Peer{{Site: "site-a"}},
	}))
	defer b.Close(ctx)
	a := must(engine.Open(ctx, engine.Options{
		Cluster: "prod", Site: "site-a", Dir: dirA, Store: store.NewMem(), SegmentBytes: 4 << 20,
		Insecure: true,
		Peers:    []engine.Peer{{Site: "site-b", Addrs: []string{b.Addr()}}},
	}))
	defer a.Close(ctx)

	entry := &engine.Entry{Op: engine.OpMkDir, Keys: [][]byte{[]byte("/home")}, UID: 1001, Payload: []byte("0755")}
	ref := must(a.Append(ctx, 7, entry, engine.Local))
	fmt.Println("seq", ref.Seq, "is durable at site-a")
	if err := a.Wait(ctx, ref, engine.Durable(1)); err != nil {
		panic(err)
	}
	fmt.Println("and at one other site")
	if err := a.Wait(ctx, ref, engine.Applied(1)); err != nil {
		panic(err)
	}
	value, _ := stateB.Get(7, []byte("/home"))
	fmt.Printf("site-b has /home, mode %s of user %d\n", value.Payload, value.UID)

	// Output:
	// seq 2 is durable at site-a
	// and at one other site
	// site-b has /home, mode 0755 of user 1001
}

// A host that reads its payload from somewhere has it put straight into the
// batch that goes to disk and peers.
func ExampleEngine_Reserve() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	state := store.NewMem()
	e := must(engine.Open(ctx, engine.Options{
		Cluster: "prod", Site: "site-a", Dir: dir, Store: state, SegmentBytes: 4 << 20,
	}))
	defer e.Close(ctx)

	request := strings.NewReader("twelve bytes")
	r := must(e.Reserve(ctx, 7, &engine.Entry{Op: engine.OpWrite, Keys: [][]byte{[]byte("/f")}}, request.Len()))
	if _, err := io.ReadFull(request, r.Payload); err != nil {
		r.Abort()
		return
	}
	ref := must(r.Commit(ctx, engine.AppliedHere))
	value, _ := state.Get(7, []byte("/f"))
	fmt.Printf("seq %d: %s\n", ref.Seq, value.Payload)

	// Output:
	// seq 2: twelve bytes
}

// A host with a Raft log of its own feeds the engine from it. After a restart it
// feeds again from any earlier index: what is there is held.
func Example_raftLog() {
	dir, remove := temporary()
	defer remove()
	ctx := context.Background()
	raft := []string{1: "mkdir /a", 2: "mkdir /b", 3: "mkdir /c"}
	options := engine.Options{
		Cluster: "prod", Site: "site-a", Dir: dir, Store: store.NewMem(), SegmentBytes: 4 << 20, AppendAt: true,
	}
	feed := func(e *engine.Engine, lo, hi uint64) {
		for index := lo; index < hi; index++ {
			entry := &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("log")}, Payload: []byte(raft[index])}
			_, held, err := e.AppendAt(ctx, 0, index, entry, engine.Local)
			fmt.Println(index, raft[index], "held:", held, "error:", err)
		}
	}

	e := must(engine.Open(ctx, options))
	feed(e, 1, 3)
	e.Close(ctx)

	e = must(engine.Open(ctx, options))
	defer e.Close(ctx)
	fmt.Println("keep the Raft log from behind", e.LastIndex(0))
	feed(e, 2, 4)
	fmt.Println("keep the Raft log from behind", e.LastIndex(0))

	// Output:
	// 1 mkdir /a held: false error: <nil>
	// 2 mkdir /b held: false error: <nil>
	// keep the Raft log from behind 2
	// 2 mkdir /b held: true error: <nil>
	// 3 mkdir /c held: false error: <nil>
	// keep the Raft log from behind 3
}

// Two engines of different clusters live in one process and share nothing.
func Example_twoEngines() {
	ctx := context.Background()
	for _, cluster := range []string{"prod", "staging"} {
		dir, remove := temporary()
		defer remove()
		e := must(engine.Open(ctx, engine.Options{
			Cluster: cluster, Site: "site-a", Dir: dir, Store: store.NewMem(), SegmentBytes: 4 << 20,
		}))
		defer e.Close(ctx)
		entry := &engine.Entry{Op: engine.OpCreate, Keys: [][]byte{[]byte("/file")}}
		must(e.Append(ctx, 0, entry, engine.AppliedHere))
		s := e.Status()
		fmt.Println(s.Cluster, s.Role, s.Health, "appends:", s.Appends.Entries, "backlog:", s.Apply.BacklogEntries)
	}

	// Output:
	// prod primary OK appends: 1 backlog: 0
	// staging primary OK appends: 1 backlog: 0
}
