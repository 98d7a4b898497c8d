package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/claudefs/repl/wire"
	"github.com/zeebo/xxh3"
)

// FuzzIdentity: the file of a directory's identity is refused with a class, or it
// says one thing in one way. The checksum keeps random input out, so the fuzzer may
// ask for it to be set.
func FuzzIdentity(f *testing.F) {
	id := identityOf(&Options{Cluster: "prod", Site: "berlin", Shards: 4})
	whole := id.encode()
	f.Add(whole, false)
	f.Add(whole[:len(whole)-1], false)
	f.Add([]byte("format=1\ncluster=prod\nsite=a=b\nshards=04\n"), true)
	f.Add([]byte("format=2\ncluster=prod\n"), true)
	f.Add([]byte("site=berlin\nformat=1\nsite=rome\ncluster=\nshards=-1\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b, _, _ = bytes.Cut(b, []byte("checksum="))
			b = fmt.Appendf(bytes.Clone(b), "checksum=%016x\n", xxh3.Hash(b))
		}
		got, err := decodeIdentity(b)
		if err != nil {
			if !errors.Is(err, wire.ErrCorrupt) && !errors.Is(err, wire.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(got.encode(), b) {
			t.Fatalf("%q is written back as %q", b, got.encode())
		}
		o := Options{Cluster: got.clusterName, Site: got.siteName, Shards: got.shards}
		if got != identityOf(&o) {
			t.Fatalf("%+v does not follow from its names", got)
		}
	})
}
