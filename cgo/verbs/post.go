//go:build rdma && linux && cgo

package verbs

// #cgo noescape cfs_post_send
// #cgo nocallback cfs_post_send
// #cgo noescape cfs_post_recv
// #cgo nocallback cfs_post_recv
// #include <stdlib.h>
// #include "verbs.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"
)

// WROpcode is what a send does.
type WROpcode uint32

const (
	WRRDMAWrite    WROpcode = C.IBV_WR_RDMA_WRITE
	WRRDMAWriteImm WROpcode = C.IBV_WR_RDMA_WRITE_WITH_IMM
	WRSend         WROpcode = C.IBV_WR_SEND
	WRSendImm      WROpcode = C.IBV_WR_SEND_WITH_IMM
)

// SendFlags change how a send is done.
type SendFlags uint32

const (
	SendSignaled  SendFlags = C.IBV_SEND_SIGNALED  // completes on success too
	SendSolicited SendFlags = C.IBV_SEND_SOLICITED // wakes a peer that waits for solicited events only
	SendInline    SendFlags = C.IBV_SEND_INLINE    // the bytes are copied while they are posted
)

// SGE is a piece of memory off the Go heap, and the key of the region that it lies in.
type SGE struct {
	Address uintptr
	Bytes   uint32
	LKey    uint32
}

// SendWR is a send work request.
type SendWR struct {
	ID            uint64
	Opcode        WROpcode
	Flags         SendFlags
	Imm           uint32 // in the host's byte order; of opcodes with immediate
	RemoteAddress uint64 // of writes
	RKey          uint32 // of writes
}

// SendList is C memory for send work requests: so many, of so many parts each.
type SendList struct {
	entries []C.struct_ibv_send_wr
	sges    []C.struct_ibv_sge
	parts   int
}

// NewSendList allocates a list.
func NewSendList(entries, parts int) (*SendList, error) {
	if entries < 1 || parts < 1 {
		return nil, fmt.Errorf("list of %d sends of %d parts: %w", entries, parts, syscall.EINVAL)
	}
	var sges *C.struct_ibv_sge
	list, err := C.cfs_alloc_sends(C.int(entries), C.int(parts), &sges)
	if list == nil {
		return nil, pointerError("list of sends", err)
	}
	return &SendList{unsafe.Slice(list, entries), unsafe.Slice(sges, entries*parts), parts}, nil
}

// Len is how many entries the list has; Parts how many parts each has room for.
func (l *SendList) Len() int { return len(l.entries) }

// Parts is how many parts an entry has room for.
func (l *SendList) Parts() int { return l.parts }

// Set fills entry i, without parts.
func (l *SendList) Set(i int, wr *SendWR) {
	e := &l.entries[i]
	e.wr_id, e.num_sge = C.uint64_t(wr.ID), 0
	e.opcode, e.send_flags = C.enum_ibv_wr_opcode(wr.Opcode), C.uint(wr.Flags)
	binary.BigEndian.PutUint32(e.anon0[:], wr.Imm)
	// The union's member rdma: u64 remote_addr, u32 rkey.
	binary.NativeEndian.PutUint64(e.wr[0:], wr.RemoteAddress)
	binary.NativeEndian.PutUint32(e.wr[8:], wr.RKey)
}

// Add adds a part to entry i; one more than there is room for panics.
func (l *SendList) Add(i int, part SGE) {
	e := &l.entries[i]
	sges := l.sges[i*l.parts : (i+1)*l.parts]
	sges[e.num_sge] = part.toC()
	e.num_sge++
}

// Close frees the list.
func (l *SendList) Close() error {
	if l.entries == nil {
		return closedError("list of sends")
	}
	C.free(unsafe.Pointer(&l.sges[0]))
	C.free(unsafe.Pointer(&l.entries[0]))
	l.entries, l.sges = nil, nil
	return nil
}

// RecvList is C memory for receive work requests: so many, of so many parts each.
type RecvList struct {
	entries []C.struct_ibv_recv_wr
	sges    []C.struct_ibv_sge
	parts   int
}

// NewRecvList allocates a list.
func NewRecvList(entries, parts int) (*RecvList, error) {
	if entries < 1 || parts < 1 {
		return nil, fmt.Errorf("list of %d receives of %d parts: %w", entries, parts, syscall.EINVAL)
	}
	var sges *C.struct_ibv_sge
	list, err := C.cfs_alloc_recvs(C.int(entries), C.int(parts), &sges)
	if list == nil {
		return nil, pointerError("list of receives", err)
	}
	return &RecvList{unsafe.Slice(list, entries), unsafe.Slice(sges, entries*parts), parts}, nil
}

// Len is how many entries the list has.
func (l *RecvList) Len() int { return len(l.entries) }

// Set fills entry i, without parts.
func (l *RecvList) Set(i int, id uint64) {
	l.entries[i].wr_id, l.entries[i].num_sge = C.uint64_t(id), 0
}

// Add adds a part to entry i; one more than there is room for panics.
func (l *RecvList) Add(i int, part SGE) {
	e := &l.entries[i]
	sges := l.sges[i*l.parts : (i+1)*l.parts]
	sges[e.num_sge] = part.toC()
	e.num_sge++
}

// Close frees the list.
func (l *RecvList) Close() error {
	if l.entries == nil {
		return closedError("list of receives")
	}
	C.free(unsafe.Pointer(&l.sges[0]))
	C.free(unsafe.Pointer(&l.entries[0]))
	l.entries, l.sges = nil, nil
	return nil
}

func (s SGE) toC() C.struct_ibv_sge {
	return C.struct_ibv_sge{addr: C.uint64_t(s.Address), length: C.uint32_t(s.Bytes), lkey: C.uint32_t(s.LKey)}
}

// PostSend queues the first count entries of the list, in order, and returns how many
// were queued: with an error those before the one at fault. ENOMEM says that the
// queue is full.
//
//	int ibv_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad_wr)
func (q *QP) PostSend(list *SendList, count int) (int, error) {
	if q.c == nil || list.entries == nil {
		return 0, closedError("ibv_post_send")
	}
	if count == 0 {
		return 0, nil
	}
	return posted("ibv_post_send", C.cfs_post_send(q.c, &list.entries[:count][0], C.int(count)))
}

// PostRecv does the same for receives.
//
//	int ibv_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad_wr)
func (q *QP) PostRecv(list *RecvList, count int) (int, error) {
	if q.c == nil || list.entries == nil {
		return 0, closedError("ibv_post_recv")
	}
	if count == 0 {
		return 0, nil
	}
	return posted("ibv_post_recv", C.cfs_post_recv(q.c, &list.entries[:count][0], C.int(count)))
}

func posted(verb string, p C.struct_cfs_posted) (int, error) {
	if p.error != 0 {
		return int(p.count), fmt.Errorf("%s: entry %d: %w", verb, p.count, syscall.Errno(p.error))
	}
	return int(p.count), nil
}
