package wire_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/wire"
)

// A writer closes a batch of two entries; a reader takes it apart.
func Example() {
	at := wire.StampOf(time.Unix(1700000000, 0))
	header := wire.BatchHeader{
		Kind:        wire.BatchData,
		Incarnation: wire.Incarnation{1},
		Prev:        wire.Chain{2},
		Cluster:     wire.ClusterIDOf("prod"),
		Site:        wire.SiteIDOf("prod", "site-a"),
		Shard:       17,
		Epoch:       1,
		Count:       2,
		FirstSeq:    41,
		FirstStamp:  at,
		LastStamp:   at + 1,
	}
	batch := make([]byte, wire.BatchHeaderBytes)
	for i, name := range []string{"a", "b"} {
		e := wire.Entry{Op: 1, UID: 1001, Keys: [][]byte{[]byte("dir 4/" + name)}, Payload: []byte("mode 0644")}
		if err := wire.CheckEntry(&e); err != nil {
			fmt.Println(err)
			return
		}
		batch = wire.AppendEntry(batch, at, at+wire.Stamp(i), &e)
	}
	wire.CloseBatch(batch, &header)

	refs, err := wire.SplitBatches(batch, 1, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var r wire.EntryReader
	var e wire.Entry
	for r.Reset(&refs[0].Header, refs[0].Body()); r.Next(&e); {
		fmt.Printf("log %s seq %d uid %d %q %s\n", refs[0].Header.Log(), e.Seq, e.UID, e.Keys, e.Payload)
	}
	fmt.Println(r.Err())

	batch[len(batch)-1] ^= 1
	_, err = wire.SplitBatches(batch, 1, nil)
	fmt.Println(errors.Is(err, wire.ErrCorrupt))
	// Output:
	// log 97375983/17 seq 41 uid 1001 ["dir 4/a"] mode 0644
	// log 97375983/17 seq 42 uid 1001 ["dir 4/b"] mode 0644
	// <nil>
	// true
}

// A control message is a whole frame at once.
func ExampleAck() {
	frame := (&wire.Ack{Level: wire.LevelDurable, Number: 12}).AppendTo(nil, 3)

	var e wire.Envelope
	if err := wire.DecodeEnvelope(frame, &e); err != nil {
		fmt.Println(err)
		return
	}
	if err := wire.CheckFrame(&e, frame); err != nil {
		fmt.Println(err)
		return
	}
	var ack wire.Ack
	err := ack.Decode(wire.Body(&e, frame))
	fmt.Println(e.Kind, "of session", e.Session, "says", ack.Level, ack.Number, err)

	fmt.Println(ack.Decode([]byte{9}))
	// Output:
	// ack of session 3 says durable 12 <nil>
	// ack: number at offset 1: 0 bytes left, want 8: not allowed by the format
}

// Batches travel as they are, behind an envelope of their own.
func ExampleAppendBatchesEnvelope() {
	batches := make([]byte, 500) // closed batches, where they lie
	envelope := wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 2, WireBytes: uint32(len(batches)), Session: 3, Number: 1,
	}
	parts := [][]byte{wire.AppendBatchesEnvelope(nil, &envelope), batches}
	fmt.Println(len(parts[0])+len(parts[1]), envelope.FrameBytes())
	// Output: 532 532
}

// A start batch names where the shard's older logs ended.
func ExampleAppendStart() {
	ends := []wire.LogEnd{{
		Log: wire.LogID{Site: 0xa1, Shard: 17},
		End: wire.Position{Incarnation: wire.Incarnation{1}, Seq: 9, Chain: wire.Chain{2}},
	}}
	body, err := wire.AppendStart(nil, ends)
	fmt.Println(len(body), err)

	ends, err = wire.DecodeStart(body, nil)
	fmt.Println(ends[0].Log, "ended at seq", ends[0].End.Seq, err)
	// Output:
	// 50 <nil>
	// 000000a1/17 ended at seq 9 <nil>
}
