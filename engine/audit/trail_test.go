package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

const dir = "/data/audit"

func options(files vfs.FS) audit.Options {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	return audit.Options{FS: files, Dir: dir, Site: "site-a", FileBytes: 64 << 10, FilesMax: 4,
		Now: func() time.Time { at = at.Add(time.Second); return at }}
}

func event(text string) audit.Entry {
	return audit.Entry{Kind: "refused", Peer: "site-b", Shard: -1, What: text}
}

func records(t *testing.T, files vfs.FS, since time.Time) (all []audit.Record) {
	t.Helper()
	require.NoError(t, audit.Read(files, dir, since, func(r *audit.Record) error {
		all = append(all, *r)
		return nil
	}))
	return all
}

func check(t *testing.T, files vfs.FS) *audit.Report {
	t.Helper()
	report, err := audit.Check(files, dir)
	require.NoError(t, err)
	return report
}

// bytesOf returns a file of the trail without the newlines that fill it.
func bytesOf(t *testing.T, files vfs.FS, name string) []byte {
	t.Helper()
	f, err := files.Open(name)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return append(bytes.TrimRight(b, "\n"), '\n')
}

// replace writes other bytes over a file of the trail.
func replace(t *testing.T, files vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := files.Open(name)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	pad := bytes.Repeat([]byte("\n"), max(0, int(size)-len(b)))
	require.NoError(t, f.WriteAt([][]byte{b, pad}, 0))
}

func TestTrailIsReadBack(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	require.Empty(t, records(t, disk, time.Time{}), "there is no directory yet")
	trail := audit.New(options(disk))
	act, err := trail.Begin(audit.Entry{Kind: "forget", Peer: "site-x", Shard: -1, What: "3 entries",
		Actor: &audit.Actor{How: "admin", Name: "127.0.0.1"}})
	require.NoError(t, err)
	require.NoError(t, trail.Note(audit.Entry{Kind: "log-stopped", Peer: "site-b", Shard: 7, What: "<they> differ"}))
	require.NoError(t, act.End(audit.Done, "3 entries"))
	trail.Close()
	require.ErrorIs(t, trail.Note(event("late")), audit.ErrUnavailable)

	all := records(t, disk, time.Time{})
	require.Len(t, all, 3)
	require.Equal(t, audit.Begun, all[0].Outcome)
	require.Equal(t, "127.0.0.1", all[0].Actor.Name)
	require.Equal(t, 7, *all[1].Shard)
	require.Nil(t, all[2].Shard)
	require.Equal(t, []any{audit.Done, uint64(1), "site-x", "forget"},
		[]any{all[2].Outcome, all[2].Of, all[2].Peer, all[2].Kind})
	require.Len(t, records(t, disk, all[1].At), 2)

	report := check(t, disk)
	require.Empty(t, report.Places)
	require.Equal(t, []any{1, 3, uint64(1), uint64(3), 0, all[2].Hash},
		[]any{report.Files, report.Lines, report.First, report.Last, report.Open, report.LastHash})
	for i, line := range bytes.SplitAfter(bytesOf(t, disk, dir+"/000001.jsonl"), []byte("\n")) {
		if len(line) > 0 {
			var generic map[string]any
			require.NoError(t, json.Unmarshal(line, &generic), "line %d is JSON for everybody", i)
			require.Zero(t, len(line)%512)
		}
	}
}

func TestVerbWithoutOutcomeIsInterrupted(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(disk))
	_, err := trail.Begin(audit.Entry{Kind: "forget", Shard: -1})
	require.NoError(t, err)
	require.Equal(t, 1, check(t, disk).Open)
	disk.Kill()
	trail = audit.New(options(disk))
	require.NoError(t, trail.Note(event("next life")))
	all := records(t, disk, time.Time{})
	require.Equal(t, audit.Interrupted, all[1].Outcome)
	require.Equal(t, uint64(1), all[1].Of)
	require.Equal(t, "next life", all[2].What)
	require.Zero(t, check(t, disk).Open)
	require.Empty(t, check(t, disk).Places)
}

// TestPowerCutKeepsEachFlushedLine cuts the power before and after each call that changes the
// disk, with files that are prepared and rotated on the way.
func TestPowerCutKeepsEachFlushedLine(t *testing.T) {
	cuts := 0
	for _, op := range vfs.FailpointOps() {
		for _, after := range []bool{false, true} {
			for call := 1; call < 40; call++ {
				for draw := range uint64(4) {
					if !cutAt(t, vfs.Failpoint{Op: op, Call: call, After: after}, draw) {
						call = 40
						break
					}
					cuts++
				}
			}
		}
	}
	require.Greater(t, cuts, 200)
}

// cutAt says whether the failpoint was reached.
func cutAt(t *testing.T, point vfs.Failpoint, draw uint64) bool {
	var survived *vfs.Mem
	disk := vfs.NewMem(vfs.MemOptions{})
	r := rand.New(rand.NewPCG(draw, uint64(point.Call)))
	trail := audit.New(options(vfs.AtFailpoint(disk, point, func() {
		fates := vfs.RandomFates(r)
		switch draw {
		case 0:
			fates = func(vfs.Unsynced) vfs.Fate { return vfs.Drop }
		case 1:
			fates = func(vfs.Unsynced) vfs.Fate { return vfs.Keep }
		}
		survived = disk.Crash(fates)
		disk.Kill()
	})))
	flushed := 0
	for i := range 30 {
		err := trail.Note(event(fmt.Sprintf("%d %s", i, strings.Repeat("x", 4000))))
		if survived != nil {
			break // the power was cut within that call: its line counts if it was flushed
		}
		require.NoError(t, err)
		flushed++
	}
	if survived == nil {
		return false
	}
	what := fmt.Sprintf("%v, draw %d, %d flushed", point, draw, flushed)
	trail = audit.New(options(survived))
	require.NoError(t, trail.Note(event("after")), what)
	report := check(t, survived)
	require.Empty(t, report.Places, what)
	all := records(t, survived, time.Time{})
	kept := 0
	for _, line := range all[:len(all)-1] {
		if line.Kind == "refused" {
			require.True(t, strings.HasPrefix(line.What, fmt.Sprintf("%d x", kept)), what)
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, flushed, what)
	require.LessOrEqual(t, kept, flushed+1, what)
	return true
}

func TestFailedCallIsTriedAgain(t *testing.T) {
	for _, fault := range []vfs.Fault{
		{Op: vfs.OpWrite}, {Op: vfs.OpWrite, Effect: vfs.ShortWrite}, {Op: vfs.OpSync}, {Op: vfs.OpCreate},
		{Op: vfs.OpSync, Effect: vfs.SyncThenClean}, {Op: vfs.OpOpen}, {Op: vfs.OpList}, {Op: vfs.OpRead},
		{Op: vfs.OpMkdir}, {Op: vfs.OpSyncDir}, {Op: vfs.OpSize}, {Op: vfs.OpRemove},
	} {
		for call := 1; call < 12; call++ {
			fault.Call = call
			disk := vfs.NewMem(vfs.MemOptions{})
			trail := audit.New(options(vfs.WithFaults(disk, fault)))
			var act *audit.Act
			for i := 0; act == nil; i++ {
				require.Less(t, i, 3, "%v", fault)
				act, _ = trail.Begin(audit.Entry{Kind: "forget", Shard: -1})
			}
			failures, written := 0, 0
			for i := range 80 {
				if err := trail.Note(event(fmt.Sprintf("%d %s", i, strings.Repeat("y", 4000)))); err != nil {
					require.ErrorIs(t, err, audit.ErrUnavailable)
					require.Error(t, trail.Err())
					failures++
					continue
				}
				require.NoError(t, trail.Err())
				written++
			}
			require.LessOrEqual(t, failures, 1, "%v", fault)
			if act.End(audit.Done, "") != nil {
				require.NoError(t, act.End(audit.Done, ""), "%v", fault)
			}
			report := check(t, disk)
			require.Empty(t, report.Places, "%v", fault)
			require.LessOrEqual(t, report.Files, 5)
		}
	}
}

func TestFullDiskRefusesNoLineThatFits(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{CapacityBytes: 80 << 10})
	trail := audit.New(options(disk))
	for i := range 100 {
		require.NoError(t, trail.Note(event("fits")), "line %d of 128 in a file of 64 KiB", i)
	}
	var err error
	for range 100 {
		if err = trail.Note(event("does not fit")); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, audit.ErrUnavailable)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, check(t, disk).Places)
}

func TestOldestFilesAreRemoved(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(disk))
	for range 1000 {
		require.NoError(t, trail.Note(event("")))
	}
	report := check(t, disk)
	require.Empty(t, report.Places)
	require.LessOrEqual(t, report.Files, 5, "and one that is prepared")
	require.Equal(t, uint64(1000), report.Last)
	require.Greater(t, report.First, uint64(1))
}

// TestCheckFindsEachEdit changes one line after another in each way that leaves lines behind it.
func TestCheckFindsEachEdit(t *testing.T) {
	const lines = 20
	name := dir + "/000001.jsonl"
	write := func() (*vfs.Mem, [][]byte) {
		disk := vfs.NewMem(vfs.MemOptions{})
		trail := audit.New(options(disk))
		for i := range lines {
			require.NoError(t, trail.Note(event(fmt.Sprintf("line %d", i))))
		}
		return disk, bytes.SplitAfter(bytesOf(t, disk, name), []byte("\n"))[:lines]
	}
	edits := map[string]struct {
		rule string
		edit func(all [][]byte, i int) [][]byte
	}{
		"text changed": {"hash", func(all [][]byte, i int) [][]byte {
			all[i] = bytes.Replace(all[i], []byte("line "), []byte("lime "), 1)
			return all
		}},
		"hash changed": {"hash", func(all [][]byte, i int) [][]byte {
			at := bytes.Index(all[i], []byte(`"hash":"`)) + 8
			all[i][at] ^= 1
			return all
		}},
		"removed":  {"seq", func(all [][]byte, i int) [][]byte { return append(all[:i], all[i+1:]...) }},
		"repeated": {"seq", func(all [][]byte, i int) [][]byte { return append(all[:i+1], all[i:]...) }},
		"swapped":  {"seq", func(all [][]byte, i int) [][]byte { all[i], all[i+1] = all[i+1], all[i]; return all }},
		"rubbish":  {"syntax", func(all [][]byte, i int) [][]byte { all[i] = []byte("{}\n"); return all }},
	}
	for what, e := range edits {
		for i := range lines - 2 {
			disk, all := write()
			if i == 0 && what == "removed" {
				continue // as if an older file had been removed
			}
			replace(t, disk, name, bytes.Join(e.edit(all, i), nil))
			report := check(t, disk)
			require.NotEmpty(t, report.Places, "%s, line %d", what, i)
			require.Equal(t, e.rule, report.Places[0].Rule, "%s, line %d: %v", what, i, report.Places)
			require.Equal(t, name, report.Places[0].File)
			require.NoError(t, audit.New(options(disk)).Note(event("more")), "it is continued")
			require.NotEmpty(t, check(t, disk).Places, "%s, line %d: later lines hide nothing", what, i)
		}
	}

	disk, all := write() // a line with a hash of its own, in place of another
	other := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(other))
	for i := range lines {
		require.NoError(t, trail.Note(event(fmt.Sprintf("other %d", i))))
	}
	all[7] = bytes.SplitAfter(bytesOf(t, other, name), []byte("\n"))[7]
	replace(t, disk, name, bytes.Join(all, nil))
	report := check(t, disk)
	require.Equal(t, "prev", report.Places[0].Rule)
	require.Equal(t, uint64(8), report.Places[0].Seq)
}

func TestCheckFindsMissingFile(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(disk))
	for range 450 {
		require.NoError(t, trail.Note(event("")))
	}
	require.NoError(t, disk.Remove(dir+"/000002.jsonl"))
	report := check(t, disk)
	require.Equal(t, "file", report.Places[0].Rule)
	require.Equal(t, "seq", report.Places[1].Rule)
}

func TestEditedLastLineIsKeptAsText(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(disk))
	require.NoError(t, trail.Note(event("first")))
	require.NoError(t, trail.Note(event("second")))
	trail.Close()
	name := dir + "/000001.jsonl"
	replace(t, disk, name, bytes.Replace(bytesOf(t, disk, name), []byte("second"), []byte("sacond"), 1))
	require.NoError(t, audit.New(options(disk)).Note(event("third")))
	all := records(t, disk, time.Time{})
	require.Len(t, all, 3)
	require.Equal(t, audit.KindLineRemoved, all[1].Kind)
	require.Contains(t, all[1].What, "sacond")
}

// TestOnlyLineThatIsDamagedIsKeptAsText: a trail without one intact line is not a new one.
func TestOnlyLineThatIsDamagedIsKeptAsText(t *testing.T) {
	disk := vfs.NewMem(vfs.MemOptions{})
	trail := audit.New(options(disk))
	require.NoError(t, trail.Note(event("only")))
	trail.Close()
	name := dir + "/000001.jsonl"
	replace(t, disk, name, bytes.Replace(bytesOf(t, disk, name), []byte("only"), []byte("onlx"), 1))
	require.NotEmpty(t, check(t, disk).Places)
	for range 2 { // it is said once
		require.NoError(t, audit.New(options(disk)).Note(event("next life")))
	}
	all := records(t, disk, time.Time{})
	require.Len(t, all, 3)
	require.Equal(t, audit.KindLineRemoved, all[0].Kind)
	require.Contains(t, all[0].What, "onlx")
}
