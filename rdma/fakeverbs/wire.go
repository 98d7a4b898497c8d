package fakeverbs

import (
	"slices"
	"time"

	"github.com/claudefs/repl/rdma"
)

// advance executes queued sends, in order, until one has to wait. f.mu is held.
func (p *queuePair) advance() {
	for p.state == stateSend && len(p.sends) > 0 {
		s := &p.sends[0]
		target, why := p.target(s)
		if why != stallNone {
			p.stall(why)
			return
		}
		p.unstall()
		done := *s
		p.sends = slices.Delete(p.sends, 0, 1)
		fault := p.fabric().due(CallExecute)
		status := rdma.StatusSuccess
		if fault == nil || fault.Executed {
			status = p.execute(&done, target)
		}
		if fault != nil {
			status = fault.Status
		}
		p.complete(&done, status)
		if status != rdma.StatusSuccess {
			p.fail()
		}
	}
}

// target is the queue pair that a send goes to, or why it has to wait.
func (p *queuePair) target(s *send) (*queuePair, stall) {
	f := p.fabric()
	t := f.pairs[p.peer.QPN]
	if t == nil || t.peer.QPN != p.number || t.state != stateReceive && t.state != stateSend ||
		t.domain.device.host.portDown || p.domain.device.host.portDown {
		return nil, stallSilence
	}
	if s.Op != rdma.OpWrite && len(t.receives) == 0 {
		return nil, stallRNR
	}
	return t, stallNone
}

// stall waits for the peer, as long as the options bear. f.mu is held.
func (p *queuePair) stall(why stall) {
	if p.stalledFor == why {
		return
	}
	p.unstall()
	p.stalledFor = why
	f := p.fabric()
	patience, status := p.o.AckTimeout*time.Duration(p.o.Retries+1), rdma.StatusRetryExceeded
	if why == stallRNR {
		f.counts.RNRs++
		patience, status = p.o.RNRTimer*time.Duration(p.o.RNRRetries+1), rdma.StatusRNRExceeded
		if p.o.RNRRetries == 7 {
			patience = 1 << 62
		}
	}
	var timer *time.Timer
	timer = time.AfterFunc(patience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p.stalled != timer {
			return
		}
		p.complete(&p.sends[0], status)
		p.sends = slices.Delete(p.sends, 0, 1)
		p.fail()
	})
	p.stalled = timer
}

// execute carries one send to the target, and returns how it ended.
func (p *queuePair) execute(s *send, t *queuePair) rdma.Status {
	size, status := p.gather(s)
	if status != rdma.StatusSuccess {
		return status
	}
	f := p.fabric()
	var into []byte
	if s.Op == rdma.OpSend {
		into = t.receives[0].Part.Bytes
		if size > len(into) || !t.domain.owns(t.receives[0].Part, true) {
			return p.refuse(t, rdma.StatusRemoteInvalid)
		}
	} else if into = f.remote(s.RemoteKey, s.Remote, size, t); into == nil && size > 0 {
		return p.refuse(t, rdma.StatusRemoteAccess)
	}
	for _, part := range s.Parts {
		into = into[copy(into, part.Bytes):]
	}
	f.count(s, size)
	if s.Op != rdma.OpWrite {
		c := rdma.Completion{ID: t.receives[0].ID, Kind: rdma.CompletedReceive, Bytes: uint32(size)}
		if s.Op == rdma.OpWriteImm {
			c.Kind, c.Imm = rdma.CompletedReceiveImm, s.Imm
		}
		t.receives = slices.Delete(t.receives, 0, 1)
		t.completions.add(t.entry(c, 0))
	}
	return rdma.StatusSuccess
}

// gather checks the memory of a send as it is now.
func (p *queuePair) gather(s *send) (size int, status rdma.Status) {
	for _, part := range s.Parts {
		if !s.Inline && !p.domain.owns(part, false) {
			return 0, rdma.StatusLocalProtect
		}
		size += len(part.Bytes)
	}
	return size, rdma.StatusSuccess
}

// owns says whether a piece of memory lies in a region of the domain by its key.
func (d *domain) owns(part rdma.SGE, write bool) bool {
	if len(part.Bytes) == 0 {
		return true
	}
	r := d.device.f.regions[part.Key]
	return r != nil && r.domain == d && r.covers(part.Bytes) && (!write || r.access&rdma.LocalWrite != 0)
}

// refuse is what both ends of a request that the target may not grant see.
func (p *queuePair) refuse(t *queuePair, status rdma.Status) rdma.Status {
	t.fail()
	t.tellFatal()
	return status
}

func (f *Fabric) count(s *send, size int) {
	switch s.Op {
	case rdma.OpWrite:
		f.counts.Writes++
	case rdma.OpWriteImm:
		f.counts.WriteImms++
	case rdma.OpSend:
		f.counts.Sends++
	}
	if s.Signalled {
		f.counts.Signalled++
	}
	if s.Inline {
		f.counts.Inline++
	}
	f.counts.Bytes += uint64(size)
}
