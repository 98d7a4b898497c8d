package orphan

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
)

const (
	fileBytesMax  = 64 << 20 // of batches in one file
	roundBytesMax = 1 << 20  // of one read of a journal
)

// Keeper saves the orphans of a site's journals, and lists them. Any goroutine may use it.
type Keeper struct {
	journals []*journal.Journal

	one   sync.Mutex // held by who reads journals, or reads or writes files
	shelf *shelf     // changed under both locks

	mu     sync.Mutex
	looked []int                         // STARTs of each journal at the last Look; nil = there was none
	ends   map[wire.Incarnation]wire.Seq // bound ends, as of it
	gone   []Range                       // that the journals do not have any more
	held   map[wire.LogID]bool           // some of their orphans are in no file
	err    error                         // why
}

// Told is what a Look did about the logs of one epoch.
type Told struct {
	Epoch   wire.Epoch
	Log     wire.LogID // the first of them
	Logs    int
	Entries int64
	Gone    bool // the journal does not have their batches any more, so they are not saved
}

// Open reads what an earlier life saved.
func Open(files vfs.FS, dir string, journals ...*journal.Journal) (*Keeper, error) {
	s, err := openShelf(files, dir)
	if err != nil {
		return nil, fmt.Errorf("orphans: %w", err)
	}
	return &Keeper{journals: journals, shelf: s}, nil
}

// Stale says whether journals have taken STARTs since the last Look.
func (k *Keeper) Stale() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stale()
}

func (k *Keeper) stale() bool {
	for i, j := range k.journals {
		if k.looked == nil || k.looked[i] != j.StartCount() {
			return true
		}
	}
	return false
}

// Withholds says that nothing of a log may be given back yet: some of its orphans may be in no file.
func (k *Keeper) Withholds(log wire.LogID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[log] || k.stale()
}

// Holds is why the Store of a shard may not be mended yet; nil: it may.
func (k *Keeper) Holds(shard wire.Shard) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stale() {
		return fmt.Errorf("shard %d: its orphans are not looked for yet", shard)
	}
	for log := range k.held {
		if log.Shard == shard {
			return fmt.Errorf("shard %d: its orphans are not saved: %w", shard, k.err)
		}
	}
	return nil
}

// Err is why orphans are not saved, or a file that does not hold; nil: all is well.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil || len(k.shelf.faults) == 0 {
		return k.err
	}
	return k.shelf.faults[0]
}

// Has says whether an entry is an orphan that was saved, listed or not.
func (k *Keeper) Has(ref wire.Ref) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	end, bound := k.ends[ref.Incarnation]
	beyond := Range{After: end, To: math.MaxUint64}
	has := func(r Range) bool { return r.Incarnation == ref.Incarnation && r.has(ref.Seq) }
	return bound && beyond.has(ref.Seq) &&
		(slices.ContainsFunc(k.shelf.saved(), has) || slices.ContainsFunc(k.shelf.settled, has))
}

// Keeps says whether all that lies between two positions of a log, in the incarnation of the second
// one, is in files.
func (k *Keeper) Keeps(log wire.LogID, at, to wire.Position) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := Range{Log: log, Incarnation: to.Incarnation, After: at.SeqIn(to.Incarnation), To: to.Seq}
	return len(r.without(k.shelf.saved())) == 0
}

// stretch is what lies beyond the end of an incarnation, and where a reader begins that meets it.
type stretch struct {
	Range
	from wire.Position
}

// beyond lists what lies beyond bound ends in a journal, oldest incarnation of each log first, and
// notes the ends.
func beyond(starts []wire.Start, j *journal.Journal, ends map[wire.Incarnation]wire.Seq) (all []stretch) {
	shards := make(map[wire.Shard]*role.Ends)
	for _, s := range starts {
		if shards[s.Log.Shard] == nil {
			shards[s.Log.Shard] = new(role.Ends)
		}
		_ = shards[s.Log.Shard].Add(s) // two writers of one epoch stop their log elsewhere
	}
	note := func(log wire.LogID, tail wire.Position) {
		epoch := j.EpochOf(log, tail.Incarnation)
		end, bound := shards[log.Shard].End(tail.Incarnation, epoch)
		if tail.Seq == 0 || !bound {
			return
		}
		ends[tail.Incarnation] = end.Seq
		x := stretch{Range{log, tail.Incarnation, epoch, end.Seq, tail.Seq}, end}
		if x.To <= x.After {
			return
		}
		for _, s := range starts {
			if end == (wire.Position{}) && s.Log == log && s.Incarnation == tail.Incarnation {
				x.from = s.Before
			}
		}
		all = append(all, x)
	}
	for _, s := range j.Starts() {
		note(s.Log, s.Before)
	}
	for _, t := range j.Tails() {
		note(t.Log, t.Position)
	}
	slices.SortFunc(all, func(x, y stretch) int { return compareRanges(x.Range, y.Range) })
	return all
}

func compareRanges(x, y Range) int {
	return cmp.Or(x.Log.Compare(y.Log), cmp.Compare(x.Epoch, y.Epoch),
		bytes.Compare(x.Incarnation[:], y.Incarnation[:]), cmp.Compare(x.After, y.After), cmp.Compare(x.To, y.To))
}

// Look saves what lies beyond ends that STARTs of the journals bind, and is in no file. An error: some
// of it is not saved, and its logs are withheld until a later Look.
func (k *Keeper) Look() (told []Told, err error) {
	k.one.Lock()
	defer k.one.Unlock()
	var counts []int
	var starts []wire.Start
	for _, j := range k.journals {
		counts = append(counts, j.StartCount()) // before Starts: what comes between is looked for again
		starts = append(starts, j.Starts()...)
	}
	ends := make(map[wire.Incarnation]wire.Seq)
	held := make(map[wire.LogID]bool)
	for _, j := range k.journals {
		all := beyond(starts, j, ends)
		more, failed := k.save(j, all)
		told = append(told, more...)
		if err = errors.Join(err, failed); failed != nil {
			for _, x := range k.unsaved(all) {
				held[x.Log] = true
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked, k.ends, k.held, k.err = counts, ends, held, err
	return told, err
}

// unsaved are the stretches that nothing has yet. The lock one is held.
func (k *Keeper) unsaved(all []stretch) (left []stretch) {
	have := slices.Concat(k.shelf.saved(), k.shelf.settled, k.gone)
	for _, x := range all {
		for _, r := range x.without(have) {
			left = append(left, stretch{r, x.from})
		}
	}
	return left
}

// save reads a journal until everything is saved, or gone from it. Each round takes one stretch of a log.
func (k *Keeper) save(j *journal.Journal, all []stretch) (told []Told, err error) {
	for {
		want := make(map[wire.LogID]*stretch)
		for _, x := range k.unsaved(all) {
			if want[x.Log] == nil {
				want[x.Log] = &x
			}
		}
		if len(want) == 0 {
			return told, nil
		}
		c := &collector{k: k, want: want, drafts: make(map[wire.Epoch][]*draft)}
		err := c.read(j)
		told = append(told, c.told...)
		if err != nil {
			return told, err
		}
		told = append(told, k.lost(want)...)
	}
}

// lost notes what a journal does not have any more of what was wanted of it.
func (k *Keeper) lost(want map[wire.LogID]*stretch) (told []Told) {
	var gone []Range
	for _, x := range want {
		if x.After < x.To {
			gone = append(gone, x.Range)
		}
	}
	slices.SortFunc(gone, func(x, y Range) int { return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), compareRanges(x, y)) })
	for _, r := range gone {
		if n := len(told); n == 0 || told[n-1].Epoch != r.Epoch {
			told = append(told, Told{Epoch: r.Epoch, Log: r.Log, Gone: true})
		}
		told[len(told)-1].Logs++
		told[len(told)-1].Entries += int64(r.To - r.After)
	}
	k.mu.Lock()
	k.gone = append(k.gone, gone...)
	k.mu.Unlock()
	return told
}

// collector takes what is wanted of a journal into files.
type collector struct {
	k      *Keeper
	want   map[wire.LogID]*stretch // After rises as batches are taken
	drafts map[wire.Epoch][]*draft
	bytes  int
	told   []Told
}

// read walks the journal until it has everything, or is at its end.
func (c *collector) read(j *journal.Journal) error {
	lost := make(map[wire.LogID]bool) // what follows is not retained
	r, err := j.ReadRetained(func(log wire.LogID) wire.Position {
		if x := c.want[log]; x != nil {
			return x.from
		}
		return j.End(log)
	}, func(log wire.LogID, _ error) { lost[log] = true })
	if err != nil {
		return err
	}
	defer r.Close()
	for c.left(lost) {
		refs, err := r.Next(roundBytesMax)
		switch {
		case errors.Is(err, journal.ErrDamaged):
			continue // what it took may come back; what is intact follows
		case err != nil:
			return err
		case len(refs) == 0:
			return c.flush()
		}
		for i := range refs {
			c.take(&refs[i])
		}
		if c.bytes >= fileBytesMax {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// left says whether something may still come.
func (c *collector) left(lost map[wire.LogID]bool) bool {
	for log, x := range c.want {
		if x.After < x.To && !lost[log] {
			return true
		}
	}
	return false
}

// take copies a batch, if it is wanted. What lies between it and the last one is gone.
func (c *collector) take(b *wire.BatchRef) {
	h := &b.Header
	x := c.want[h.Log()]
	if x == nil || h.Incarnation != x.Incarnation || h.LastSeq() <= x.After || h.FirstSeq > x.To {
		return
	}
	drafts := c.drafts[h.Epoch]
	i := slices.IndexFunc(drafts, func(d *draft) bool { return d.Log == x.Log && d.To == h.FirstSeq-1 })
	if i < 0 {
		r := x.Range
		r.After, r.Epoch = h.FirstSeq-1, h.Epoch
		i, drafts = len(drafts), append(drafts, &draft{Range: r})
		c.drafts[h.Epoch] = drafts
	}
	d := drafts[i]
	d.data, d.count, d.To = append(d.data, b.Bytes...), d.count+1, h.LastSeq()
	c.bytes += len(b.Bytes)
	x.After = d.To
}

// flush writes what was taken, a file for each epoch.
func (c *collector) flush() error {
	for len(c.drafts) > 0 {
		epoch := slices.Min(slices.Collect(maps.Keys(c.drafts)))
		drafts := c.drafts[epoch]
		c.k.mu.Lock() // who lists waits for the medium
		err := c.k.shelf.add(epoch, drafts)
		c.k.mu.Unlock()
		if err != nil {
			return err
		}
		told := Told{Epoch: epoch, Log: drafts[0].Log, Logs: len(drafts)}
		for _, p := range c.k.shelf.files[len(c.k.shelf.files)-1].pieces {
			told.Entries += p.entries([]Range{p.Range})
		}
		c.told = append(c.told, told)
		delete(c.drafts, epoch)
	}
	c.bytes = 0
	return nil
}
