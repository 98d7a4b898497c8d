package powerloss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

// readBytes is how much a reader takes at once.
const readBytes = 1 << 20

// verdict is what a check found.
type verdict struct {
	acked  int      // promises that had to be there
	lost   int      // of them, those that were not
	others int      // other faults: false alarms, order, repetition, chains
	faults []string // what was lost and the other faults, in words; the first few
	own    *book    // the source's journal of its logs
	mirror *book    // and the other site's
	torn   int64    // bytes of tails that were cut off
}

const faultsMax = 8

func (v *verdict) bad() bool { return v.lost > 0 || v.others > 0 }

// fault counts something other than a loss.
func (v *verdict) fault(format string, args ...any) {
	v.others++
	v.tell(format, args...)
}

func (v *verdict) tell(format string, args ...any) {
	if len(v.faults) < faultsMax {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// merge adds what was found elsewhere.
func (v *verdict) merge(o *verdict) {
	v.torn, v.others = v.torn+o.torn, v.others+o.others
	v.faults = append(v.faults, o.faults[:min(len(o.faults), faultsMax-len(v.faults))]...)
}

// check opens the journals below dir as a node does after a power cut, and holds
// them against what had been promised. Their recovery writes to a copy in memory:
// dir stays as it is. An error is one of the check itself.
func check(dir string, notes []note) (*verdict, error) {
	found := []struct {
		site string
		kind journal.Kind
		v    verdict
		book *book
		err  error
	}{
		{site: source, kind: journal.Own}, {site: mirror, kind: journal.Mirror}, // the source's logs are in these
		{site: source, kind: journal.Mirror}, {site: mirror, kind: journal.Own},
	}
	var group sync.WaitGroup
	for i := range found {
		f := &found[i]
		group.Go(func() { f.book, f.err = readJournal(&f.v, filepath.Join(dir, f.site), f.site, f.kind) })
	}
	group.Wait()
	v := &verdict{}
	for i := range found {
		if found[i].err != nil {
			return nil, found[i].err
		}
		v.merge(&found[i].v)
	}
	own, mirrored := found[0].book, found[1].book
	v.own, v.mirror = own, mirrored
	compareChains(v, own, mirrored)
	floors := floorsOf(notes)
	own.checkFloors(v, floors[source])
	mirrored.checkFloors(v, floors[mirror])
	for _, n := range notes {
		if n.promise == nil {
			continue
		}
		v.acked++
		missing := own.missing(v, n.promise)
		if n.level == durable && mirrored.missing(v, n.promise) {
			missing = true
		}
		if missing {
			v.lost++
		}
	}
	return v, nil
}

// inMemory copies the files of a directory into a disk in memory.
func inMemory(dir string) (vfs.FS, error) {
	m := vfs.NewMem(vfs.MemOptions{})
	names, err := vfs.OS{}.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err := errors.Join(err, m.MkdirAll(dir)); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := copyFile(m, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// copyFile copies a file to the same name in m, zeros left out.
func copyFile(m *vfs.Mem, name string) error {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := m.Create(name)
	if err != nil {
		return err
	}
	defer to.Close()
	b, zeros := make([]byte, 256<<10), make([]byte, tearBytes)
	for at := int64(0); ; {
		n, err := io.ReadFull(from, b)
		for i := 0; i < n; i += tearBytes {
			part := b[i:min(i+tearBytes, n)]
			if bytes.Equal(part, zeros[:len(part)]) {
				continue
			}
			if err := to.WriteAt([][]byte{part}, at+int64(i)); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return to.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
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

// put writes the owner at the beginning of a payload.
func (o owner) put(payload []byte) {
	binary.LittleEndian.PutUint32(payload, o.writer)
	binary.LittleEndian.PutUint64(payload[4:], o.number)
}

func newBook(file string) *book {
	return &book{
		file: file, entries: map[wire.Ref]owner{}, chains: map[wire.Position]wire.Chain{},
		first: map[wire.LogID]wire.Position{}, tails: map[wire.LogID]wire.Position{}, numbers: map[uint32]uint64{},
	}
}

// readJournal opens the journal of a site that lies below dir, and reads it whole.
func readJournal(v *verdict, dir, site string, kind journal.Kind) (*book, error) {
	name := map[journal.Kind]string{journal.Own: "own", journal.Mirror: "mirror"}[kind]
	b := newBook(filepath.Join(dir, name))
	files, err := inMemory(b.file)
	if err != nil {
		return nil, err
	}
	j, found, err := journal.Open(journal.Options{
		FS: files, Dir: b.file, Kind: kind, Cluster: wire.ClusterIDOf(cluster),
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
	return b, j.Close()
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
		v.tell("%s: log %s seq %d: entry %d of writer %d, promised was entry %d of writer %d",
			b.file, log, p.seq, o.number, o.writer, p.number, p.writer)
	case p.inc == first.Incarnation && p.seq <= first.Seq:
		return false
	default:
		v.tell("%s: lost: log %s seq %d, entry %d of writer %d, promised %s; the log ends at seq %d",
			b.file, log, p.seq, p.number, p.writer, map[level]string{local: "local", durable: "durable@1"}[p.level],
			b.tails[log].Seq)
	}
	return true
}
