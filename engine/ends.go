package engine

import (
	"slices"

	"github.com/claudefs/repl/engine/apply"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// Where closed logs end reaches the appliers this way; what follows from it, package apply decides:
//
//	journals: STARTs ─▶ learn ─┐
//	                           ├─▶ change ─▶ Applier ─▶ logs whose readers begin again
//	epoch held ───────▶ raise ─┘                    └─▶ a Store past an end: status, event, waiters

// from is where the reading of a log begins. The Feed asks for shards that there are.
func (a *appliers) from(log wire.LogID) (at wire.Cursor, rest bool) {
	lock := &a.locks[int(log.Shard)%applyWorkers]
	lock.Lock()
	defer lock.Unlock()
	if a.shards[log.Shard] == nil { // a torn Store has none yet
		return wire.Cursor{Log: log}, true
	}
	return a.shards[log.Shard].From(log)
}

// learn tells the shards which STARTs the journals have taken since: those of every batch that
// was read are among them, so nothing is applied that they say is beyond an end.
func (a *appliers) learn() {
	for i, f := range a.e.journals() {
		if int(a.learned[i].Load()) == f.j.StartCount() {
			continue
		}
		a.learnMu.Lock() // who comes second waits until it is told
		starts := f.j.StartsBeyond(int(a.learned[i].Load()))
		for k := range starts {
			s := &starts[k]
			a.change(s.Log.Shard, func(shard *apply.Applier) []wire.LogID { return shard.Learn(*s) })
		}
		a.learned[i].Add(int64(len(starts)))
		a.learnMu.Unlock()
	}
}

// raise tells the shards the epoch that the site holds.
func (a *appliers) raise(held wire.Epoch) {
	for shard := range a.shards {
		a.change(wire.Shard(shard), func(s *apply.Applier) []wire.LogID { return s.Raise(a.e.id.site, held) })
	}
}

// change tells a shard something that may make batches due, has the readers of those logs begin
// again, and reports whether the Store is past an end.
func (a *appliers) change(shard wire.Shard, tell func(*apply.Applier) []wire.LogID) {
	if int64(shard) >= int64(len(a.shards)) {
		return
	}
	lock := &a.locks[int(shard)%applyWorkers]
	lock.Lock()
	applier := a.shards[shard]
	if applier == nil { // a torn Store has none yet
		lock.Unlock()
		return
	}
	on, past := tell(applier), applier.Past()
	lock.Unlock()
	a.again(on)
	a.report(shard, past)
}

// again has the readers of logs begin at the cursors.
func (a *appliers) again(logs []wire.LogID) {
	for _, log := range logs {
		for _, r := range a.readers {
			if r.reads(log) {
				r.again.Store(true)
				r.wakeUp()
			}
		}
	}
}

// reportStopped tells a new heart which logs are applied no more.
func (a *appliers) reportStopped() {
	a.dirtyMu.Lock()
	var all []node.ApplyStopped
	for log, err := range a.ended {
		all = append(all, node.ApplyStopped{Log: log, Err: err})
	}
	a.dirtyMu.Unlock()
	slices.SortFunc(all, func(x, y node.ApplyStopped) int { return x.Log.Compare(y.Log) })
	for i := range all {
		a.e.step(&all[i])
	}
}

// report tells, once, that the Store of a shard is past the end of a log, or not any more. At
// Open nobody listens yet: start reports it.
func (a *appliers) report(shard wire.Shard, past *apply.PastError) {
	if len(a.readers) == 0 {
		return
	}
	a.dirtyMu.Lock()
	log, was := a.past[shard]
	var err error
	switch {
	case past != nil && !was:
		log, err = past.At.Log, past
		a.past[shard], a.ended[log] = log, past
		a.stopped.Add(1)
	case past == nil && was:
		delete(a.past, shard)
		delete(a.ended, log)
		a.stopped.Add(-1)
	default:
		a.dirtyMu.Unlock()
		return
	}
	a.dirtyMu.Unlock()
	a.e.ownStopped(wire.LogID{Site: a.e.id.site, Shard: shard}, err)
	a.e.step(&node.ApplyStopped{Log: log, Err: err})
}
