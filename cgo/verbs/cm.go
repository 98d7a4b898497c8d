//go:build rdma && linux && cgo

package verbs

// #include <stdlib.h>
// #include <netinet/in.h>
// #include "verbs.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

// EventChannel is where a ConnID's events arrive.
type EventChannel struct{ c *C.struct_rdma_event_channel }

// CreateEventChannel makes an event channel. ENODEV says that the kernel has no
// rdma_ucm.
//
//	struct rdma_event_channel *rdma_create_event_channel(void)
func CreateEventChannel() (*EventChannel, error) {
	c, err := C.rdma_create_event_channel()
	if c == nil {
		return nil, pointerError("rdma_create_event_channel", err)
	}
	return &EventChannel{c}, nil
}

// FD is the descriptor that becomes readable with an event. It is the channel's.
//
//	struct rdma_event_channel { int fd; }
func (h *EventChannel) FD() int { return int(h.c.fd) }

// Close destroys the channel; its ConnIDs must be closed before.
//
//	void rdma_destroy_event_channel(struct rdma_event_channel *channel)
func (h *EventChannel) Close() error {
	if h.c == nil {
		return closedError("rdma_destroy_event_channel")
	}
	C.rdma_destroy_event_channel(h.c)
	h.c = nil
	return nil
}

// CMEventType is what a CMEvent tells.
type CMEventType uint32

const (
	CMAddrResolved   CMEventType = C.RDMA_CM_EVENT_ADDR_RESOLVED
	CMAddrError      CMEventType = C.RDMA_CM_EVENT_ADDR_ERROR
	CMRouteResolved  CMEventType = C.RDMA_CM_EVENT_ROUTE_RESOLVED
	CMRouteError     CMEventType = C.RDMA_CM_EVENT_ROUTE_ERROR
	CMConnectRequest CMEventType = C.RDMA_CM_EVENT_CONNECT_REQUEST
	CMConnectError   CMEventType = C.RDMA_CM_EVENT_CONNECT_ERROR
	CMUnreachable    CMEventType = C.RDMA_CM_EVENT_UNREACHABLE
	CMRejected       CMEventType = C.RDMA_CM_EVENT_REJECTED
	CMEstablished    CMEventType = C.RDMA_CM_EVENT_ESTABLISHED
	CMDisconnected   CMEventType = C.RDMA_CM_EVENT_DISCONNECTED
	CMDeviceRemoval  CMEventType = C.RDMA_CM_EVENT_DEVICE_REMOVAL
	CMTimewaitExit   CMEventType = C.RDMA_CM_EVENT_TIMEWAIT_EXIT
)

// String is the library's own text.
//
//	const char *rdma_event_str(enum rdma_cm_event_type event)
func (t CMEventType) String() string {
	return C.GoString(C.rdma_event_str(C.enum_rdma_cm_event_type(t)))
}

// CMEvent is one that GetCMEvent returned.
type CMEvent struct {
	Type        CMEventType
	Status      int     // of an error: -errno, or the reason of a rejection
	Cookie      uintptr // CreateID's, of the id that it is about; of CMConnectRequest, the listener's
	Request     *ConnID // of CMConnectRequest: the new one, which is the caller's to close
	PrivateData []byte  // what the peer sent along; a copy, maybe with zeros behind

	c *C.struct_rdma_cm_event
}

// GetCMEvent takes the next event, and waits for it unless FD is non-blocking. Each
// one is to be acknowledged.
//
//	int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
func (h *EventChannel) GetCMEvent() (*CMEvent, error) {
	if h.c == nil {
		return nil, closedError("rdma_get_cm_event")
	}
	var c *C.struct_rdma_cm_event
	if result, err := C.rdma_get_cm_event(h.c, &c); result != 0 {
		return nil, pointerError("rdma_get_cm_event", err)
	}
	e := &CMEvent{Type: CMEventType(c.event), Status: int(c.status), Cookie: uintptr(c.id.context), c: c}
	if e.Type == CMConnectRequest {
		e.Request = &ConnID{c: c.id}
	}
	// Unsafe rule 1: of the union's members, reliable connections use conn.
	param := (*C.struct_rdma_conn_param)(unsafe.Pointer(&c.param))
	if param.private_data != nil {
		e.PrivateData = C.GoBytes(param.private_data, C.int(param.private_data_len))
	}
	return e, nil
}

// Ack frees the event, once. No ConnID is destroyed before its events are acknowledged.
//
//	int rdma_ack_cm_event(struct rdma_cm_event *event)
func (e *CMEvent) Ack() error {
	if e.c == nil {
		return closedError("rdma_ack_cm_event")
	}
	result, err := C.rdma_ack_cm_event(e.c)
	e.c = nil
	return verbError("rdma_ack_cm_event", result, err)
}

// ConnID is one end of a connection, or a listener.
type ConnID struct {
	c *C.struct_rdma_cm_id
}

// CreateID makes a ConnID of the port space of reliable connections. The cookie comes
// back in its events.
//
//	int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
//	                   enum rdma_port_space ps)
func (h *EventChannel) CreateID(cookie uintptr) (*ConnID, error) {
	if h.c == nil {
		return nil, closedError("rdma_create_id")
	}
	var c *C.struct_rdma_cm_id
	result, err := C.cfs_create_id(h.c, &c, C.uintptr_t(cookie))
	if err := verbError("rdma_create_id", result, err); err != nil {
		return nil, err
	}
	return &ConnID{c}, nil
}

// Context is the device that the connection goes over: after CMAddrResolved, or of a
// request. It is not the caller's to close; nil before.
//
//	struct rdma_cm_id { struct ibv_context *verbs; … }
func (i *ConnID) Context() *Context {
	if i.c == nil || i.c.verbs == nil {
		return nil
	}
	return &Context{c: i.c.verbs, borrowed: true}
}

// Port is the listener's or the connection's own port number.
//
//	__be16 rdma_get_src_port(struct rdma_cm_id *id)
func (i *ConnID) Port() uint16 {
	if i.c == nil {
		return 0
	}
	port := C.rdma_get_src_port(i.c)
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:]) // Unsafe rule 1: the same 2 bytes
}

// sockaddr is room for an address of either family, without Go pointers.
type sockaddr C.struct_sockaddr_in6

func (s *sockaddr) set(a netip.AddrPort) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		// Unsafe rule 1: a sockaddr_in6 is larger than a sockaddr_in, and as aligned.
		in := (*C.struct_sockaddr_in)(unsafe.Pointer(s))
		in.sin_family = C.AF_INET
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&in.sin_port))[:], a.Port())
		*(*[4]byte)(unsafe.Pointer(&in.sin_addr)) = ip.As4()
		return
	}
	s.sin6_family = C.AF_INET6
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.sin6_port))[:], a.Port())
	*(*[16]byte)(unsafe.Pointer(&s.sin6_addr)) = a.Addr().As16()
}

func (s *sockaddr) c() *C.struct_sockaddr { return (*C.struct_sockaddr)(unsafe.Pointer(s)) }

// BindAddr binds to a local address; port 0 lets the kernel choose.
//
//	int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
func (i *ConnID) BindAddr(local netip.AddrPort) error {
	if i.c == nil {
		return closedError("rdma_bind_addr")
	}
	var s sockaddr
	s.set(local)
	result, err := C.rdma_bind_addr(i.c, s.c())
	return verbError("rdma_bind_addr", result, err)
}

// Listen lets requests come in, as CMConnectRequest.
//
//	int rdma_listen(struct rdma_cm_id *id, int backlog)
func (i *ConnID) Listen(backlog int) error {
	if i.c == nil {
		return closedError("rdma_listen")
	}
	result, err := C.rdma_listen(i.c, C.int(backlog))
	return verbError("rdma_listen", result, err)
}

// ResolveAddr finds the device towards an address; CMAddrResolved tells.
//
//	int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *src_addr, struct sockaddr *dst_addr,
//	                      int timeout_ms)
func (i *ConnID) ResolveAddr(remote netip.AddrPort, timeout time.Duration) error {
	if i.c == nil {
		return closedError("rdma_resolve_addr")
	}
	var s sockaddr
	s.set(remote)
	result, err := C.rdma_resolve_addr(i.c, nil, s.c(), C.int(timeout.Milliseconds()))
	return verbError("rdma_resolve_addr", result, err)
}

// ResolveRoute finds the path; CMRouteResolved tells.
//
//	int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
func (i *ConnID) ResolveRoute(timeout time.Duration) error {
	if i.c == nil {
		return closedError("rdma_resolve_route")
	}
	result, err := C.rdma_resolve_route(i.c, C.int(timeout.Milliseconds()))
	return verbError("rdma_resolve_route", result, err)
}

// CreateQP makes the connection's queue pair, in state INIT. Connect and Accept move it
// on. Its Close is to come before the ConnID's.
//
//	int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *qp_init_attr)
func (i *ConnID) CreateQP(p *PD, attr QPInitAttr) (*QP, error) {
	if i.c == nil || p.c == nil || attr.SendCQ == nil || attr.RecvCQ == nil {
		return nil, closedError("rdma_create_qp")
	}
	a := attr.toC()
	result, err := C.rdma_create_qp(i.c, p.c, &a)
	if err := verbError("rdma_create_qp", result, err); err != nil {
		return nil, err
	}
	return &QP{c: i.c.qp, num: uint32(i.c.qp.qp_num), cap: capFromC(&a.cap), id: i}, nil
}

// ConnParam is what Connect and Accept tell the peer.
type ConnParam struct {
	PrivateData []byte // ≤ 56 bytes to connect, ≤ 196 to accept
	RetryCount  uint8  // 0 … 7; of Connect
	RNRRetry    uint8  // 0 … 6, 7 = no limit
	QPN         uint32 // of a queue pair that CreateQP did not make
}

// private is the C parameter without its data, and the data: apart, because C memory
// holds no Go pointer.
func (p *ConnParam) private(verb string) (C.struct_rdma_conn_param, unsafe.Pointer, error) {
	c := C.struct_rdma_conn_param{
		retry_count: C.uint8_t(p.RetryCount), rnr_retry_count: C.uint8_t(p.RNRRetry), qp_num: C.uint32_t(p.QPN),
		private_data_len: C.uint8_t(len(p.PrivateData)),
	}
	if len(p.PrivateData) > 255 {
		return c, nil, fmt.Errorf("%s: %d bytes of private data: %w", verb, len(p.PrivateData), syscall.EINVAL)
	}
	return c, unsafe.Pointer(unsafe.SliceData(p.PrivateData)), nil
}

// Connect asks the peer for a connection; CMEstablished or CMRejected tells.
//
//	int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *conn_param)
func (i *ConnID) Connect(p ConnParam) error {
	if i.c == nil {
		return closedError("rdma_connect")
	}
	c, data, err := p.private("rdma_connect")
	if err != nil {
		return err
	}
	result, errno := C.cfs_connect(i.c, &c, data)
	return verbError("rdma_connect", result, errno)
}

// Accept accepts a request; CMEstablished tells.
//
//	int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *conn_param)
func (i *ConnID) Accept(p ConnParam) error {
	if i.c == nil {
		return closedError("rdma_accept")
	}
	c, data, err := p.private("rdma_accept")
	if err != nil {
		return err
	}
	result, errno := C.cfs_accept(i.c, &c, data)
	return verbError("rdma_accept", result, errno)
}

// Reject refuses a request.
//
//	int rdma_reject(struct rdma_cm_id *id, const void *private_data, uint8_t private_data_len)
func (i *ConnID) Reject(data []byte) error {
	if i.c == nil {
		return closedError("rdma_reject")
	}
	if len(data) > 148 {
		return fmt.Errorf("rdma_reject: %d bytes of private data: %w", len(data), syscall.EINVAL)
	}
	result, err := C.rdma_reject(i.c, unsafe.Pointer(unsafe.SliceData(data)), C.uint8_t(len(data)))
	return verbError("rdma_reject", result, err)
}

// Disconnect ends the connection: the queue pair goes to ERR. CMDisconnected tells the
// peer, which answers with a Disconnect of its own; then it tells this end.
//
//	int rdma_disconnect(struct rdma_cm_id *id)
func (i *ConnID) Disconnect() error {
	if i.c == nil {
		return closedError("rdma_disconnect")
	}
	result, err := C.rdma_disconnect(i.c)
	return verbError("rdma_disconnect", result, err)
}

// Close destroys the id. It waits until its events are acknowledged.
//
//	int rdma_destroy_id(struct rdma_cm_id *id)
func (i *ConnID) Close() error {
	if i.c == nil {
		return closedError("rdma_destroy_id")
	}
	result, err := C.rdma_destroy_id(i.c)
	if err := verbError("rdma_destroy_id", result, err); err != nil {
		return err
	}
	i.c = nil
	return nil
}
