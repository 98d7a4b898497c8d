//go:build rdma && linux && cgo

package verbs

// #cgo LDFLAGS: -libverbs -lrdmacm
// #include <stdlib.h>
// #include "verbs.h"
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// verbError is the error of a verb that returns errno, or -1 and sets errno.
func verbError(verb string, result C.int, errno error) error {
	switch {
	case result == 0:
		return nil
	case result < -1:
		return fmt.Errorf("%s: %w", verb, syscall.Errno(-result))
	case result > 0:
		return fmt.Errorf("%s: %w", verb, syscall.Errno(result))
	}
	return pointerError(verb, errno)
}

// pointerError is the error of a verb that returned NULL, or -1, and should have set
// errno.
func pointerError(verb string, errno error) error {
	if errno == nil {
		errno = syscall.EINVAL
	}
	return fmt.Errorf("%s: %w", verb, errno)
}

// DeviceList is what GetDeviceList found.
type DeviceList struct {
	c     **C.struct_ibv_device
	count int
}

// GetDeviceList lists the devices; none is not an error. ENOSYS says that the kernel has
// no ib_uverbs.
//
//	struct ibv_device **ibv_get_device_list(int *num_devices)
func GetDeviceList() (*DeviceList, error) {
	var count C.int
	c, err := C.cfs_get_device_list(&count)
	if c == nil {
		return nil, pointerError("ibv_get_device_list", err)
	}
	return &DeviceList{c, int(count)}, nil
}

// Devices are valid until the list is closed. A Context that was opened before lives on.
func (l *DeviceList) Devices() []Device {
	if l.c == nil {
		return nil
	}
	var devices []Device
	for _, d := range unsafe.Slice(l.c, l.count) { // C memory: an array of count pointers
		devices = append(devices, Device{d})
	}
	return devices
}

// Close frees the list.
//
//	void ibv_free_device_list(struct ibv_device **list)
func (l *DeviceList) Close() error {
	if l.c == nil {
		return closedError("ibv_free_device_list")
	}
	C.ibv_free_device_list(l.c)
	l.c = nil
	return nil
}

// Device is an entry of a DeviceList.
type Device struct{ c *C.struct_ibv_device }

// Name is the kernel's: "rxe0".
//
//	const char *ibv_get_device_name(struct ibv_device *device)
func (d Device) Name() string { return C.GoString(C.ibv_get_device_name(d.c)) }

// GUID is the device's, in network byte order.
//
//	__be64 ibv_get_device_guid(struct ibv_device *device)
func (d Device) GUID() [8]byte {
	guid := C.ibv_get_device_guid(d.c)
	return *(*[8]byte)(unsafe.Pointer(&guid)) // Unsafe rule 1: the same 8 bytes
}

// IWARP says that the device speaks iWARP, which has no immediate data in writes.
func (d Device) IWARP() bool { return d.c.transport_type == C.IBV_TRANSPORT_IWARP }

// Open opens the device.
//
//	struct ibv_context *ibv_open_device(struct ibv_device *device)
func (d Device) Open() (*Context, error) {
	c, err := C.ibv_open_device(d.c)
	if c == nil {
		return nil, pointerError("ibv_open_device", err)
	}
	return &Context{c: c}, nil
}

// Context is an opened device.
type Context struct {
	c        *C.struct_ibv_context
	borrowed bool // from a ConnID, which closes it
}

// Close closes the device. Whatever was made from it must be closed before: the
// library does not check.
//
//	int ibv_close_device(struct ibv_context *context)
func (x *Context) Close() error {
	if x.c == nil || x.borrowed {
		return closedError("ibv_close_device")
	}
	if err := verbError("ibv_close_device", C.ibv_close_device(x.c), nil); err != nil {
		return err
	}
	x.c = nil
	return nil
}

// DeviceAttr are a device's limits.
type DeviceAttr struct {
	FirmwareVersion string
	VendorID        uint32
	VendorPartID    uint32
	MRSizeMax       uint64
	QPMax           int
	QPWRMax         int // entries of each queue of a QP
	SGEMax          int
	CQMax           int
	CQEMax          int
	MRMax           int
	PDMax           int
	PortCount       int
}

// QueryDevice asks for the limits.
//
//	int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *device_attr)
func (x *Context) QueryDevice() (DeviceAttr, error) {
	if x.c == nil {
		return DeviceAttr{}, closedError("ibv_query_device")
	}
	var a C.struct_ibv_device_attr
	if err := verbError("ibv_query_device", C.ibv_query_device(x.c, &a), nil); err != nil {
		return DeviceAttr{}, err
	}
	return DeviceAttr{
		FirmwareVersion: C.GoString(&a.fw_ver[0]), VendorID: uint32(a.vendor_id),
		VendorPartID: uint32(a.vendor_part_id),
		MRSizeMax:    uint64(a.max_mr_size), QPMax: int(a.max_qp), QPWRMax: int(a.max_qp_wr), SGEMax: int(a.max_sge),
		CQMax: int(a.max_cq), CQEMax: int(a.max_cqe), MRMax: int(a.max_mr), PDMax: int(a.max_pd),
		PortCount: int(a.phys_port_cnt),
	}, nil
}

// PortState is a port's; PortActive carries traffic.
type PortState uint8

const (
	PortDown   PortState = C.IBV_PORT_DOWN
	PortInit   PortState = C.IBV_PORT_INIT
	PortArmed  PortState = C.IBV_PORT_ARMED
	PortActive PortState = C.IBV_PORT_ACTIVE
)

// LinkLayer is what a port speaks below.
type LinkLayer uint8

const (
	LinkUnspecified LinkLayer = C.IBV_LINK_LAYER_UNSPECIFIED
	LinkInfiniBand  LinkLayer = C.IBV_LINK_LAYER_INFINIBAND
	LinkEthernet    LinkLayer = C.IBV_LINK_LAYER_ETHERNET
)

// MTU is a path's or port's, as a code.
type MTU uint8

const (
	MTU256  MTU = C.IBV_MTU_256
	MTU512  MTU = C.IBV_MTU_512
	MTU1024 MTU = C.IBV_MTU_1024
	MTU2048 MTU = C.IBV_MTU_2048
	MTU4096 MTU = C.IBV_MTU_4096
)

// Bytes is the size that the code means.
func (m MTU) Bytes() int { return 128 << m }

// PortAttr is a port's state.
type PortAttr struct {
	State           PortState
	LinkLayer       LinkLayer
	MTUMax          MTU
	MTUActive       MTU
	GIDCount        int // entries of the GID table, valid or not
	MessageBytesMax uint32
	LID             uint16
}

// QueryPort asks for the state of a port, from 1.
//
//	int ibv_query_port(struct ibv_context *context, uint8_t port_num, struct ibv_port_attr *port_attr)
func (x *Context) QueryPort(port uint8) (PortAttr, error) {
	if x.c == nil {
		return PortAttr{}, closedError("ibv_query_port")
	}
	var a C.struct_ibv_port_attr
	if err := verbError("ibv_query_port", C.cfs_query_port(x.c, C.uint8_t(port), &a), nil); err != nil {
		return PortAttr{}, err
	}
	return PortAttr{
		State: PortState(a.state), LinkLayer: LinkLayer(a.link_layer), MTUMax: MTU(a.max_mtu),
		MTUActive: MTU(a.active_mtu), GIDCount: int(a.gid_tbl_len), MessageBytesMax: uint32(a.max_msg_sz),
		LID: uint16(a.lid),
	}, nil
}

// GID is a port's global address.
type GID [16]byte

// GIDType is what packets from a GID look like.
type GIDType uint32

const (
	GIDInfiniBand GIDType = C.IBV_GID_TYPE_IB
	GIDRoCEv1     GIDType = C.IBV_GID_TYPE_ROCE_V1
	GIDRoCEv2     GIDType = C.IBV_GID_TYPE_ROCE_V2
)

// GIDEntry is one of a port's GID table.
type GIDEntry struct {
	GID       GID
	Type      GIDType
	Interface uint32 // index of the network interface; 0 = none
}

// QueryGIDEx asks for an entry of a port's GID table. ENODATA says that it is empty.
//
//	int ibv_query_gid_ex(struct ibv_context *context, uint32_t port_num, uint32_t gid_index,
//	                     struct ibv_gid_entry *entry, uint32_t flags)
func (x *Context) QueryGIDEx(port uint8, index int) (GIDEntry, error) {
	if x.c == nil {
		return GIDEntry{}, closedError("ibv_query_gid_ex")
	}
	var e C.struct_ibv_gid_entry
	result, err := C.cfs_query_gid_ex(x.c, C.uint32_t(port), C.uint32_t(index), &e)
	if err := verbError("ibv_query_gid_ex", result, err); err != nil {
		return GIDEntry{}, err
	}
	return GIDEntry{GID: GID(e.gid), Type: GIDType(e.gid_type), Interface: uint32(e.ndev_ifindex)}, nil
}
