package powerloss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// readBytes is how much a reader takes at once.
const readBytes = 1 << 20

// verdict is what a check found.
type verdict struct {
	acked   int      // promises that had to be there
	lost    int      // of them, those that were not, at the site that promised
	faults  []string // each lost one, and everything else that must not be; the first few
	more    int      // faults beyond those
	torn    int64    // bytes of tails that were cut off
	entries int      // found in the source's journal
}

const faultsMax = 8

func (v *verdict) fault(format string, args ...any) {
	if len(v.faults) == faultsMax {
		v.more++
		return
	}
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// check opens the journals below dir as a node does after a power cut, and holds
// them against what had been promised. An error is one of the check itself.
func check(dir string, notes []note) (*verdict, error) {
	v := &verdict{}
	var books [2]*book
	for i, site := range []string{source, mirror} {
		for _, kind := range []journal.Kind{journal.Own, journal.Mirror} {
			b, err := readJournal(v, filepath.Join(dir, site), site, kind)
			if err != nil {
				return v, err
			}
			if (kind == journal.Own) == (site == source) {
				books[i] = b // the one with the source's logs
			}
		}
	}
	v.entries = len(books[0].entries)
	compareChains(v, books[0], books[1])
	floors := floorsOf(notes)
	books[0].checkFloors(v, floors[source])
	books[1].checkFloors(v, floors[mirror])
	for _, n := range notes {
		if n.promise == nil {
			continue
		}
		v.acked++
		missing := books[0].missing(v, n.promise)
		if n.level == durable && books[1].missing(v, n.promise) {
			missing = true
		}
		if missing {
			v.lost++
		}
	}
	return v, nil
}

// book is what one journal has.
type book struct {
	file    string // its directory
	entries map[wire.Ref]owner
	chains  map[wire.Position]wire.Chain // by the position without its chain
	first   map[wire.LogID]wire.Position // right before the first batch it still has
	tails   map[wire.LogID]wire.Position
	numbers map[uint32]uint64 // each writer's last entry
}

// owner is who appended an entry, from its payload.
type owner struct {
	writer uint32
	number uint64
}

func readJournal(v *verdict, dir, site string, kind journal.Kind) (*book, error) {
	name := map[journal.Kind]string{journal.Own: "own", journal.Mirror: "mirror"}[kind]
	b := &book{
		file: filepath.Join(dir, name), entries: map[wire.Ref]owner{}, chains: map[wire.Position]wire.Chain{},
		first: map[wire.LogID]wire.Position{}, tails: map[wire.LogID]wire.Position{}, numbers: map[uint32]uint64{},
	}
	j, found, err := journal.Open(journal.Options{
		FS: vfs.OS{}, Dir: b.file, Kind: kind, Cluster: wire.ClusterIDOf(cluster),
		Site: wire.SiteIDOf(cluster, site), SegmentBytes: segmentBytes,
	})
	if err != nil {
		v.fault("%s does not open: %v", b.file, err)
		return b, nil
	}
	v.torn += found.TornBytes
	for _, d := range found.Damage {
		v.fault("%s: false alarm: damage in %s at %d, unit %d: %s", b.file, d.File, d.Offset, d.Unit, d.Reason)
	}
	for _, log := range found.Suspect {
		v.fault("%s: false alarm: log %s is suspect", b.file, log)
	}
	if found.ControlSuspect {
		v.fault("%s: false alarm: the control state is suspect", b.file)
	}
	r := j.NewReader(1)
	for {
		refs, err := r.Next(readBytes)
		if err != nil {
			v.fault("%s does not read: %v", b.file, err)
			break
		}
		if len(refs) == 0 {
			break
		}
		for i := range refs {
			b.take(v, &refs[i])
		}
	}
	r.Close()
	for log, tail := range b.tails {
		if t, _ := j.Tail(log); t.Position != tail {
			v.fault("%s: log %s ends at %s, the reader came to %s", b.file, log, t.Position, tail)
		}
	}
	return b, errors.Join(j.Close())
}

// take checks that a batch continues its log, and that each writer's entries come
// once and in its order (I2, I3, I4).
func (b *book) take(v *verdict, ref *wire.BatchRef) {
	h, log := &ref.Header, ref.Header.Log()
	tail, known := b.tails[log]
	before := wire.Position{Incarnation: h.Incarnation, Seq: h.FirstSeq - 1, Chain: h.Prev}
	switch {
	case !known:
		b.first[log] = before
	case before != tail && (h.Kind != wire.BatchStart || h.FirstSeq != 1):
		v.fault("%s: log %s: seq %d follows %s, before it comes %s", b.file, log, h.FirstSeq, before, tail)
	}
	b.tails[log] = h.End()
	b.chains[wire.Position{Incarnation: h.Incarnation, Seq: h.LastSeq()}] = h.Chain
	if h.Kind != wire.BatchData {
		return
	}
	var entries wire.EntryReader
	entries.Reset(h, ref.Body())
	for e := (wire.Entry{}); entries.Next(&e); {
		if len(e.Payload) < payloadHead {
			v.fault("%s: log %s seq %d: payload of %d bytes", b.file, log, e.Seq, len(e.Payload))
			continue
		}
		o := owner{binary.LittleEndian.Uint32(e.Payload), binary.LittleEndian.Uint64(e.Payload[4:])}
		if last, seen := b.numbers[o.writer]; seen && o.number != last+1 {
			v.fault("%s: log %s seq %d: entry %d of writer %d follows its entry %d",
				b.file, log, e.Seq, o.number, o.writer, last)
		}
		b.numbers[o.writer] = o.number
		b.entries[wire.Ref{Log: log, Incarnation: h.Incarnation, Seq: e.Seq}] = o
	}
	if err := entries.Err(); err != nil {
		v.fault("%s: log %s seq %d: %v", b.file, log, h.FirstSeq, err)
	}
}

// compareChains checks that what both have is the same history (I4).
func compareChains(v *verdict, own, mirrored *book) {
	for at, chain := range mirrored.chains {
		if c, both := own.chains[at]; both && c != chain {
			v.fault("seq %d: chain %s in %s, %s in %s", at.Seq, c, own.file, chain, mirrored.file)
		}
	}
}

// floorsOf is the last floor of each log at each site.
func floorsOf(notes []note) map[string]map[wire.LogID]floor {
	floors := map[string]map[wire.LogID]floor{source: {}, mirror: {}}
	for _, n := range notes {
		if n.floor != nil {
			floors[n.floor.site][n.floor.log] = *n.floor
		}
	}
	return floors
}

// checkFloors checks that nothing was given back that the Store may need (I12),
// and takes a log of which nothing is left as one that begins behind its floor.
func (b *book) checkFloors(v *verdict, floors map[wire.LogID]floor) {
	for log, first := range b.first {
		if f := floors[log]; first.Seq > 0 && (f.inc != first.Incarnation || f.seq < first.Seq) {
			v.fault("%s: log %s begins behind seq %d, the Store is durable up to %d", b.file, log, first.Seq, f.seq)
		}
	}
	for log, f := range floors {
		if _, some := b.first[log]; !some {
			b.first[log] = wire.Position{Incarnation: f.inc, Seq: f.seq}
		}
	}
}

// missing says whether a promised entry is not there: the journal neither has it
// nor gave it back because the Store has it.
func (b *book) missing(v *verdict, p *promise) bool {
	log := wire.LogID{Site: wire.SiteIDOf(cluster, source), Shard: p.shard}
	ref := wire.Ref{Log: log, Incarnation: p.inc, Seq: p.seq}
	o, there := b.entries[ref]
	first := b.first[log]
	switch {
	case there && o == owner{p.writer, p.number}:
		return false
	case there:
		v.fault("%s: log %s seq %d: entry %d of writer %d, promised was entry %d of writer %d",
			b.file, log, p.seq, o.number, o.writer, p.number, p.writer)
	case p.inc == first.Incarnation && p.seq <= first.Seq:
		return false
	default:
		v.fault("%s: lost: log %s seq %d, entry %d of writer %d, promised %s; the log ends at seq %d",
			b.file, log, p.seq, p.number, p.writer, map[level]string{local: "local", durable: "durable@1"}[p.level],
			b.tails[log].Seq)
	}
	return true
}
