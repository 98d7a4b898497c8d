package journal

import "github.com/claudefs/repl/wire"

// Adopt has a log go on behind a tail that the journal does not reach: its batches up to
// there are lost, and somebody else shows that they were there. The next unit begins a
// segment whose head says so; to the next Open what lies between is a hole. Only before
// anything of the log is staged; a tail that does not lie ahead changes nothing.
func (j *Journal) Adopt(log wire.LogID, tail Tail) {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.logs[log]
	if st == nil {
		st = &logState{hiding: j.hiding}
		j.logs[log] = st
	}
	if st.suspect || st.staged != st.durable || tail.Position.Seq <= st.durable.Position.Seq {
		return
	}
	tail.LastStamp = max(tail.LastStamp, st.durable.LastStamp)
	tail.LastIndex = max(tail.LastIndex, st.durable.LastIndex)
	st.durable, st.staged, j.renew = tail, tail, true
}
