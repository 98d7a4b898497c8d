//go:build rdma && linux && cgo

package verbs

// #include "verbs.h"
import "C"

import "unsafe"

// EventType is what an AsyncEvent tells.
type EventType uint32

const (
	EventCQError        EventType = C.IBV_EVENT_CQ_ERR
	EventQPFatal        EventType = C.IBV_EVENT_QP_FATAL
	EventQPRequestError EventType = C.IBV_EVENT_QP_REQ_ERR
	EventQPAccessError  EventType = C.IBV_EVENT_QP_ACCESS_ERR
	EventCommEst        EventType = C.IBV_EVENT_COMM_EST
	EventSQDrained      EventType = C.IBV_EVENT_SQ_DRAINED
	EventPathMig        EventType = C.IBV_EVENT_PATH_MIG
	EventPathMigError   EventType = C.IBV_EVENT_PATH_MIG_ERR
	EventDeviceFatal    EventType = C.IBV_EVENT_DEVICE_FATAL
	EventPortActive     EventType = C.IBV_EVENT_PORT_ACTIVE
	EventPortError      EventType = C.IBV_EVENT_PORT_ERR
	EventLIDChange      EventType = C.IBV_EVENT_LID_CHANGE
	EventGIDChange      EventType = C.IBV_EVENT_GID_CHANGE
	EventLastWQEReached EventType = C.IBV_EVENT_QP_LAST_WQE_REACHED
)

// String is the library's own text.
//
//	const char *ibv_event_type_str(enum ibv_event_type event)
func (t EventType) String() string {
	return C.GoString(C.ibv_event_type_str(C.enum_ibv_event_type(t)))
}

// aboutQP says that an event names a queue pair.
func (t EventType) aboutQP() bool {
	switch t {
	case EventQPFatal, EventQPRequestError, EventQPAccessError, EventCommEst, EventSQDrained, EventPathMig,
		EventPathMigError, EventLastWQEReached:
		return true
	}
	return false
}

// AsyncEvent is one that GetAsyncEvent returned. What it is about is not destroyed
// before Ack.
type AsyncEvent struct {
	// First, where it lies at a multiple of 8: Go takes the union of pointers in it for
	// bytes, which it would put anywhere.
	c C.struct_ibv_async_event

	Type   EventType
	QPN    uint32  // of an event about a queue pair
	Cookie uintptr // CreateCQ's, of EventCQError
	Port   uint8   // of an event about a port
}

// AsyncFD is the descriptor that becomes readable with an asynchronous event. It is
// the context's.
//
//	struct ibv_context { … int async_fd; … }
func (x *Context) AsyncFD() int { return int(x.c.async_fd) }

// GetAsyncEvent takes the next event, and waits for it unless AsyncFD is non-blocking.
// Each one is to be acknowledged.
//
//	int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
func (x *Context) GetAsyncEvent() (AsyncEvent, error) {
	if x.c == nil {
		return AsyncEvent{}, closedError("ibv_get_async_event")
	}
	var e AsyncEvent
	result, err := C.ibv_get_async_event(x.c, &e.c)
	if err := verbError("ibv_get_async_event", result, err); err != nil {
		return AsyncEvent{}, err
	}
	e.Type = EventType(e.c.event_type)
	// The element is a union of C pointers and an int. Unsafe rule 1: its bytes, read
	// as the member that the type says.
	element := unsafe.Pointer(&e.c.element)
	switch {
	case e.Type.aboutQP():
		e.QPN = uint32((*(**C.struct_ibv_qp)(element)).qp_num)
	case e.Type == EventCQError:
		e.Cookie = uintptr((*(**C.struct_ibv_cq)(element)).cq_context)
	default:
		e.Port = uint8(*(*C.int)(element))
	}
	return e, nil
}

// Ack acknowledges the event, once.
//
//	void ibv_ack_async_event(struct ibv_async_event *event)
func (e *AsyncEvent) Ack() { C.ibv_ack_async_event(&e.c) }
