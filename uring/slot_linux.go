package uring

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	slotHeadBytes = 256 // message header, time and address
	slotTimeAt    = 64
	slotAddrAt    = 128
)

// Slot is the off-heap room of one operation for what the kernel reads besides
// payload: a message header with its gather list, a time, an address. Taken by
// Ring.Slot, kept until the operation's last completion, then given back.
type Slot struct {
	index int
	taken bool
	msg   *msghdr
	iov   []iovec
	time  *timespec
	addr  []byte
	begin int // iov[begin:end] is still to be sent
	end   int
}

// slots is the fixed slab behind a ring.
type slots struct {
	region *Region
	all    []Slot
	free   []int32
}

func openSlots(count, parts int) (*slots, error) {
	stride := slotHeadBytes + parts*int(unsafe.Sizeof(iovec{}))
	region, err := Map(count * stride)
	if err != nil {
		return nil, fmt.Errorf("operation slots: %w", err)
	}
	s := &slots{region: region, all: make([]Slot, count), free: make([]int32, 0, count)}
	for i := range s.all {
		base := uintptr(i * stride)
		s.all[i] = Slot{
			index: i,
			msg:   at[msghdr](region.Bytes(), base),
			time:  at[timespec](region.Bytes(), base+slotTimeAt),
			addr:  region.Bytes()[base+slotAddrAt : base+slotHeadBytes],
			iov:   array[iovec](region.Bytes(), base+slotHeadBytes, parts),
		}
		s.free = append(s.free, int32(count-1-i))
	}
	return s, nil
}

// Slot takes a free slot; nil when all are with operations in flight.
func (r *Ring) Slot() *Slot {
	n := len(r.slots.free)
	if n == 0 {
		return nil
	}
	s := &r.slots.all[r.slots.free[n-1]]
	r.slots.free = r.slots.free[:n-1]
	s.taken = true
	return s
}

// Release gives a slot back, after its operation's last completion. A second
// time is a fault of the program and panics.
func (r *Ring) Release(s *Slot) {
	if s != &r.slots.all[s.index] || !s.taken {
		panic(fmt.Sprintf("uring: slot %d released but not taken", s.index))
	}
	s.taken = false
	s.begin, s.end = 0, 0
	r.slots.free = append(r.slots.free, int32(s.index))
}

// Gather makes the slot's message out of the first parts and returns how many it
// took: all, or as many as Options.SlotParts. The parts are off-heap and stay
// untouched until the send's last completion; empty ones are skipped.
func (s *Slot) Gather(parts [][]byte) (taken int) {
	s.begin, s.end = 0, 0
	for _, part := range parts {
		if len(part) != 0 {
			if s.end == len(s.iov) {
				break
			}
			s.iov[s.end] = iovec{address(part), uint64(len(part))}
			s.end++
		}
		taken++
	}
	return taken
}

// Advance drops the first bytes of the message, which a short send took, and
// returns how many remain to be sent with the same slot.
func (s *Slot) Advance(bytes int) (left int) {
	for s.begin < s.end && bytes > 0 {
		first := &s.iov[s.begin]
		if uint64(bytes) < first.len {
			first.base += uint64(bytes)
			first.len -= uint64(bytes)
			break
		}
		bytes -= int(first.len)
		s.begin++
	}
	return s.Len()
}

// Len is how many bytes the message still has.
func (s *Slot) Len() (bytes int) {
	for _, v := range s.iov[s.begin:s.end] {
		bytes += int(v.len)
	}
	return bytes
}

// message fills the header for what is left of the gather list.
func (s *Slot) message() *msghdr {
	*s.msg = msghdr{}
	if s.begin < s.end {
		// Unsafe rule 2 (Pointer to uintptr, not back): the list is off the heap.
		s.msg.iov = uint64(uintptr(unsafe.Pointer(&s.iov[s.begin])))
		s.msg.iovCount = uint64(s.end - s.begin)
	}
	return s.msg
}

func (s *Slot) setTime(d time.Duration) *timespec {
	*s.time = toTimespec(d)
	return s.time
}

// setAddr writes the kernel's form of addr and returns its length.
func (s *Slot) setAddr(addr netip.AddrPort) (bytes int) {
	clear(s.addr)
	ip := addr.Addr()
	if ip.Is4() {
		binary.NativeEndian.PutUint16(s.addr, unix.AF_INET)
		binary.BigEndian.PutUint16(s.addr[2:], addr.Port())
		raw := ip.As4()
		copy(s.addr[4:], raw[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(s.addr, unix.AF_INET6)
	binary.BigEndian.PutUint16(s.addr[2:], addr.Port())
	raw := ip.As16()
	copy(s.addr[8:], raw[:])
	return unix.SizeofSockaddrInet6
}

func toTimespec(d time.Duration) timespec {
	d = max(d, 0)
	return timespec{int64(d / time.Second), int64(d % time.Second)}
}
