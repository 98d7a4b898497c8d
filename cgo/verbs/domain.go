//go:build rdma && linux && cgo

package verbs

// #include "verbs.h"
import "C"

// PD is a protection domain.
type PD struct{ c *C.struct_ibv_pd }

// AllocPD makes a protection domain.
//
//	struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
func (x *Context) AllocPD() (*PD, error) {
	if x.c == nil {
		return nil, closedError("ibv_alloc_pd")
	}
	c, err := C.ibv_alloc_pd(x.c)
	if c == nil {
		return nil, pointerError("ibv_alloc_pd", err)
	}
	return &PD{c}, nil
}

// Close frees the domain; EBUSY while it has regions or queue pairs.
//
//	int ibv_dealloc_pd(struct ibv_pd *pd)
func (p *PD) Close() error {
	if p.c == nil {
		return closedError("ibv_dealloc_pd")
	}
	if err := verbError("ibv_dealloc_pd", C.ibv_dealloc_pd(p.c), nil); err != nil {
		return err
	}
	p.c = nil
	return nil
}

// Access is what a device may do with a region, or a peer through a queue pair.
type Access uint32

const (
	AccessLocalWrite  Access = C.IBV_ACCESS_LOCAL_WRITE
	AccessRemoteWrite Access = C.IBV_ACCESS_REMOTE_WRITE
	AccessRemoteRead  Access = C.IBV_ACCESS_REMOTE_READ
)

// MR is a registered memory region.
type MR struct {
	c          *C.struct_ibv_mr
	lkey, rkey uint32
}

// RegMR pins memory off the Go heap, and gives the device these rights. ENOMEM says
// that RLIMIT_MEMLOCK is exceeded, or memory.
//
//	struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
func (p *PD) RegMR(address uintptr, bytes int, access Access) (*MR, error) {
	if p.c == nil {
		return nil, closedError("ibv_reg_mr")
	}
	c, err := C.cfs_reg_mr(p.c, C.uintptr_t(address), C.size_t(bytes), C.int(access))
	if c == nil {
		return nil, pointerError("ibv_reg_mr", err)
	}
	return &MR{c, uint32(c.lkey), uint32(c.rkey)}, nil
}

// LKey is for SGEs.
func (m *MR) LKey() uint32 { return m.lkey }

// RKey is for the peer.
func (m *MR) RKey() uint32 { return m.rkey }

// Close unpins the region; its keys are worth nothing afterwards.
//
//	int ibv_dereg_mr(struct ibv_mr *mr)
func (m *MR) Close() error {
	if m.c == nil {
		return closedError("ibv_dereg_mr")
	}
	if err := verbError("ibv_dereg_mr", C.ibv_dereg_mr(m.c), nil); err != nil {
		return err
	}
	m.c = nil
	return nil
}
