package powerloss

import (
	"bytes"
	"testing"

	"github.com/claudefs/repl/wire"
)

// FuzzLedger: a line of the ledger is refused, or says one thing in one way: a
// promise that is misread would be checked as another one.
func FuzzLedger(f *testing.F) {
	inc := wire.Incarnation{1, 2, 3}
	b := note{promise: &promise{level: durable, shard: 3, inc: inc, seq: 77, writer: 5, number: 9}}.append(nil)
	f.Add(note{floor: &floor{mirror, wire.LogID{Site: 1 << 31, Shard: 2}, inc, 1 << 40}}.append(b))
	f.Add(append(b, "ack l 0"...))
	f.Add([]byte("ack x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		notes, err := readLedger(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again []byte
		for _, n := range notes {
			again = n.append(again)
			if n.promise != nil && n.promise.level != local && n.promise.level != durable {
				t.Fatalf("%q promises %q", b, n.promise.level)
			}
		}
		if whole := b[:bytes.LastIndexByte(b, '\n')+1]; !bytes.Equal(again, whole) {
			t.Fatalf("%q is written back as %q", whole, again)
		}
		floorsOf(notes) // takes the sites that there are
	})
}
