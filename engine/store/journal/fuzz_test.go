package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// FuzzSegmentFile gives arbitrary bytes to everything that reads a segment file.
// The digests keep random input out, so the fuzzer may ask for them to be set.
func FuzzSegmentFile(f *testing.F) {
	m, _, _ := seedImage(f)
	for _, b := range m.files {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > 256<<10 {
			return
		}
		if seal && len(b) >= BlockBytes {
			if n, err := headSize(b); err == nil && n <= int64(len(b)) {
				b = bytes.Clone(b)
				digest := headDigest(b[:n])
				copy(b[16:], digest[:])
				if h, err := decodeHead(b[:n]); err == nil && !bytes.Equal(h.encode(), b[:n]) {
					t.Fatalf("head %x is encoded back to %x", b[:n], h.encode())
				}
			}
		}
		o := storyOptions(nil)
		m := &image{files: map[string][]byte{oldName: b}}
		_ = Inspect(m, oldName, func(Item) error { return nil }) // any answer but a panic
		r, err := m.recover(o)
		if err != nil {
			return
		}
		if len(b) > 0 && r.unit < UnitNumber(r.report.Units) {
			t.Fatalf("%d units read, the last is %d", r.report.Units, r.unit)
		}
	})
}

// seedImage is a small journal of one segment.
func seedImage(t testing.TB) (*image, Options, [][]byte) {
	mem := vfs.NewMem(vfs.MemOptions{})
	s := newStory(storyOptions(mem))
	if err := s.run(5); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Open("j/" + oldName)
	require.NoError(t, err)
	b := make([]byte, s.o.SegmentBytes)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return &image{files: map[string][]byte{oldName: b}}, s.o, s.staged
}

// harm changes a few places of a file's first n bytes and says whether it did.
func harm(r *rand.Rand, b []byte, n int) {
	for range 1 + r.IntN(3) {
		at := r.IntN(n)
		switch r.IntN(4) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1: // a block is lost
			clear(b[at&^4095:][:4096])
		case 2: // a block went to the wrong place
			from := r.IntN(n) &^ 4095
			copy(b[at&^4095:][:4096], b[from:from+4096])
		case 3: // a sector of rubbish
			for i := range 512 {
				b[at&^511+i] = byte(r.Uint32())
			}
		}
	}
}

// requireMet lets a peer that has some of each log start where it is told to: it
// must meet the rest.
func requireMet(t *testing.T, r *rand.Rand, j *Journal, all holder, what string) {
	t.Helper()
	have, lacks := map[wire.LogID]wire.Position{}, map[string]wire.Ref{}
	for _, log := range j.Logs() {
		tail, _ := j.Tail(log)
		n := int(tail.Position.Seq)
		if r.IntN(2) == 0 {
			n = r.IntN(n + 1)
		}
		if n > 0 {
			have[log] = all[log][n-1].Header.End()
		}
		for _, b := range all[log][n:tail.Position.Seq] {
			lacks[string(b.Bytes)] = wire.Ref{Log: log, Seq: b.Header.FirstSeq}
		}
	}
	from, err := j.SegmentStart(func(log wire.LogID) wire.Position { return have[log] }, nil)
	require.NoError(t, err)
	got, _ := readAll(j, from)
	for _, b := range got {
		delete(lacks, string(b))
	}
	for _, ref := range lacks {
		t.Fatalf("%s: from unit %d, with %d of log %s: seq %d was not met",
			what, from, have[ref.Log].Seq, ref.Log, ref.Seq)
	}
}

// anySeeds keeps the test near a second; 4,000 were run once.
const anySeeds = 400

func TestDamageIsRepairedToTheLastBatch(t *testing.T) { // I4, I9
	whole, suspects := 0, 0
	for seed := range uint64(anySeeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		m, o, all := mirrored(t, 30+r.IntN(30))
		names, _ := m.List("")
		for _, name := range names {
			b := m.files[name]
			if name == oldName || r.IntN(2) == 0 {
				_, units := m.spots(t, name)
				harm(r, b, int(units[len(units)-1].end))
			}
		}
		o.FS = m.disk(t, "j")
		j, rec := reopen(t, o, nil)
		logs, errs := readLogs(t, j)
		for _, err := range errs {
			require.ErrorIs(t, err, ErrDamaged, "seed %d", seed)
		}
		for log, got := range logs { // what is read is genuine and in order
			i := 0
			for _, b := range got {
				for i < len(all[log]) && string(all[log][i].Bytes) != string(b) {
					i++
				}
				require.Less(t, i, len(all[log]), "seed %d: log %s: a batch nobody wrote, or out of order", seed, log)
			}
		}
		repairable := true
		for _, h := range j.Holes() {
			if batches := all.fetch(h.Log, h.From, h.To); len(batches) > 0 {
				require.NoError(t, j.Repair(h.Log, batches), "seed %d: %+v", seed, h)
			} else {
				require.Contains(t, rec.Suspect, h.Log)
				j.Clear(h.Log) // the peer has no more either
			}
			suspects += len(rec.Suspect)
		}
		// Without the oldest head nobody knows with which batch the journal began.
		headless := len(rec.Damage) > 0 && rec.Damage[0].Offset == 0 && rec.Damage[0].File == "j/"+oldName
		for range 2 {
			logs, errs = readLogs(t, j)
			for log, batches := range all {
				tail, known := j.Tail(log)
				got := logs[log]
				complete := known && len(got) == int(tail.Position.Seq)
				// What was torn off the end was never acknowledged; a log that began in
				// lost bytes nobody here knows of.
				repairable = repairable && complete
				if !known || complete {
					continue
				}
				begins := len(got) == 0 || string(got[0]) != string(batches[0].Bytes)
				require.True(t, headless && begins, "seed %d: log %s has %d batches, tail %s of %d; %+v %v",
					seed, log, len(got), tail.Position, len(batches), rec, errs)
			}
			if !headless {
				requireMet(t, r, j, all, fmt.Sprintf("seed %d: %+v", seed, rec))
			}
			j, _ = reopen(t, o, j)
		}
		if repairable {
			whole++
		}
	}
	t.Logf("%d journals whole again, %d suspect logs on the way", whole, suspects)
}
