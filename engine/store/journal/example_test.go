package journal_test

import (
	"fmt"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// A batch is closed, staged, flushed; the power goes; it is read back.
func Example() {
	disk := vfs.NewMem(vfs.MemOptions{})
	o := journal.Options{FS: disk, Dir: "own", Kind: journal.Own, Cluster: wire.ClusterIDOf("prod"), Site: 5}
	j, _, err := journal.Open(o)
	if err != nil {
		fmt.Println(err)
		return
	}

	h := wire.BatchHeader{
		Kind: wire.BatchStart, Incarnation: wire.Incarnation{1}, Cluster: o.Cluster, Site: o.Site, Shard: 7,
		Epoch: 1, Count: 1, FirstSeq: 1, FirstStamp: 1000, LastStamp: 1000,
	}
	b, _ := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), nil)
	wire.CloseBatch(b, &h)
	unit, err := j.Stage([]wire.BatchRef{{Header: h, Bytes: b}}, nil)
	fmt.Println("staged into unit", unit, err)

	f := j.BeginFlush()
	if err = f.Write(); err == nil {
		err = f.Sync()
	}
	done, err := j.EndFlush(f, err)
	fmt.Println("durable unit", done.Unit, err)

	powerCut := func(vfs.Unsynced) vfs.Fate { return vfs.Drop }
	o.FS = disk.Crash(powerCut)
	j, found, err := journal.Open(o)
	fmt.Println("term", found.Term, "units", found.Units, "damage", len(found.Damage), err)
	r := j.NewReader(1)
	refs, err := r.Next(1 << 20)
	for i := range refs {
		fmt.Println("log", refs[i].Header.Log(), "seq", refs[i].Header.FirstSeq, err)
	}
	r.Close()
	fmt.Println("closed", j.Close())
	// Output:
	// staged into unit 1 <nil>
	// durable unit 1 <nil>
	// term 2 units 1 damage 0 <nil>
	// log 00000005/7 seq 1 <nil>
	// closed <nil>
}

// A file is shown without a journal, here one whose last unit was damaged.
func ExampleInspect() {
	disk := vfs.NewMem(vfs.MemOptions{})
	o := journal.Options{FS: disk, Dir: "own", Kind: journal.Own, Cluster: 1, Site: 5}
	j, _, _ := journal.Open(o)
	for stamp := range wire.Stamp(2) {
		_, _ = j.StageControl([]journal.ControlRecord{{ClockBound: 100 + stamp}}, stamp)
		f := j.BeginFlush()
		err := f.Write()
		if err == nil {
			err = f.Sync()
		}
		if _, err := j.EndFlush(f, err); err != nil {
			fmt.Println(err)
		}
	}
	const name = "own/segment-0000000000000001.seg"
	file, _ := disk.Open(name)
	_ = file.WriteAt([][]byte{{0xff}}, 2*4096+60) // in the second unit's header

	_ = journal.Inspect(disk, name, func(i journal.Item) error {
		switch {
		case i.Head != nil:
			fmt.Println(i.Offset, "head: term", i.Head.Term, "segment", i.Head.Segment)
		case i.Unit != nil:
			fmt.Println(i.Offset, "unit", i.Unit.Number, "durable through", i.Unit.Mark)
		case i.Batch != nil:
			fmt.Println(i.Offset, i.Batch.Kind, "batch, seq", i.Batch.FirstSeq)
		case i.Damage != nil:
			fmt.Println(i.Offset, "damage in unit", i.Damage.Unit)
		}
		return nil
	})
	// Output:
	// 0 head: term 1 segment 1
	// 4096 unit 1 durable through 0
	// 4224 control batch, seq 1
	// 8192 damage in unit 2
}
