//go:build rdma && linux && cgo

package rdma

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"github.com/claudefs/repl/cgo/verbs"
)

type systemDomain struct {
	device *systemDevice
	domain *verbs.PD

	mu       sync.Mutex
	children int
	closed   bool
}

func (d *systemDevice) OpenDomain() (Domain, error) {
	domain, err := d.context.AllocPD()
	if err != nil {
		return nil, d.wrap(err)
	}
	d.child(1)
	return &systemDomain{device: d, domain: domain}, nil
}

func (p *systemDomain) child(change int) {
	p.mu.Lock()
	p.children += change
	p.mu.Unlock()
}

func (p *systemDomain) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	if p.children > 0 {
		return fmt.Errorf("%s: domain: close: %d children: %w", p.device.caps.Device, p.children, ErrInUse)
	}
	p.closed = true
	p.device.child(-1)
	return p.device.wrap(p.domain.Close())
}

type systemRegion struct {
	domain  *systemDomain
	region  *verbs.MR
	address uintptr
	closed  bool // under domain.mu
}

func (p *systemDomain) Register(memory []byte, access Access) (Region, error) {
	if len(memory) == 0 {
		return nil, p.device.wrap(fmt.Errorf("register 0 bytes: %w", syscall.EINVAL))
	}
	var rights verbs.Access
	if access&LocalWrite != 0 {
		rights |= verbs.AccessLocalWrite
	}
	if access&RemoteWrite != 0 {
		rights |= verbs.AccessRemoteWrite
	}
	address := addressOf(memory)
	region, err := p.domain.RegMR(address, len(memory), rights)
	if err != nil {
		return nil, p.device.wrap(fmt.Errorf("register %d bytes: %w", len(memory), err))
	}
	p.child(1)
	return &systemRegion{domain: p, region: region, address: address}, nil
}

// addressOf is where b lies: off the Go heap, so that it stays there (Unsafe rule 2,
// Pointer to uintptr; it is never converted back).
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (r *systemRegion) LocalKey() uint32  { return r.region.LKey() }
func (r *systemRegion) RemoteKey() uint32 { return r.region.RKey() }
func (r *systemRegion) Address() uint64   { return uint64(r.address) }

func (r *systemRegion) Close() error {
	p := r.domain
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	p.children--
	return p.device.wrap(r.region.Close())
}
