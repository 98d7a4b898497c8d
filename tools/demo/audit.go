package demo

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// ledger is what the clients were promised: how many of their operations were
// acknowledged as each entry. Where it is more than one, all but the last are lost: a
// log that forgot its end writes the same seqs again.
type ledger map[wire.Ref]int

// seqKey names an entry without its log: incarnations are random, so it still
// names one entry, and a row under a wrong log cannot hide a repetition.
type seqKey struct {
	incarnation wire.Incarnation
	shard       wire.Shard
	seq         wire.Seq
}

// siteAudit counts what one site decided.
type siteAudit struct {
	rows     int
	distinct map[seqKey]struct{}
	ends     map[logKey]logSpan
}

type logKey struct {
	incarnation wire.Incarnation
	shard       wire.Shard
}

// logSpan is how many distinct seqs a log has, its lowest and its highest.
type logSpan struct {
	count       uint64
	first, last wire.Seq
}

func newSiteAudit() *siteAudit {
	return &siteAudit{distinct: map[seqKey]struct{}{}, ends: map[logKey]logSpan{}}
}

// add counts one row, the decision of one entry.
func (s *siteAudit) add(ref wire.Ref) {
	s.rows++
	key := seqKey{ref.Incarnation, ref.Log.Shard, ref.Seq}
	if _, seen := s.distinct[key]; seen {
		return
	}
	s.distinct[key] = struct{}{}
	log := logKey{key.incarnation, key.shard}
	span := s.ends[log]
	if span.count == 0 || key.seq < span.first {
		span.first = key.seq
	}
	span.count++
	span.last = max(span.last, key.seq)
	s.ends[log] = span
}

// duplicated is how many rows repeat an entry.
func (s *siteAudit) duplicated() int { return s.rows - len(s.distinct) }

// gap names a log whose decided seqs have a hole (I3). Seq 1 of an incarnation
// is its START batch, which is not an entry of the host: rows begin at 1 or 2.
func (s *siteAudit) gap() error {
	for log, span := range s.ends {
		if span.first > 2 || uint64(span.last-span.first)+1 != span.count {
			return fmt.Errorf("log (incarnation %s, shard %d): %d entries decided between seq %d and %d",
				log.incarnation, log.shard, span.count, span.first, span.last)
		}
	}
	return nil
}

// lost is how many acknowledged operations have no row here.
func (s *siteAudit) lost(acked ledger) (count int, first wire.Ref) {
	for ref, lost := range acked {
		if _, ok := s.distinct[seqKey{ref.Incarnation, ref.Log.Shard, ref.Seq}]; ok {
			lost--
		}
		if lost == 0 {
			continue
		}
		if count == 0 || ref.Log.Compare(first.Log) < 0 || ref.Log == first.Log && ref.Seq < first.Seq {
			first = ref
		}
		count += lost
	}
	return count, first
}
