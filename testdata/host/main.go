// Host is a program outside the module that links the engine: two engines in
// one process, one entry from the first to the second. Built and run by
// ci/host without cgo and without flags.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "host-*")
	check(err)
	defer os.RemoveAll(dir)
	a, b := address(), address()
	one := open(ctx, dir, "site-a", a, engine.Peer{Site: "site-b", Addrs: []string{b}})
	two := open(ctx, dir, "site-b", b, engine.Peer{Site: "site-a", Addrs: []string{a}})

	entry := &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("greeting")}, Payload: []byte("hello")}
	ref, err := one.Append(ctx, 7, entry, engine.Applied(1))
	check(err)
	fmt.Printf("host: ok shard=%d seq=%d role-a=%s role-b=%s\n",
		ref.Log.Shard, ref.Seq, one.Status().Role, two.Status().Role)
	check(one.Close(ctx))
	check(two.Close(ctx))
}

func open(ctx context.Context, dir, site, listen string, peer engine.Peer) *engine.Engine {
	e, err := engine.Open(ctx, engine.Options{
		Cluster: "example", Site: site, Dir: filepath.Join(dir, site), Store: store.NewMem(),
		Listen: listen, Insecure: true, Peers: []engine.Peer{peer},
	})
	check(err)
	return e
}

// address reserves a free port for a moment.
func address() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().String()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
