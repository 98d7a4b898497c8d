package journal

import "github.com/claudefs/repl/wire"

// Adopt has a log go on behind a tail that the journal does not reach: its batches up to
// there are nowhere, and somebody else has what they did. The next unit begins a segment
// whose head says so, so that to the next Open nothing is missing between. Only while
// nothing of the log is staged; a tail that does not lie ahead, or of a suspect log,
// changes nothing.
func (j *Journal) Adopt(log wire.LogID, tail Tail) {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.logs[log]
	if st == nil {
		st = &logState{hiding: j.hiding}
		j.logs[log] = st
	}
	if st.suspect || st.staged != st.durable || !tail.Position.Beyond(st.durable.Position) {
		return
	}
	tail.LastStamp = max(tail.LastStamp, st.durable.LastStamp)
	tail.LastIndex = max(tail.LastIndex, st.durable.LastIndex)
	st.durable, st.staged, st.adopted, j.renew = tail, tail, tail.Position, true
	j.noteBegins([]headLog{{log: log, tail: tail, begins: true}})
}

// noteBegins notes which rows of a table begin a log. The lock is held.
func (j *Journal) noteBegins(rows []headLog) {
	for i := range rows {
		if rows[i].begins {
			j.begins = append(j.begins, rows[i])
		}
	}
}

// beganBehind returns the first log that goes on behind more than is said that somebody has:
// what he needs next is nowhere. nil: none does. The lock is held.
func (j *Journal) beganBehind(said map[wire.LogID]wire.Position) *headLog {
	for i := range j.begins {
		row := &j.begins[i]
		if have, asked := said[row.log]; asked && !j.covers(have, len(j.segs)-1, row) {
			return row
		}
	}
	return nil
}
