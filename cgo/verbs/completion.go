//go:build rdma && linux && cgo

package verbs

// #cgo noescape cfs_poll_cq
// #cgo nocallback cfs_poll_cq
// #cgo noescape cfs_req_notify_cq
// #cgo nocallback cfs_req_notify_cq
// #cgo noescape cfs_get_cq_event
// #cgo nocallback cfs_get_cq_event
// #include <stdlib.h>
// #include "verbs.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"
)

// CompChannel tells of completion queues that were armed.
type CompChannel struct{ c *C.struct_ibv_comp_channel }

// CreateCompChannel makes a completion channel.
//
//	struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
func (x *Context) CreateCompChannel() (*CompChannel, error) {
	if x.c == nil {
		return nil, closedError("ibv_create_comp_channel")
	}
	c, err := C.ibv_create_comp_channel(x.c)
	if c == nil {
		return nil, pointerError("ibv_create_comp_channel", err)
	}
	return &CompChannel{c}, nil
}

// FD is the descriptor that becomes readable with an event. It is the channel's.
//
//	struct ibv_comp_channel { … int fd; … }
func (h *CompChannel) FD() int { return int(h.c.fd) }

// errNoEvent is what a poller meets before it waits: often, so it is made once.
var errNoEvent = fmt.Errorf("ibv_get_cq_event: %w", syscall.EAGAIN)

// GetCQEvent takes the next event and returns the cookie of the queue that it is
// about; it waits unless FD is non-blocking. Each one is to be acknowledged by
// CQ.AckEvents.
//
//	int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
func (h *CompChannel) GetCQEvent() (cookie uintptr, err error) {
	if h.c == nil {
		return 0, closedError("ibv_get_cq_event")
	}
	var c C.uintptr_t
	result, errno := C.cfs_get_cq_event(h.c, &c)
	if result != 0 {
		if errno == syscall.EAGAIN {
			return 0, errNoEvent
		}
		return 0, pointerError("ibv_get_cq_event", errno)
	}
	return uintptr(c), nil
}

// Close destroys the channel; EBUSY while a queue uses it.
//
//	int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
func (h *CompChannel) Close() error {
	if h.c == nil {
		return closedError("ibv_destroy_comp_channel")
	}
	if err := verbError("ibv_destroy_comp_channel", C.ibv_destroy_comp_channel(h.c), nil); err != nil {
		return err
	}
	h.c = nil
	return nil
}

// CQ is a completion queue.
type CQ struct{ c *C.struct_ibv_cq }

// CreateCQ makes a completion queue of at least that many entries. The channel may be
// nil; the cookie comes back in events about the queue.
//
//	struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
//	                             struct ibv_comp_channel *channel, int comp_vector)
func (x *Context) CreateCQ(entries int, cookie uintptr, channel *CompChannel, vector int) (*CQ, error) {
	if x.c == nil {
		return nil, closedError("ibv_create_cq")
	}
	var tell *C.struct_ibv_comp_channel
	if channel != nil {
		tell = channel.c
	}
	c, err := C.cfs_create_cq(x.c, C.int(entries), C.uintptr_t(cookie), tell, C.int(vector))
	if c == nil {
		return nil, pointerError("ibv_create_cq", err)
	}
	return &CQ{c}, nil
}

// Entries is how many the queue holds.
func (q *CQ) Entries() int { return int(q.c.cqe) }

// ReqNotify asks for one event, at the next completion from now on, or the next
// solicited one (or error).
//
//	int ibv_req_notify_cq(struct ibv_cq *cq, int solicited_only)
func (q *CQ) ReqNotify(solicitedOnly bool) error {
	if q.c == nil {
		return closedError("ibv_req_notify_cq")
	}
	var only C.int
	if solicitedOnly {
		only = 1
	}
	return verbError("ibv_req_notify_cq", C.cfs_req_notify_cq(q.c, only), nil)
}

// AckEvents acknowledges count events.
//
//	void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int nevents)
func (q *CQ) AckEvents(count int) {
	if q.c != nil {
		C.ibv_ack_cq_events(q.c, C.uint(count))
	}
}

// Poll moves up to count completions into the list, and returns how many.
//
//	int ibv_poll_cq(struct ibv_cq *cq, int num_entries, struct ibv_wc *wc)
func (q *CQ) Poll(into *WCList, count int) (int, error) {
	if q.c == nil || into.entries == nil {
		return 0, closedError("ibv_poll_cq")
	}
	if count == 0 {
		return 0, nil
	}
	n := C.cfs_poll_cq(q.c, C.int(count), &into.entries[:count][0])
	if n < 0 {
		return 0, fmt.Errorf("ibv_poll_cq: result %d: %w", n, syscall.EIO)
	}
	return int(n), nil
}

// Close destroys the queue; EBUSY while a queue pair uses it.
//
//	int ibv_destroy_cq(struct ibv_cq *cq)
func (q *CQ) Close() error {
	if q.c == nil {
		return closedError("ibv_destroy_cq")
	}
	if err := verbError("ibv_destroy_cq", C.ibv_destroy_cq(q.c), nil); err != nil {
		return err
	}
	q.c = nil
	return nil
}

// WCStatus is how a work request ended.
type WCStatus uint32

const (
	WCSuccess            WCStatus = C.IBV_WC_SUCCESS
	WCLocalLengthError   WCStatus = C.IBV_WC_LOC_LEN_ERR
	WCLocalProtectError  WCStatus = C.IBV_WC_LOC_PROT_ERR
	WCFlushed            WCStatus = C.IBV_WC_WR_FLUSH_ERR
	WCRemoteInvalidError WCStatus = C.IBV_WC_REM_INV_REQ_ERR
	WCRemoteAccessError  WCStatus = C.IBV_WC_REM_ACCESS_ERR
	WCRemoteOpError      WCStatus = C.IBV_WC_REM_OP_ERR
	WCRetryExceeded      WCStatus = C.IBV_WC_RETRY_EXC_ERR
	WCRNRRetryExceeded   WCStatus = C.IBV_WC_RNR_RETRY_EXC_ERR
)

// String is the library's own text.
//
//	const char *ibv_wc_status_str(enum ibv_wc_status status)
func (s WCStatus) String() string { return C.GoString(C.ibv_wc_status_str(C.enum_ibv_wc_status(s))) }

// WCOpcode is what completed.
type WCOpcode uint32

const (
	WCSend        WCOpcode = C.IBV_WC_SEND
	WCRDMAWrite   WCOpcode = C.IBV_WC_RDMA_WRITE
	WCRecv        WCOpcode = C.IBV_WC_RECV
	WCRecvRDMAImm WCOpcode = C.IBV_WC_RECV_RDMA_WITH_IMM
)

// WC is a work completion. Where Status is not WCSuccess, only ID, QPN and VendorError
// mean something.
type WC struct {
	ID          uint64
	Status      WCStatus
	Opcode      WCOpcode
	VendorError uint32
	Bytes       uint32
	WithImm     bool
	Imm         uint32 // in the host's byte order
	QPN         uint32
}

// WCList is C memory for work completions.
type WCList struct{ entries []C.struct_ibv_wc }

// NewWCList allocates a list.
func NewWCList(entries int) (*WCList, error) {
	if entries < 1 {
		return nil, fmt.Errorf("list of %d work completions: %w", entries, syscall.EINVAL)
	}
	c := C.calloc(C.size_t(entries), C.sizeof_struct_ibv_wc) // cgo's never returns nil
	return &WCList{unsafe.Slice((*C.struct_ibv_wc)(c), entries)}, nil
}

// Len is how many the list holds.
func (l *WCList) Len() int { return len(l.entries) }

// At is one of those that the last Poll returned.
func (l *WCList) At(i int) WC {
	e := &l.entries[i]
	return WC{
		ID: uint64(e.wr_id), Status: WCStatus(e.status), Opcode: WCOpcode(e.opcode), VendorError: uint32(e.vendor_err),
		Bytes: uint32(e.byte_len), WithImm: e.wc_flags&C.IBV_WC_WITH_IMM != 0,
		Imm: binary.BigEndian.Uint32(e.anon0[:]), QPN: uint32(e.qp_num),
	}
}

// Close frees the list.
func (l *WCList) Close() error {
	if l.entries == nil {
		return closedError("list of work completions")
	}
	C.free(unsafe.Pointer(&l.entries[0]))
	l.entries = nil
	return nil
}
