//go:build rdma && linux && cgo

package rdma

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/claudefs/repl/cgo/verbs"
)

const (
	// entriesPerCrossing is how long a list of sends or receives is in C memory; a longer
	// one takes several crossings.
	entriesPerCrossing = 256
	// hopLimit is how many routers a packet of RoCE v2 may pass.
	hopLimit = 64
)

type systemPair struct {
	domain   *systemDomain
	queue    *systemQueue
	pair     *verbs.QP
	gid      GID // and its index: as they were when it was made
	gidIndex int
	o        QueuePairOptions
	moveMu   sync.Mutex
	state    atomic.Uint32 // of verbs.QPState, as far as calls have moved it

	sendMu sync.Mutex
	sends  *verbs.SendList
	recvMu sync.Mutex
	recvs  *verbs.RecvList

	closed bool // under domain.mu
}

func (p *systemDomain) OpenQueuePair(o QueuePairOptions) (pair QueuePair, err error) {
	q, own := o.Completions.(*systemQueue)
	if !own || q.device != p.device {
		return nil, p.device.wrap(fmt.Errorf("queue pair: completion queue of another device: %w", syscall.EINVAL))
	}
	s := &systemPair{domain: p, queue: q, o: o}
	defer func() {
		if err != nil {
			_ = s.release() // the first error tells more
			pair, err = nil, p.device.wrap(err)
		}
	}()
	if s.gidIndex, s.gid, err = p.device.chooseGID(); err != nil {
		return nil, err
	}
	if s.sends, err = verbs.NewSendList(min(o.SendsMax, entriesPerCrossing), o.PartsMax); err != nil {
		return nil, err
	}
	if s.recvs, err = verbs.NewRecvList(min(o.ReceivesMax, entriesPerCrossing), 1); err != nil {
		return nil, err
	}
	s.pair, err = p.domain.CreateQP(verbs.QPInitAttr{
		SendCQ: q.queue, RecvCQ: q.queue,
		Cap: verbs.QPCap{
			SendWRs: o.SendsMax, RecvWRs: o.ReceivesMax, SendSGEs: o.PartsMax, RecvSGEs: 1, InlineBytes: o.InlineBytes,
		},
	})
	if err != nil {
		return nil, err
	}
	err = s.move(verbs.QPAttr{
		State: verbs.QPInit, Port: p.device.caps.Port, Access: verbs.AccessRemoteWrite | verbs.AccessLocalWrite,
	}, verbs.QPToInit)
	if err != nil {
		return nil, err
	}
	p.child(1)
	p.device.mu.Lock()
	q.pairs++
	p.device.mu.Unlock()
	return s, nil
}

func (s *systemPair) release() (err error) {
	if s.pair != nil {
		err = s.pair.Close()
	}
	if s.sends != nil {
		_ = s.sends.Close() // once: it cannot fail
	}
	if s.recvs != nil {
		_ = s.recvs.Close()
	}
	return err
}

func (s *systemPair) move(attr verbs.QPAttr, mask verbs.QPAttrMask) error {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if err := s.pair.Modify(&attr, mask); err != nil {
		return err
	}
	s.state.Store(uint32(attr.State))
	return nil
}

func (s *systemPair) is(state verbs.QPState) bool { return s.state.Load() == uint32(state) }

func (s *systemPair) Identity() Identity {
	c := &s.domain.device.caps
	return Identity{QPN: s.pair.Num(), PSN: s.o.PSN & (1<<24 - 1), GID: s.gid, LID: c.LID, MTUBytes: c.MTUBytes}
}

func (s *systemPair) Inline() int { return s.pair.Cap().InlineBytes }

func (s *systemPair) ReadyToReceive(peer Identity) error {
	d := s.domain.device
	if !s.is(verbs.QPInit) {
		return d.wrap(fmt.Errorf("ready to receive: %w", ErrState))
	}
	return d.wrap(s.move(verbs.QPAttr{
		State: verbs.QPRTR, PathMTU: mtuCode(min(peer.MTUBytes, d.caps.MTUBytes)), DestQPN: peer.QPN, RQPSN: peer.PSN,
		// Nobody reads here, but some drivers refuse 0.
		DestRDAtomicMax: 1, MinRNRTimer: rnrTimerCode(s.o.RNRTimer),
		AV: verbs.AHAttr{
			Global: d.ethernet || peer.LID == 0, GID: verbs.GID(peer.GID), GIDIndex: uint8(s.gidIndex),
			HopLimit: hopLimit, LID: peer.LID, Port: d.caps.Port,
		},
	}, verbs.QPToRTR))
}

func (s *systemPair) ReadyToSend() error {
	d := s.domain.device
	if !s.is(verbs.QPRTR) {
		return d.wrap(fmt.Errorf("ready to send: %w", ErrState))
	}
	return d.wrap(s.move(verbs.QPAttr{
		State: verbs.QPRTS, SQPSN: s.Identity().PSN, Timeout: ackTimeoutCode(s.o.AckTimeout), RetryCount: s.o.Retries,
		RNRRetry: s.o.RNRRetries, RDAtomicMax: 1,
	}, verbs.QPToRTS))
}

func (s *systemPair) PostSends(list []Send) (done int, err error) {
	if s.is(verbs.QPInit) || s.is(verbs.QPRTR) {
		return 0, s.domain.device.wrap(fmt.Errorf("post sends: %w", ErrState))
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	for done < len(list) {
		count := 0
		var bad error
		for _, w := range list[done:min(len(list), done+s.sends.Len())] {
			if bad = s.fill(count, &w); bad != nil {
				break
			}
			count++
		}
		n, err := s.pair.PostSend(s.sends, count)
		done += n
		if err != nil {
			return done, s.domain.device.wrap(postError(err, list[min(done, len(list)-1)].Op == OpWriteImm))
		}
		if bad != nil {
			return done, s.domain.device.wrap(fmt.Errorf("entry %d: %w", done, bad))
		}
	}
	return done, nil
}

var opcodes = [...]verbs.WROpcode{
	OpWrite: verbs.WRRDMAWrite, OpWriteImm: verbs.WRRDMAWriteImm, OpSend: verbs.WRSend,
}

// fill makes w entry i of the list in C memory.
func (s *systemPair) fill(i int, w *Send) error {
	if w.Op < OpWrite || w.Op > OpSend || len(w.Parts) > s.sends.Parts() {
		return fmt.Errorf("op %d with %d parts, at most %d: %w", w.Op, len(w.Parts), s.sends.Parts(), syscall.EINVAL)
	}
	wr := verbs.SendWR{ID: w.ID, Opcode: opcodes[w.Op], Imm: w.Imm, RemoteAddress: w.Remote, RKey: w.RemoteKey}
	if w.Signalled {
		wr.Flags |= verbs.SendSignaled
	}
	if w.Inline {
		wr.Flags |= verbs.SendInline
	}
	s.sends.Set(i, &wr)
	for _, part := range w.Parts {
		if len(part.Bytes) > math.MaxInt32 {
			return fmt.Errorf("part of %d bytes: %w", len(part.Bytes), syscall.EINVAL)
		}
		if len(part.Bytes) > 0 {
			s.sends.Add(i, verbs.SGE{Address: addressOf(part.Bytes), Bytes: uint32(len(part.Bytes)), LKey: part.Key})
		}
	}
	return nil
}

// postError gives what drivers say the names of this package.
func postError(err error, immediate bool) error {
	switch {
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case immediate && errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", ErrNoImmediate, err)
	}
	return err
}

func (s *systemPair) PostReceives(list []Receive) (done int, err error) {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	for done < len(list) {
		count := 0
		for _, r := range list[done:min(len(list), done+s.recvs.Len())] {
			s.recvs.Set(count, r.ID)
			if n := len(r.Part.Bytes); n > 0 {
				s.recvs.Add(count, verbs.SGE{Address: addressOf(r.Part.Bytes), Bytes: uint32(n), LKey: r.Part.Key})
			}
			count++
		}
		n, err := s.pair.PostRecv(s.recvs, count)
		done += n
		if err != nil {
			return done, s.domain.device.wrap(postError(err, false))
		}
	}
	return done, nil
}

func (s *systemPair) Fail() error {
	return s.domain.device.wrap(s.move(verbs.QPAttr{State: verbs.QPErr}, verbs.QPToErr))
}

func (s *systemPair) Close() error {
	p := s.domain
	p.mu.Lock()
	if s.closed {
		p.mu.Unlock()
		return nil
	}
	s.closed = true
	p.mu.Unlock()
	// Not under a lock: the library waits until NextEvent has acknowledged.
	err := s.release()
	p.child(-1)
	p.device.mu.Lock()
	s.queue.pairs--
	p.device.mu.Unlock()
	return p.device.wrap(err)
}
