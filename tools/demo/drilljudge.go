package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/wire"
)

// settle holds the load until every other site has all that the writer has: what was
// acknowledged so far is durable at each of them, as after Durable(1).
func (s *drillScene) settle(ctx context.Context) error {
	s.load.gate.Lock()
	defer s.load.gate.Unlock()
	if err := s.level(ctx); err != nil {
		return err
	}
	s.load.kept()
	return nil
}

// level waits until every running site has all that the writer has.
func (s *drillScene) level(ctx context.Context) error {
	if err := s.opened(ctx, s.writer); err != nil {
		return err
	}
	for _, i := range s.running() {
		if i == s.writer {
			continue
		}
		if err := s.follows(ctx, i, s.writer, true); err != nil {
			return err
		}
	}
	return s.load.failed()
}

// running are the sites whose processes were started.
func (s *drillScene) running() []int {
	var up []int
	for i, p := range s.processes {
		if p.cmd != nil {
			up = append(up, i)
		}
	}
	return up
}

// entry names an entry without its log, as rows do.
func entry(ref wire.Ref) seqKey { return seqKey{ref.Incarnation, ref.Log.Shard, ref.Seq} }

// scan keeps which entries the journals of a site hold, before they may go. Segments of a
// running site may go while they are read.
func (s *drillScene) scan(site int) error {
	files, err := s.segments(site)
	for _, file := range files {
		err = errors.Join(err, journal.Inspect(vfs.OS{}, file, func(i journal.Item) error {
			if b := i.Batch; b != nil && b.Kind == wire.BatchData {
				for n := range wire.Seq(b.Count) {
					s.seen[seqKey{b.Incarnation, b.Shard, b.FirstSeq + n}] = struct{}{}
				}
			}
			return nil
		}))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// drillRows is what a site has decided.
type drillRows struct {
	audit    *siteAudit
	requests map[string]int // rows of each request id
}

func (s *drillScene) rows(ctx context.Context, site int) (*drillRows, error) {
	r := &drillRows{newSiteAudit(), map[string]int{}}
	err := s.clients[site].Decided(ctx, 0, func(row fsapi.DecidedRow) error {
		ref, err := refOf(&row)
		if err == nil {
			r.audit.add(ref)
			r.requests[row.Request]++
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rows of %s: %w", drillNames[site], err)
	}
	return r, nil
}

// judge holds the load, waits until all sites have settled, and compares them with what was
// acknowledged.
func (s *drillScene) judge(ctx context.Context) error {
	if s.result.RTOMs < 0 {
		s.result.RTOMs = s.load.stall().Milliseconds()
	}
	s.load.gate.Lock()
	defer s.load.gate.Unlock()
	if err := s.level(ctx); err != nil {
		return err
	}
	for i := range s.processes {
		if err := s.scan(i); err != nil {
			return fmt.Errorf("journals of %s: %w", drillNames[i], err)
		}
	}
	var all []*drillRows
	for i := range s.processes {
		r, err := s.rows(ctx, i)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	s.count(all)
	s.judgeClosed(all)
	return s.judgeEqual(ctx)
}

// count compares the rows of all sites with what was acknowledged and what journals had.
func (s *drillScene) count(all []*drillRows) {
	v, writer := s.result, all[s.writer]
	v.Mended = s.mended
	for i, r := range all {
		for request, rows := range r.requests {
			if rows > 1 {
				v.Twice++
				v.note("%s did request %s %d times", drillNames[i], request, rows)
			}
		}
		if n := r.audit.duplicated(); n > 0 {
			v.note("%s has %d rows that repeat an entry", drillNames[i], n)
		}
		if !maps.Equal(r.requests, writer.requests) {
			v.note("%s decided %d requests, %s %d, and they are not the same", drillNames[i], len(r.requests),
				drillNames[s.writer], len(writer.requests))
		}
	}
	orphan := map[seqKey]struct{}{}
	for key := range s.seen {
		if _, survived := writer.audit.distinct[key]; !survived {
			orphan[key] = struct{}{}
		}
	}
	v.Orphans = len(orphan)
	s.load.mu.Lock()
	defer s.load.mu.Unlock()
	v.Acked = len(s.load.acked)
	for request, p := range s.load.acked {
		missing := -1
		for i, r := range all {
			if r.requests[request] == 0 {
				missing = i
			}
		}
		_, known := orphan[entry(p.ref)]
		switch {
		case missing < 0:
		case p.durable:
			v.Lost++
			v.note("%s has not done request %s, which every site had durably: shard %d, seq %d", drillNames[missing],
				request, p.ref.Log.Shard, p.ref.Seq)
		case !known:
			v.note("%s has not done request %s of %s, and it is in no journal either: shard %d, seq %d",
				drillNames[missing], request, drillNames[p.at], p.ref.Log.Shard, p.ref.Seq)
		default:
			v.OrphansAcked++
		}
	}
	if v.Mended > int64(v.Orphans) {
		v.note("mendings gave up %d entries, the journals had %d that did not survive", v.Mended, v.Orphans)
	}
}

// close notes which entries of all epochs so far survive: what the site has decided that has
// just become the writer.
func (s *drillScene) close(ctx context.Context, site int) error {
	r, err := s.rows(ctx, site)
	if err != nil {
		return err
	}
	s.closed = r.audit.distinct
	return nil
}

// judgeClosed checks that no site has decided more of an ended epoch than its new writer had
// when it began to write.
func (s *drillScene) judgeClosed(all []*drillRows) {
	if s.closed == nil {
		return
	}
	old := map[wire.Incarnation]bool{}
	s.load.mu.Lock()
	for _, p := range s.load.acked {
		if p.at != s.writer {
			old[p.ref.Incarnation] = true
		}
	}
	s.load.mu.Unlock()
	for i, r := range all {
		for key := range r.audit.distinct {
			if _, ok := s.closed[key]; !ok && old[key.incarnation] {
				s.result.note("%s applied shard %d, seq %d of an epoch that had ended",
					drillNames[i], key.shard, key.seq)
			}
		}
	}
}

// judgeEqual counts writers, and compares all sites by verify and by digest.
func (s *drillScene) judgeEqual(ctx context.Context) error {
	v := s.result
	var epoch uint64
	for i := range s.processes {
		status, err := remote.Status(ctx, s.admins[i])
		if err != nil {
			return err
		}
		if status.Role == "primary" {
			v.Writers++
		}
		if i == 0 {
			epoch = status.Epoch
		}
		if status.Epoch != epoch || status.Primary != drillNames[s.writer] {
			v.note("%s follows %s in epoch %s", drillNames[i], status.Primary, wire.Epoch(status.Epoch))
		}
	}
	if v.Writers != 1 {
		v.note("%d sites write", v.Writers)
	}
	report, err := remote.Verify(ctx, s.admins[s.writer], drillWait, engine.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("verify at %s: %w", drillNames[s.writer], err)
	}
	v.Equal = report.Result == engine.VerifyEqual
	if !v.Equal {
		v.note("verify: %s", verifyText(report))
	}
	var first fsapi.Digest
	for i, client := range s.clients {
		digest, err := client.Digest(ctx)
		if err != nil {
			return fmt.Errorf("digest of %s: %w", drillNames[i], err)
		}
		if i == 0 {
			first = digest
		}
		if digest.Hash != first.Hash {
			v.Equal = false
			v.note("the digests of %s and %s differ", drillNames[0], drillNames[i])
		}
	}
	return nil
}

// verifyText names the first peer that is not equal.
func verifyText(r *engine.VerifyReport) string {
	for i := range r.Peers {
		if p := &r.Peers[i]; p.Result != engine.VerifyEqual {
			return fmt.Sprintf("%s is %s: %s", p.Site, p.Result, p.Reason)
		}
	}
	return r.Result
}
