package journal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// putControl writes a control batch whose body is what change makes of it.
func putControl(t *testing.T, j *Journal, change func([]byte) []byte) {
	t.Helper()
	refs, err := j.o.controlBatches([]ControlRecord{{ClockBound: 9}}, 1, j.logs[j.o.controlLog()].staged)
	require.NoError(t, err)
	b := &refs[0]
	b.Bytes = append(b.Bytes[:wire.BatchHeaderBytes:wire.BatchHeaderBytes],
		change(append([]byte(nil), b.Bytes[wire.BatchHeaderBytes:]...))...)
	wire.CloseBatch(b.Bytes, &b.Header)
	_, err = j.stage(refs, nil, true)
	require.NoError(t, err)
	require.Error(t, flush(j), "this release does not fold it, but the medium has it")
	require.NoError(t, j.Close())
}

// controlJournal has an epoch in its control state.
func controlJournal(t *testing.T) (*Journal, Options) {
	t.Helper()
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	_, err := j.StageControl([]ControlRecord{{Epoch: &DomainEpoch{Domain: 7, Epoch: 3, Writer: 5}}}, 1)
	require.NoError(t, err)
	require.NoError(t, flush(j))
	return j, o
}

// TestNewerReleasesControlStateIsRefusedByName: who goes on without it forgets
// epochs, peers and the clock's bound (I5, G11).
func TestNewerReleasesControlStateIsRefusedByName(t *testing.T) {
	j, o := controlJournal(t)
	putControl(t, j, func(body []byte) []byte { body[0] = controlVersionSites + 1; return body })
	_, _, err := Open(o)
	require.ErrorIs(t, err, wire.ErrVersion)
	require.NotErrorIs(t, err, wire.ErrCorrupt)
	require.ErrorContains(t, err, "control records: version 3")
	require.ErrorContains(t, err, oldName)

	j, o = controlJournal(t)
	reopen(t, o, j)
	m := imageOf(t, o.FS, "j")
	b := m.files[newName]
	n, err := headSize(b)
	require.NoError(t, err)
	h, err := decodeHead(b[:n])
	require.NoError(t, err)
	require.Len(t, h.logs, 1)
	b[HeadFixedBytes+HeadLogBytes] = controlVersionSites + 1
	digest := headDigest(b[:n])
	copy(b[16:], digest[:])
	o.FS = m.disk(t, "j")
	_, _, err = Open(o)
	require.ErrorIs(t, err, wire.ErrVersion)
	require.ErrorContains(t, err, newName)
}

// TestControlRecordsThatCannotBeReadAreTold: what they said is lost (I9).
func TestControlRecordsThatCannotBeReadAreTold(t *testing.T) {
	for _, change := range []func([]byte) []byte{
		func(body []byte) []byte { return appendRecord(body, 99, []byte{1}) },
		func(body []byte) []byte { return body[:len(body)-1] },
		func([]byte) []byte { return nil },
	} {
		j, o := controlJournal(t)
		putControl(t, j, change)
		j, rec := reopen(t, o, nil)
		require.Len(t, rec.Damage, 1)
		require.True(t, rec.ControlSuspect)
		require.Len(t, j.Control().Epochs, 1, "what can be read counts")
	}
}

// TestControlStateThatOnlyALostHeadHadIsInDoubt: the first control batch behind it
// says that there were others (I5, I9).
func TestControlStateThatOnlyALostHeadHadIsInDoubt(t *testing.T) {
	for _, gone := range []bool{false, true} { // the segment where the control log began
		j, o := controlJournal(t)
		names := []string{oldName}
		if gone {
			j, _ = reopen(t, o, j)
			rollIdle(t, j)
			n, err := j.Reclaim(func(wire.LogID) wire.Position { return wire.Position{} })
			require.NoError(t, err)
			require.Equal(t, 1, n)
			names = []string{newName, "segment-0000000000000003.seg"}
		}
		_, err := j.StageControl([]ControlRecord{{ClockBound: 9}}, 1)
		require.NoError(t, err)
		require.NoError(t, flush(j))
		require.NoError(t, j.Close())
		m := imageOf(t, o.FS, "j")
		for _, name := range names {
			m.files[name][20] ^= 1
		}
		r, err := m.recover(o)
		require.NoError(t, err)
		require.Len(t, r.report.Damage, len(names))
		require.Equal(t, gone, r.report.ControlSuspect)
		require.Equal(t, gone, len(r.control.Epochs) == 0, "which is why")
	}
}

// TestHeadIsNeverLargerThanAnOpenReads, however large a segment is: else it counts as
// torn, and what only it has is forgotten (I1, I10).
func TestHeadIsNeverLargerThanAnOpenReads(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.SegmentBytes, o.UnitBytesMax = 512<<20, 2<<20
	j, _ := reopen(t, o, nil)
	limit := o.headShareMax()
	logs := (limit - HeadFixedBytes) / HeadLogBytes
	require.EqualValues(t, HeadBytesMax, headBytes(int(logs), int(limit)))

	p := wire.RegisteredPeer{Site: 8, Cursors: make([]wire.Cursor, limit/peerCursorBytes)}
	for i := range p.Cursors {
		p.Cursors[i].Log = wire.LogID{Site: 5, Shard: wire.Shard(i)}
	}
	_, err := j.StageControl([]ControlRecord{{Peer: &p}}, 1)
	require.ErrorIs(t, err, wire.ErrLimit)
	j.logs = make(map[wire.LogID]*logState, logs)
	for i := range logs {
		j.logs[wire.LogID{Site: 6, Shard: wire.Shard(i)}] = nil
	}
	_, err = j.Stage([]wire.BatchRef{newWriter(5).batch(0, 10)}, nil)
	require.ErrorIs(t, err, wire.ErrLimit)
}

// cursorsOf are the cursors of peers 1 to n, each of all shards.
func cursorsOf(shards, n int, seq wire.Seq) (all []ControlRecord) {
	for peer := range n {
		p := &wire.RegisteredPeer{Site: wire.SiteID(1 + peer), Name: "site"}
		for s := range wire.Shard(shards) {
			p.Cursors = append(p.Cursors, wire.Cursor{Log: wire.LogID{Site: 5, Shard: s},
				Position: wire.Position{Incarnation: wire.Incarnation{1}, Seq: seq, Chain: wire.Chain{1}}})
		}
		all = append(all, ControlRecord{Peer: p})
	}
	return all
}

// TestCursorsOfAllShardsAreSavedAgain: they take the place of those before, also of
// those that are not flushed yet, and only what is new makes the state larger (I10).
func TestCursorsOfAllShardsAreSavedAgain(t *testing.T) {
	const shards, peers = wire.ShardCountMax, 3
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	o.SegmentBytes, o.UnitBytesMax = SegmentBytesFor(shards, peers), 2<<20
	require.LessOrEqual(t, o.SegmentBytes, int64(64<<20), "the default")
	j, _ := reopen(t, o, nil)
	for seq := wire.Seq(1); seq <= 3; seq++ {
		for range 2 {
			_, err := j.StageControl(cursorsOf(shards, peers, seq), 1)
			require.NoError(t, err)
		}
		for j.StagedBytes() > 0 {
			require.NoError(t, flush(j))
		}
	}
	_, err := j.StageControl(cursorsOf(shards, 2*peers, 4), 1)
	require.ErrorIs(t, err, wire.ErrLimit)
	_, err = j.StageControl([]ControlRecord{{ClockBound: 7}}, 1)
	require.NoError(t, err, "what adds nothing is never refused")
	require.NoError(t, flush(j))
	j, _ = reopen(t, o, j)
	require.Len(t, j.Control().Peers, peers)
	require.EqualValues(t, 3, j.Control().Peers[2].Cursors[shards-1].Position.Seq)
}

// TestSegmentHasRoomForWhatOptionsAllow: a head with all logs and all cursors leaves room
// for a unit (I10).
func TestSegmentHasRoomForWhatOptionsAllow(t *testing.T) {
	for _, c := range []struct{ shards, peers int }{{1, 0}, {256, 1}, {4096, 63}, {wire.ShardCountMax, 1}} {
		o := testOptions(vfs.NewMem(vfs.MemOptions{}))
		o.SegmentBytes, o.UnitBytesMax = max(4<<20, SegmentBytesFor(c.shards, c.peers)), 2<<20
		require.Less(t, o.SegmentBytes, int64(512<<20))
		j, _ := reopen(t, o, nil)
		for i := range c.shards * max(1, c.peers) {
			log := wire.LogID{Site: wire.SiteID(5 + i/c.shards), Shard: wire.Shard(i % c.shards)}
			require.LessOrEqual(t, headBytes(len(j.logs)+1, 0), o.headShareMax())
			j.logs[log] = &logState{durable: Tail{Position: wire.Position{Seq: 1}}}
		}
		for _, r := range cursorsOf(c.shards, c.peers, 1) {
			_, err := j.StageControl([]ControlRecord{r}, 1)
			require.NoError(t, err)
			for j.StagedBytes() > 0 {
				require.NoError(t, flush(j))
			}
		}
		rollIdle(t, j)
	}
	require.Zero(t, SegmentBytesFor(wire.ShardCountMax, 63))
}

// siteOf is a site as large as the format has one.
func siteOf(site wire.SiteID) *wire.SiteRecord {
	s := &wire.SiteRecord{Site: site, Name: strings.Repeat("n", peerNameBytesMax), Learner: true}
	for range SiteAddrsMax {
		s.Addrs = append(s.Addrs, strings.Repeat("a", SiteAddrBytesMax))
	}
	return s
}

// TestSitesAreKeptOverAReopening: what an operator took in and what he removed, whichever came
// last; a registration that was under way when its site was removed counts for nothing (I12).
func TestSitesAreKeptOverAReopening(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	stage := func(records ...ControlRecord) {
		_, err := j.StageControl(records, 1)
		require.NoError(t, err)
		require.NoError(t, flush(j))
	}
	b, c := siteOf(8), &wire.SiteRecord{Site: 9, Name: "site-c", Addrs: []string{"c:1"}}
	gone := &wire.RemovedSite{Site: 9, Name: "site-c", By: strings.Repeat("b", 200), At: 7}
	stage(ControlRecord{Peer: &wire.RegisteredPeer{Site: 7, Name: "site-a"}})
	require.EqualValues(t, controlVersion, encodeControl(&j.control)[0], "an older release reads it")
	stage(ControlRecord{Site: b}, ControlRecord{Site: c})
	stage(ControlRecord{Removed: gone}, ControlRecord{Peer: &wire.RegisteredPeer{Site: 9, Name: "site-c"}})
	for range 2 {
		control := j.Control()
		require.Equal(t, []wire.SiteRecord{*b}, control.Sites)
		require.Len(t, control.Peers, 1)
		require.Equal(t, []wire.RemovedSite{{Site: 9, Name: "site-c", By: gone.By[:removedByBytesMax], At: 7}},
			control.Removed)
		require.EqualValues(t, controlVersionSites, encodeControl(&j.control)[0])
		j, _ = reopen(t, o, j)
	}
	stage(ControlRecord{Site: c})
	stage(ControlRecord{RemovePeer: 8})
	j, _ = reopen(t, o, j)
	require.Equal(t, []wire.SiteRecord{*c}, j.Control().Sites)
	require.Empty(t, j.Control().Removed)
	for site := range wire.SiteID(RemovedSitesMax + 1) {
		stage(ControlRecord{Removed: &wire.RemovedSite{Site: 100 + site}})
	}
	require.Len(t, j.Control().Removed, RemovedSitesMax)
	require.EqualValues(t, 101, j.Control().Removed[0].Site, "the oldest went")
}

// TestSitesBeyondTheFormatAreRefused, and found in what was written by somebody else.
func TestSitesBeyondTheFormatAreRefused(t *testing.T) {
	o := testOptions(vfs.NewMem(vfs.MemOptions{}))
	j, _ := reopen(t, o, nil)
	for name, change := range map[string]func(*wire.SiteRecord){
		"no site":       func(s *wire.SiteRecord) { s.Site = 0 },
		"a long name":   func(s *wire.SiteRecord) { s.Name += "n" },
		"an address":    func(s *wire.SiteRecord) { s.Addrs = append(s.Addrs, "b:1") },
		"its length":    func(s *wire.SiteRecord) { s.Addrs[0] += "a" },
		"nothing wrong": func(*wire.SiteRecord) {},
	} {
		s := siteOf(8)
		change(s)
		_, err := j.StageControl([]ControlRecord{{Site: s}}, 1)
		if name == "nothing wrong" {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, wire.ErrLimit, name)
		}
	}
	whole := encodeControl(&Control{Sites: []wire.SiteRecord{*siteOf(8)}, Removed: []wire.RemovedSite{{Site: 9}}})
	for n := range len(whole) {
		_, err := decodeControl(whole[:n])
		if n != 1 && n != len(whole)-recordBytes-14 {
			require.ErrorIs(t, err, wire.ErrProtocol, n)
		}
	}
	whole[0] = controlVersion
	_, err := decodeControl(whole)
	require.ErrorIs(t, err, wire.ErrProtocol, "version 1 has no such records")
}
