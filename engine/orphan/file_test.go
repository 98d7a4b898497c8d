package orphan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

var (
	logA = wire.LogID{Site: 1, Shard: 3}
	inA  = wire.Incarnation{7}
)

// batchesOf are batches of so many entries each, whose seqs follow after, the first behind prev.
func batchesOf(log wire.LogID, in wire.Incarnation, epoch wire.Epoch, after wire.Seq, prev wire.Chain, counts ...int,
) (batches []wire.BatchRef) {
	for _, count := range counts {
		b, base := make([]byte, wire.BatchHeaderBytes), 100+wire.Stamp(after)
		for i := range count {
			e := wire.Entry{Op: 9, Keys: [][]byte{fmt.Appendf(nil, "key %d", int(after)+i+1)}, Payload: []byte("v")}
			e.Request[0] = byte(int(after) + i + 1)
			b = wire.AppendEntry(b, base, base+wire.Stamp(i), &e)
		}
		h := wire.BatchHeader{
			Kind: wire.BatchData, Prev: prev, Incarnation: in, Cluster: 5, Site: log.Site, Node: 1, Shard: log.Shard,
			Epoch: epoch, Count: uint32(count), FirstSeq: after + 1, FirstStamp: base,
			LastStamp: base + wire.Stamp(count) - 1,
		}
		wire.CloseBatch(b, &h)
		batches = append(batches, wire.BatchRef{Header: h, Bytes: b})
		after, prev = h.LastSeq(), h.Chain
	}
	return batches
}

// draftOf is a row with the batches.
func draftOf(batches []wire.BatchRef) *draft {
	h := &batches[0].Header
	d := &draft{Range: Range{h.Log(), h.Incarnation, h.Epoch, h.FirstSeq - 1, batches[len(batches)-1].Header.LastSeq()}}
	for i := range batches {
		d.count, d.data = d.count+1, append(d.data, batches[i].Bytes...)
	}
	return d
}

// TestEachChangedBitIsDetected: of a file with one bit flipped, cut anywhere, or with a byte more,
// nothing is taken (I9).
func TestEachChangedBitIsDetected(t *testing.T) {
	one := batchesOf(logA, inA, 4, 6, wire.Chain{1}, 2, 1)
	other := batchesOf(wire.LogID{Site: 1, Shard: 9}, wire.Incarnation{8}, 4, 0, wire.Chain{}, 3)
	files := map[byte][]byte{
		kindOrphans: encode(kindOrphans, []*draft{draftOf(one), draftOf(other)}),
		kindSettled: encode(kindSettled, []*draft{{Range: draftOf(one).Range}, {Range: draftOf(other).Range}}),
	}
	for kind, b := range files {
		pieces, err := decode(b, kind)
		require.NoError(t, err)
		require.Equal(t, draftOf(one).Range, pieces[0].Range)
		require.Equal(t, draftOf(other).Range, pieces[1].Range)
		_, err = decode(b, kindOrphans+kindSettled-kind)
		require.ErrorIs(t, err, ErrFile, "the other kind")
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			_, err := decode(b, kind)
			require.ErrorIs(t, err, ErrFile, "bit %d", bit)
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range len(b) {
			_, err := decode(b[:n], kind)
			require.ErrorIs(t, err, ErrFile, "cut to %d bytes", n)
		}
		_, err = decode(append(b[:len(b):len(b)], 0), kind)
		require.ErrorIs(t, err, ErrFile)
		t.Logf("kind %d: %d bytes, %d bits and %d cuts", kind, len(b), 8*len(b), len(b))
	}
}

// TestLaterVersionIsNamed: a whole file of a later release is told from a damaged one.
func TestLaterVersionIsNamed(t *testing.T) {
	b := encode(kindOrphans, []*draft{draftOf(batchesOf(logA, inA, 4, 6, wire.Chain{1}, 2))})
	b[4] = fileVersion + 1
	sum := xxh3.Hash(b[:len(b)-sumBytes])
	for i := range sumBytes {
		b[len(b)-sumBytes+i] = byte(sum >> (8 * i))
	}
	_, err := decode(b, kindOrphans)
	require.ErrorIs(t, err, wire.ErrVersion)
}

// TestRowsMustFitTheirBatches: a file whose checksum holds, with a row of other batches, is refused.
func TestRowsMustFitTheirBatches(t *testing.T) {
	for name, change := range map[string]func(*draft){
		"shard":       func(d *draft) { d.Log.Shard++ },
		"incarnation": func(d *draft) { d.Incarnation[3]++ },
		"epoch":       func(d *draft) { d.Epoch++ },
		"begin":       func(d *draft) { d.After++ },
		"end":         func(d *draft) { d.To++ },
		"count":       func(d *draft) { d.count-- },
	} {
		d := draftOf(batchesOf(logA, inA, 4, 6, wire.Chain{1}, 2, 1))
		change(d)
		_, err := decode(encode(kindOrphans, []*draft{d}), kindOrphans)
		require.ErrorIs(t, err, ErrFile, name)
	}
}

// TestRangesAreTakenOut: without is what a set of seqs says, for all ranges below 7.
func TestRangesAreTakenOut(t *testing.T) {
	r := func(after, to int) Range { return Range{Incarnation: inA, After: wire.Seq(after), To: wire.Seq(to)} }
	for mask := range 1 << 12 {
		a, b, c := r(mask&7, mask>>3&7), r(mask>>6&7, mask>>9&7), Range{Incarnation: wire.Incarnation{1}, To: 9}
		if a.To <= a.After || b.To <= b.After {
			continue
		}
		left := a.without([]Range{b, c})
		for seq := wire.Seq(1); seq < 8; seq++ {
			in := 0
			for i := range left {
				if left[i].has(seq) {
					in++
				}
			}
			want := 0
			if a.has(seq) && !b.has(seq) {
				want = 1
			}
			require.Equal(t, want, in, "%v without %v: seq %d", a, b, seq)
		}
	}
}

// keeperOf lists what a directory has.
func keeperOf(t *testing.T, disk vfs.FS) *Keeper {
	k, err := Open(disk, "orphans")
	require.NoError(t, err)
	return k
}

// TestPowerCutAtEachCallOfWriting: after a power cut before or after each call, the file is whole or
// is not there, and writing it again has its entries once.
func TestPowerCutAtEachCallOfWriting(t *testing.T) {
	drafts := []*draft{draftOf(batchesOf(logA, inA, 4, 6, wire.Chain{1}, 200, 100))}
	cuts := 0
	for _, op := range vfs.FailpointOps() {
		for call := 1; call < 3; call++ {
			for _, after := range []bool{false, true} {
				disk := vfs.NewMem(vfs.MemOptions{})
				var images []*vfs.Mem
				point := vfs.Failpoint{Op: op, Call: call, After: after}
				s, err := openShelf(vfs.AtFailpoint(disk, point, func() {
					r := rand.New(rand.NewPCG(uint64(call), uint64(op)))
					for _, fate := range []func(vfs.Unsynced) vfs.Fate{
						func(vfs.Unsynced) vfs.Fate { return vfs.Drop },
						func(vfs.Unsynced) vfs.Fate { return vfs.Keep }, vfs.RandomFates(r),
					} {
						images = append(images, disk.Crash(fate))
					}
				}), "orphans")
				require.NoError(t, err)
				require.NoError(t, s.add(4, drafts))
				images = append(images, disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop }))
				for i, image := range images {
					cuts++
					k := keeperOf(t, image)
					require.NoError(t, k.Err(), "%s", point)
					if len(k.List()) == 0 {
						require.Less(t, i, len(images)-1, "it was written")
						require.NoError(t, k.shelf.add(4, drafts))
						k = keeperOf(t, image)
					}
					require.Equal(t, []Listed{{drafts[0].Range, 300}}, k.List(), "%s", point)
				}
			}
		}
	}
	require.Greater(t, cuts, 40)
	t.Logf("%d images", cuts)
}

// TestFailedCallOfWritingIsTriedAgain: each call fails once. Then nothing, or all, is listed, and after
// a second try each entry once, also after a restart.
func TestFailedCallOfWritingIsTriedAgain(t *testing.T) {
	drafts := []*draft{draftOf(batchesOf(logA, inA, 4, 6, wire.Chain{1}, 200, 100))}
	failed := 0
	for _, fault := range []vfs.Fault{
		{Op: vfs.OpMkdir}, {Op: vfs.OpCreate}, {Op: vfs.OpWrite}, {Op: vfs.OpWrite, Effect: vfs.ShortWrite},
		{Op: vfs.OpSync}, {Op: vfs.OpSync, Effect: vfs.SyncThenClean}, {Op: vfs.OpRename}, {Op: vfs.OpSyncDir},
	} {
		fault.Call = 1
		disk := vfs.NewMem(vfs.MemOptions{})
		s, err := openShelf(vfs.WithFaults(disk, fault), "orphans")
		require.NoError(t, err)
		if s.add(4, drafts) != nil {
			failed++
			require.Empty(t, s.saved())
			s.next++ // as if another epoch's had been written meanwhile
			require.NoError(t, s.add(4, drafts))
		}
		for _, fate := range []vfs.Fate{vfs.Drop, vfs.Keep} {
			image := disk.Crash(func(vfs.Unsynced) vfs.Fate { return fate })
			for range 2 {
				require.Equal(t, []Listed{{drafts[0].Range, 300}}, keeperOf(t, image).List(), "%v", fault)
			}
		}
	}
	require.Equal(t, 8, failed)
}

// TestDamagedFileIsNamed: it stays where it is, and the others are listed.
func TestDamagedFileIsNamed(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	s, err := openShelf(disk, "orphans")
	require.NoError(t, err)
	batches := batchesOf(logA, inA, 4, 6, wire.Chain{1}, 2, 1)
	require.NoError(t, s.add(4, []*draft{draftOf(batches[:1])}))
	require.NoError(t, s.add(4, []*draft{draftOf(batches[1:])}))
	f, err := disk.Open("orphans/" + s.files[0].name)
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([][]byte{{1}}, 90))
	k := keeperOf(t, disk)
	require.ErrorIs(t, k.Err(), ErrFile)
	require.ErrorContains(t, k.Err(), s.files[0].name)
	require.Equal(t, []Listed{{draftOf(batches[1:]).Range, 1}}, k.List())
}

// TestSettledStaysOffTheList: single entries, then the rest, over restarts; then the file goes.
func TestSettledStaysOffTheList(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	k := keeperOf(t, disk)
	d := draftOf(batchesOf(logA, inA, 4, 6, wire.Chain{1}, 2, 1)) // 7, 8 and 9
	require.NoError(t, k.shelf.add(4, []*draft{d}))
	left := func() (seqs []wire.Seq) {
		k = keeperOf(t, disk.Crash(func(vfs.Unsynced) vfs.Fate { return vfs.Drop }))
		require.NoError(t, k.Entries(inA, func(_ *Range, e *wire.Entry) error {
			require.Equal(t, byte(e.Seq), e.Request[0])
			require.Equal(t, fmt.Sprint("key ", e.Seq), string(e.Keys[0]))
			seqs = append(seqs, e.Seq)
			return nil
		}))
		return seqs
	}
	require.Equal(t, []wire.Seq{7, 8, 9}, left())
	one := d.Range
	one.After, one.To = 7, 8
	require.NoError(t, keeperOf(t, disk).Settle([]Range{one}))
	require.Equal(t, []wire.Seq{7, 9}, left())
	require.Equal(t, int64(2), k.List()[0].Entries)
	require.NoError(t, keeperOf(t, disk).Settle([]Range{d.Range}))
	require.Empty(t, left())
	require.Empty(t, k.List())
	names, err := disk.List("orphans")
	require.NoError(t, err)
	require.Equal(t, []string{settledName}, names)
}
