//go:build rdma && linux && cgo

package verbs

// #include "verbs.h"
import "C"

// QP is a reliable connected queue pair.
type QP struct {
	c   *C.struct_ibv_qp
	num uint32
	cap QPCap
	id  *ConnID // that made it, and destroys it
}

// QPCap are the sizes of a queue pair.
type QPCap struct {
	SendWRs     int
	RecvWRs     int
	SendSGEs    int
	RecvSGEs    int
	InlineBytes int
}

func (c *QPCap) toC() C.struct_ibv_qp_cap {
	return C.struct_ibv_qp_cap{
		max_send_wr: C.uint32_t(c.SendWRs), max_recv_wr: C.uint32_t(c.RecvWRs), max_send_sge: C.uint32_t(c.SendSGEs),
		max_recv_sge: C.uint32_t(c.RecvSGEs), max_inline_data: C.uint32_t(c.InlineBytes),
	}
}

func capFromC(c *C.struct_ibv_qp_cap) QPCap {
	return QPCap{
		SendWRs: int(c.max_send_wr), RecvWRs: int(c.max_recv_wr), SendSGEs: int(c.max_send_sge),
		RecvSGEs: int(c.max_recv_sge), InlineBytes: int(c.max_inline_data),
	}
}

// QPInitAttr is what a queue pair is made with.
type QPInitAttr struct {
	SendCQ, RecvCQ *CQ
	Cap            QPCap
	SignalAll      bool
}

func (a *QPInitAttr) toC() C.struct_ibv_qp_init_attr {
	c := C.struct_ibv_qp_init_attr{
		send_cq: a.SendCQ.c, recv_cq: a.RecvCQ.c, cap: a.Cap.toC(), qp_type: C.IBV_QPT_RC,
	}
	if a.SignalAll {
		c.sq_sig_all = 1
	}
	return c
}

// CreateQP makes a queue pair in state RESET.
//
//	struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *qp_init_attr)
func (p *PD) CreateQP(attr QPInitAttr) (*QP, error) {
	if p.c == nil || attr.SendCQ == nil || attr.RecvCQ == nil || attr.SendCQ.c == nil || attr.RecvCQ.c == nil {
		return nil, closedError("ibv_create_qp")
	}
	a := attr.toC()
	c, err := C.ibv_create_qp(p.c, &a)
	if c == nil {
		return nil, pointerError("ibv_create_qp", err)
	}
	return &QP{c: c, num: uint32(c.qp_num), cap: capFromC(&a.cap)}, nil
}

// Num is the queue pair's number, 24 bits.
func (q *QP) Num() uint32 { return q.num }

// Cap are the sizes that the driver gave: those asked for, or more.
func (q *QP) Cap() QPCap { return q.cap }

// QPState is a queue pair's.
type QPState uint32

const (
	QPReset QPState = C.IBV_QPS_RESET
	QPInit  QPState = C.IBV_QPS_INIT
	QPRTR   QPState = C.IBV_QPS_RTR
	QPRTS   QPState = C.IBV_QPS_RTS
	QPSQE   QPState = C.IBV_QPS_SQE
	QPErr   QPState = C.IBV_QPS_ERR
)

// QPAttrMask says which fields of a QPAttr Modify sets.
type QPAttrMask uint32

const (
	QPAttrState           QPAttrMask = C.IBV_QP_STATE
	QPAttrAccess          QPAttrMask = C.IBV_QP_ACCESS_FLAGS
	QPAttrPKeyIndex       QPAttrMask = C.IBV_QP_PKEY_INDEX
	QPAttrPort            QPAttrMask = C.IBV_QP_PORT
	QPAttrAV              QPAttrMask = C.IBV_QP_AV
	QPAttrPathMTU         QPAttrMask = C.IBV_QP_PATH_MTU
	QPAttrTimeout         QPAttrMask = C.IBV_QP_TIMEOUT
	QPAttrRetryCount      QPAttrMask = C.IBV_QP_RETRY_CNT
	QPAttrRNRRetry        QPAttrMask = C.IBV_QP_RNR_RETRY
	QPAttrRQPSN           QPAttrMask = C.IBV_QP_RQ_PSN
	QPAttrRDAtomicMax     QPAttrMask = C.IBV_QP_MAX_QP_RD_ATOMIC
	QPAttrMinRNRTimer     QPAttrMask = C.IBV_QP_MIN_RNR_TIMER
	QPAttrSQPSN           QPAttrMask = C.IBV_QP_SQ_PSN
	QPAttrDestRDAtomicMax QPAttrMask = C.IBV_QP_MAX_DEST_RD_ATOMIC
	QPAttrDestQPN         QPAttrMask = C.IBV_QP_DEST_QPN
)

// What the moves of a reliable connected queue pair must set.
const (
	QPToInit = QPAttrState | QPAttrPKeyIndex | QPAttrPort | QPAttrAccess
	QPToRTR  = QPAttrState | QPAttrAV | QPAttrPathMTU | QPAttrDestQPN | QPAttrRQPSN | QPAttrDestRDAtomicMax |
		QPAttrMinRNRTimer
	QPToRTS = QPAttrState | QPAttrSQPSN | QPAttrTimeout | QPAttrRetryCount | QPAttrRNRRetry | QPAttrRDAtomicMax
	QPToErr = QPAttrState
)

// AHAttr is the path to the peer.
type AHAttr struct {
	Global   bool // by GID; else by LID alone
	GID      GID  // the peer's
	GIDIndex uint8
	HopLimit uint8
	LID      uint16 // the peer's
	Port     uint8
}

// QPAttr are a queue pair's attributes.
type QPAttr struct {
	State           QPState
	PathMTU         MTU
	Access          Access
	PKeyIndex       uint16
	Port            uint8
	AV              AHAttr
	DestQPN         uint32
	RQPSN           uint32
	SQPSN           uint32
	RDAtomicMax     uint8
	DestRDAtomicMax uint8
	MinRNRTimer     uint8 // code: 1 = 0.01 ms … 31 = 491.52 ms, 0 = 655.36 ms
	Timeout         uint8 // code: 4.096 µs × 2^n; 0 = no limit
	RetryCount      uint8 // 0 … 7
	RNRRetry        uint8 // 0 … 6, 7 = no limit
}

// Modify sets what the mask names; most often it moves the state.
//
//	int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask)
func (q *QP) Modify(attr *QPAttr, mask QPAttrMask) error {
	if q.c == nil {
		return closedError("ibv_modify_qp")
	}
	a := C.struct_ibv_qp_attr{
		qp_state: C.enum_ibv_qp_state(attr.State), path_mtu: C.enum_ibv_mtu(attr.PathMTU),
		rq_psn: C.uint32_t(attr.RQPSN), sq_psn: C.uint32_t(attr.SQPSN), dest_qp_num: C.uint32_t(attr.DestQPN),
		qp_access_flags: C.uint(attr.Access), pkey_index: C.uint16_t(attr.PKeyIndex),
		max_rd_atomic: C.uint8_t(attr.RDAtomicMax), max_dest_rd_atomic: C.uint8_t(attr.DestRDAtomicMax),
		min_rnr_timer: C.uint8_t(attr.MinRNRTimer), port_num: C.uint8_t(attr.Port), timeout: C.uint8_t(attr.Timeout),
		retry_cnt: C.uint8_t(attr.RetryCount), rnr_retry: C.uint8_t(attr.RNRRetry),
	}
	a.ah_attr.dlid, a.ah_attr.port_num = C.uint16_t(attr.AV.LID), C.uint8_t(attr.AV.Port)
	if attr.AV.Global {
		a.ah_attr.is_global = 1
		a.ah_attr.grh.dgid = attr.AV.GID
		a.ah_attr.grh.sgid_index = C.uint8_t(attr.AV.GIDIndex)
		a.ah_attr.grh.hop_limit = C.uint8_t(attr.AV.HopLimit)
	}
	return verbError("ibv_modify_qp", C.ibv_modify_qp(q.c, &a, C.int(mask)), nil)
}

// State asks for the queue pair's state.
//
//	int ibv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask,
//	                 struct ibv_qp_init_attr *init_attr)
func (q *QP) State() (QPState, error) {
	if q.c == nil {
		return 0, closedError("ibv_query_qp")
	}
	var a C.struct_ibv_qp_attr
	var init C.struct_ibv_qp_init_attr
	if err := verbError("ibv_query_qp", C.ibv_query_qp(q.c, &a, C.IBV_QP_STATE, &init), nil); err != nil {
		return 0, err
	}
	return QPState(a.qp_state), nil
}

// Close destroys the queue pair. One that a ConnID made is destroyed by
// rdma_destroy_qp, which tells no error.
//
//	int ibv_destroy_qp(struct ibv_qp *qp)
//	void rdma_destroy_qp(struct rdma_cm_id *id)
func (q *QP) Close() error {
	if q.c == nil {
		return closedError("ibv_destroy_qp")
	}
	if q.id != nil {
		if q.id.c == nil {
			return closedError("rdma_destroy_qp") // the queue pair went with it
		}
		C.rdma_destroy_qp(q.id.c)
	} else if err := verbError("ibv_destroy_qp", C.ibv_destroy_qp(q.c), nil); err != nil {
		return err
	}
	q.c = nil
	return nil
}
