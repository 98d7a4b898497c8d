package journal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/claudefs/repl/wire"
)

// sameControl: no rows are as good as no slice.
func sameControl(a, b *Control) bool {
	return a.ClockBound == b.ClockBound && slices.Equal(a.Epochs, b.Epochs) &&
		slices.EqualFunc(a.Peers, b.Peers, func(a, b wire.RegisteredPeer) bool {
			return a.Site == b.Site && a.Name == b.Name && slices.Equal(a.Cursors, b.Cursors)
		}) && slices.EqualFunc(a.Sites, b.Sites, func(a, b wire.SiteRecord) bool {
		return a.Site == b.Site && a.Name == b.Name && a.Learner == b.Learner && slices.Equal(a.Addrs, b.Addrs)
	}) && slices.Equal(a.Removed, b.Removed)
}

// FuzzControl: control records are refused with a class, or make a state that a head
// carries on as it is. What a batch adds to a state is what one decoding of both gives.
func FuzzControl(f *testing.F) {
	c := Control{
		ClockBound: 9,
		Epochs:     []DomainEpoch{{Domain: 0, Epoch: 3, Writer: 7}, {Domain: 7, Epoch: 1, Writer: 7}},
		Peers: []wire.RegisteredPeer{{Site: 8, Name: "site-b", Cursors: []wire.Cursor{{
			Log:      wire.LogID{Site: 7, Shard: 1},
			Position: wire.Position{Incarnation: wire.Incarnation{1}, Seq: 5, Chain: wire.Chain{2}},
		}}}},
	}
	state := encodeControl(&c)
	f.Add(state, []byte{controlVersion})
	f.Add([]byte{controlVersion}, state)
	f.Add(state, append([]byte{controlVersion}, appendRecord(nil, recordRemovePeer, []byte{8, 0, 0, 0})...))
	f.Add([]byte{controlVersion + 1}, []byte{})
	f.Add([]byte{controlVersionSites + 1}, []byte{})
	c.Sites = []wire.SiteRecord{{Site: 8, Name: "site-b", Addrs: []string{"host-b:x", "host-b"}, Learner: true}}
	c.Removed = []wire.RemovedSite{{Site: 9, Name: "site-c", By: "admin host-a", At: 77}}
	f.Add(encodeControl(&c), []byte{controlVersion})
	f.Add(state, encodeControl(&c))
	f.Add(encodeControl(&c), encodeControl(&Control{Removed: []wire.RemovedSite{{Site: 8, Name: "site-b"}}}))
	f.Fuzz(func(t *testing.T, head, batch []byte) {
		c, err := decodeControl(head)
		if err == nil {
			kept := c.clone()
			if err = foldControl(&c, batch); err == nil {
				joined := append(bytes.Clone(head), batch[1:]...)
				joined[0] = max(head[0], batch[0])
				both, err := decodeControl(joined)
				if err != nil || !sameControl(&both, &c) {
					t.Fatalf("%+v and the batch make %+v, decoded together %+v: %v", kept, c, both, err)
				}
			}
		}
		if err != nil {
			if !errors.Is(err, wire.ErrProtocol) && !errors.Is(err, wire.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		b := encodeControl(&c)
		again, err := decodeControl(b)
		if err != nil || !sameControl(&again, &c) || !bytes.Equal(encodeControl(&again), b) {
			t.Fatalf("%+v is %+v after a round: %v", c, again, err)
		}
		if len(b) > c.bytes() {
			t.Fatalf("%d bytes, at most %d were said", len(b), c.bytes())
		}
	})
}
