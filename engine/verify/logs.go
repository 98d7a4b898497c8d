package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// behindWaitMax is how long this site's copy of a log may take to reach where the
// peer's ends.
const behindWaitMax = 30 * time.Second

// journals compares the logs of both sites' journals where the peer's end, by
// chain: equal seq and chain is equal history (I4). It returns what would end all
// that follows, too.
func (v *verification) journals(ctx context.Context) error {
	// Before anything that takes long: whoever asked takes a silent node for none.
	v.progress("journals", v.o.Lo)
	if v.o.Deep {
		scans, text, err := v.here.scanJournals(ctx, &v.pace)
		if err != nil {
			v.gap("journals", v.o.Lo, v.o.Hi, err)
			if fatal(err) {
				return err
			}
			return nil
		}
		v.scans, v.there = scans, make(map[wire.LogID]*logScan)
		v.damageOfNoLog(scans, text, v.here.name)
	} else if err := v.known(); err != nil {
		v.gap("journals", v.o.Lo, v.o.Hi, err)
		if fatal(err) {
			return err
		}
		return nil
	}
	for lo := v.o.Lo; lo < v.o.Hi; lo += wire.VerifyShardMax {
		hi := min(lo+wire.VerifyShardMax, v.o.Hi)
		switch err := v.logs(ctx, lo, hi); {
		case fatal(err):
			v.gap("journals", lo, v.o.Hi, err)
			return err
		case err != nil:
			v.gap("journals", lo, hi, err)
		}
		v.progress("journals", hi)
	}
	v.damageOfNoLog(v.there, v.text, v.peer.name)
	return nil
}

// known notes what is missing in the journals here without reading them: files that are
// gone or were cut, and holes that nothing has filled.
func (v *verification) known() error {
	for _, j := range v.here.journals() {
		if err := j.Look(); err != nil {
			return fmt.Errorf("%s journal: %w", j.name, err)
		}
		for _, h := range j.Holes() {
			if shard := int(h.Log.Shard); shard >= v.o.Lo && shard < v.o.Hi {
				v.damaged(h.Log, h.From.Seq+1, v.here.name)
			}
		}
	}
	return nil
}

// logs compares the logs of the shards [lo, hi), which are no more than fit a
// question.
func (v *verification) logs(ctx context.Context, lo, hi int) error {
	q := wire.Verify{
		Kind: wire.VerifyJournals, Count: uint32(hi - lo),
		Log: wire.LogID{Site: v.here.ID, Shard: wire.Shard(lo)},
	}
	if v.o.Deep {
		if err := v.stored(ctx, q); err != nil {
			return err
		}
	}
	q.Kind = wire.VerifyTails
	return v.tails(ctx, q)
}

// stored has the peer read its stored bytes, and notes what does not hold at
// either end.
func (v *verification) stored(ctx context.Context, q wire.Verify) error {
	answer, err := v.answer(ctx, q)
	if err != nil {
		return err
	}
	for i := range answer.Rows {
		row := &answer.Rows[i]
		v.there[row.Log] = &logScan{from: row.From, bad: row.Bad}
		v.damaged(row.Log, row.Bad, v.peer.name)
	}
	v.text = answer.Text
	for _, log := range slices.SortedFunc(maps.Keys(v.scans), wire.LogID.Compare) {
		if log.Shard >= q.Log.Shard && uint32(log.Shard-q.Log.Shard) < q.Count {
			v.damaged(log, v.scans[log].bad, v.here.name)
		}
	}
	return nil
}

// tails compares the logs of a range of shards where the peer's end.
func (v *verification) tails(ctx context.Context, q wire.Verify) error {
	for _, j := range v.here.journals() {
		// What is kept now, and what comes, is kept until it has been compared: where the
		// peer's end lies behind here.
		pin := j.NewReader(1)
		defer pin.Close()
	}
	here, there, err := v.ends(ctx, q)
	if err != nil {
		return err
	}
	for _, j := range v.here.journals() {
		at := make(map[wire.LogID]wire.Position)
		for _, log := range here {
			if v.here.Site.Journal(log) != j.Journal {
				continue
			}
			if _, held := there[log]; held {
				at[log] = there[log]
			} else if log.Site == v.here.ID || log.Site == v.peer.site {
				v.gap("journals", int(log.Shard), int(log.Shard)+1, fmt.Errorf("site %s holds nothing of the "+
					"log of site %s", v.peer.name, v.here.Site.Name(log.Site)))
			}
		}
		if err := v.compareLogs(ctx, j.Journal, at); err != nil {
			return err
		}
	}
	return nil
}

// ends are the logs of the shards asked for that were held here before the peer was
// asked, and where its logs end. What has only just begun here may not be there yet,
// so that is asked again for a while.
func (v *verification) ends(ctx context.Context, q wire.Verify) (
	here []wire.LogID, there map[wire.LogID]wire.Position, err error) {
	began := time.Now()
	for until := began.Add(behindWaitMax); ; {
		here = here[:0]
		for _, j := range v.here.journals() {
			for _, log := range j.Logs() {
				if log.Shard >= q.Log.Shard && uint32(log.Shard-q.Log.Shard) < q.Count {
					here = append(here, log)
				}
			}
		}
		answer, err := v.answer(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		there = make(map[wire.LogID]wire.Position)
		v.look()
		for i := range answer.Rows {
			row := &answer.Rows[i]
			there[row.Log] = row.At
			if row.Bad != 0 {
				v.forks[row.Log] = true
			}
		}
		unsent := v.halts.Unsent[v.peer.site] && time.Since(began) >= stillMax
		lacks := func(log wire.LogID) bool {
			_, held := there[log]
			_, left := v.halts.Towards[v.peer.site][log]
			return !held && log.Site == v.here.ID && !left && !unsent
		}
		if !slices.ContainsFunc(here, lacks) || time.Now().After(until) {
			return here, there, nil
		}
		select {
		case <-time.After(pointLookEvery):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// compareLogs compares logs of one journal of ours with where the peer's end. What did not survive a
// failover stays in the journal that has it, and does not belong to a log.
func (v *verification) compareLogs(ctx context.Context, j *journal.Journal, there map[wire.LogID]wire.Position) error {
	for log, at := range there {
		if there[log] = v.here.Site.Due(log, at); there[log].Seq == 0 {
			delete(there, log)
		}
	}
	halted, err := v.catchUp(ctx, j, there)
	if err != nil {
		return err
	}
	found, err := positionsAt(ctx, j, there)
	if err != nil {
		return err
	}
	for _, log := range slices.SortedFunc(maps.Keys(there), wire.LogID.Compare) {
		at := there[log]
		here, ok := found[log]
		if !ok {
			here = v.here.Site.Due(log, tailIn(j, log))
		}
		switch {
		case here == at:
			v.out.LogsCompared++
		case ok:
			v.forks[log] = true
			v.out.differ(v.history(log, here, at))
		case v.forks[log]:
			d := v.history(log, here, at)
			d.Detail += ": it has stopped"
			v.out.differ(d)
		case halted[log] != nil:
			v.gap("journals", int(log.Shard), int(log.Shard)+1, haltedError(fmt.Errorf(
				"the log of site %s does not come to where it ends at site %s: %w", v.here.Site.Name(log.Site),
				v.peer.name, halted[log])))
		default:
			v.gap("journals", int(log.Shard), int(log.Shard)+1, fmt.Errorf("the log of site %s ends at "+
				"seq %d of %s here and at seq %d of %s at site %s, and no batch that is kept here ends there",
				v.here.Site.Name(log.Site), here.Seq, here.Incarnation, at.Seq, at.Incarnation, v.peer.name))
		}
	}
	return nil
}

// tailIn is where a log of one of our journals ends, durably.
func tailIn(j *journal.Journal, log wire.LogID) wire.Position {
	t, _ := j.Tail(log)
	return t.Position
}

// catchUp waits until our copies reach where the peer's end, for a while, and returns those
// that do not, because nothing more comes. What has stopped, and an own log that has gone
// on to another incarnation, will not.
func (v *verification) catchUp(ctx context.Context, j *journal.Journal, there map[wire.LogID]wire.Position) (
	halted map[wire.LogID]error, err error) {
	until := time.Now().Add(behindWaitMax)
	ticker := time.NewTicker(pointLookEvery)
	defer ticker.Stop()
	stands := make(map[wire.LogID]*stand)
	for {
		behind := false
		halted = make(map[wire.LogID]error)
		for log, at := range there {
			forked, here := v.forks[log], tailIn(j, log)
			if log.Site == v.here.ID {
				forked = forked || here.Incarnation != at.Incarnation
			}
			if forked || here.Covers(at) {
				continue
			}
			if stands[log] == nil {
				stands[log] = new(stand)
			}
			halted[log] = v.halts.copyHalts(log, stands[log].at(here.Seq))
			behind = behind || halted[log] == nil
		}
		if !behind || time.Now().After(until) {
			return halted, nil
		}
		select {
		case <-ticker.C:
			v.look()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look takes what stands still now.
func (v *verification) look() {
	v.halts = v.here.halts()
	maps.Copy(v.forks, v.halts.forks(v.peer.site))
}

// damaged notes stored bytes of a log that do not hold (I9).
func (v *verification) damaged(log wire.LogID, bad wire.Seq, site string) {
	if bad == 0 {
		return
	}
	v.out.differ(Difference{
		What: "damage", Shard: int(log.Shard), Site: v.here.Site.Name(log.Site), Seq: uint64(bad),
		Detail: fmt.Sprintf("the stored log of site %s at site %s does not hold from seq %d on",
			v.here.Site.Name(log.Site), site, bad),
	})
}

// damageOfNoLog notes damage that no log shows: its batches may lie in no other
// place.
func (v *verification) damageOfNoLog(scans map[wire.LogID]*logScan, text, site string) {
	if text == "" {
		return
	}
	for _, scan := range scans {
		if scan.bad != 0 {
			return
		}
	}
	v.out.differ(Difference{What: "damage", Shard: -1, Detail: fmt.Sprintf("site %s: %s", site, text)})
}
