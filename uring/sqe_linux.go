package uring

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SQE is one submission, as the kernel reads it. Ring.Next gives it out zeroed;
// exactly one of the operations below fills it, then flags may be added:
//
//	ring.Next().Write(user, fd, block, offset).Link()
//	ring.Next().Fsync(user+1, fd, true)
//
// user comes back in the completions. Data is off-heap and at most 2 GiB - 4 KiB.
type SQE struct {
	opcode  uint8
	flags   uint8
	ioprio  uint16
	fd      int32
	off     uint64
	addr    uint64
	len     uint32
	opFlags uint32
	user    uint64
	buffer  uint16 // registered buffer, or group of provided ones
	_       uint16
	_       uint32
	_       [2]uint64
}

func (s *SQE) set(op uint8, fd int, addr uint64, bytes uint32, off uint64) {
	s.opcode, s.fd, s.addr, s.len, s.off = op, int32(fd), addr, bytes, off
}

func (s *SQE) by(user uint64) *SQE {
	s.user = user
	return s
}

// size is len(b) as the kernel wants it; what a system call cannot move at once
// is a fault of the program.
func size(b []byte) uint32 {
	if len(b) > math.MaxInt32-4095 {
		panic(fmt.Sprintf("uring: %d bytes in one operation", len(b)))
	}
	return uint32(len(b))
}

func headerAddress(m *msghdr) uint64 {
	// Unsafe rule 2 (Pointer to uintptr, not back): headers lie in off-heap slots.
	return uint64(uintptr(unsafe.Pointer(m)))
}

func timeAddress(t *timespec) uint64 {
	// Unsafe rule 2, as in headerAddress.
	return uint64(uintptr(unsafe.Pointer(t)))
}

// Nop completes at once with 0.
func (s *SQE) Nop(user uint64) *SQE {
	s.prepNop()
	return s.by(user)
}

// Read reads into buf from the file at offset; Res is the bytes, 0 at the end.
// For what has no offsets (an eventfd, a pipe) it is 0.
func (s *SQE) Read(user uint64, fd int, buf []byte, offset int64) *SQE {
	s.prepRead(fd, address(buf), size(buf), uint64(offset))
	return s.by(user)
}

// Write writes data at offset. Res may be less than asked.
func (s *SQE) Write(user uint64, fd int, data []byte, offset int64) *SQE {
	s.prepWrite(fd, address(data), size(data), uint64(offset))
	return s.by(user)
}

// WriteFixed is Write out of registered buffer number buffer, which data lies in.
func (s *SQE) WriteFixed(user uint64, fd int, data []byte, offset int64, buffer int) *SQE {
	s.prepWriteFixed(fd, address(data), size(data), uint64(offset), uint16(buffer))
	return s.by(user)
}

// DSync makes a Write or WriteFixed complete when its data, and what is needed to
// find it again, is on the medium (RWF_DSYNC).
func (s *SQE) DSync() *SQE {
	s.opFlags |= unix.RWF_DSYNC
	return s
}

// Fsync flushes the file: with dataOnly as fdatasync does.
func (s *SQE) Fsync(user uint64, fd int, dataOnly bool) *SQE {
	var flags uint32
	if dataOnly {
		flags = fsyncDataSync
	}
	s.prepFsync(fd, flags)
	return s.by(user)
}

// Fallocate is fallocate(2).
func (s *SQE) Fallocate(user uint64, fd int, mode uint32, offset, bytes int64) *SQE {
	s.prepFallocate(fd, mode, uint64(offset), uint64(bytes))
	return s.by(user)
}

// Send sends data; flags as send(2), MSG_NOSIGNAL is added. Res may be less than
// asked, unless MSG_WAITALL is among them; with it only an error cuts it short.
func (s *SQE) Send(user uint64, fd int, data []byte, flags int) *SQE {
	s.prepSend(fd, address(data), size(data), uint32(flags)|unix.MSG_NOSIGNAL)
	return s.by(user)
}

// SendMsg sends what Slot.Gather put together, as Send does.
func (s *SQE) SendMsg(user uint64, fd int, slot *Slot, flags int) *SQE {
	s.prepSendMsg(fd, slot.message(), uint32(flags)|unix.MSG_NOSIGNAL)
	return s.by(user)
}

// SendZC sends without copying: data stays untouched until the notification. It
// asks the kernel to report whether it copied (6.2 and later; before, the kernel
// refuses with EINVAL: see Features).
func (s *SQE) SendZC(user uint64, fd int, data []byte, flags int) *SQE {
	s.set(opSendZC, fd, address(data), size(data), 0)
	s.opFlags, s.ioprio = uint32(flags)|unix.MSG_NOSIGNAL, sendZCReportUsage
	return s.by(user)
}

// SendZCFixed is SendZC out of registered buffer number buffer.
func (s *SQE) SendZCFixed(user uint64, fd int, data []byte, flags, buffer int) *SQE {
	s.SendZC(user, fd, data, flags)
	s.ioprio |= sendRecvFixedBuf
	s.buffer = uint16(buffer)
	return s
}

// SendMsgZC is SendZC of what Slot.Gather put together; the slot too is free at
// the notification.
func (s *SQE) SendMsgZC(user uint64, fd int, slot *Slot, flags int) *SQE {
	s.set(opSendMsgZC, fd, headerAddress(slot.message()), 1, 0)
	s.opFlags, s.ioprio = uint32(flags)|unix.MSG_NOSIGNAL, sendZCReportUsage
	return s.by(user)
}

// Recv receives into buf; Res is the bytes, 0 when the peer closed.
func (s *SQE) Recv(user uint64, fd int, buf []byte, flags int) *SQE {
	s.prepRecv(fd, address(buf), size(buf), uint32(flags))
	return s.by(user)
}

// RecvMultishot receives again and again into buffers of b, one completion each,
// or, with bundle, as many buffers per completion as the socket fills. bundle
// needs FeatureRecvBundle, and panics for an incremental buffer ring, see the
// package's rules.
func (s *SQE) RecvMultishot(user uint64, fd int, b *BufferRing, bundle bool) *SQE {
	s.prepRecvMultishot(fd)
	s.flags |= sqeBufferSelect
	s.buffer = b.group
	if bundle {
		if b.incremental {
			panic("uring: bundled receive with an incremental buffer ring")
		}
		s.ioprio |= sendRecvBundle
	}
	return s.by(user)
}

// Accept takes one connection; Res is its descriptor, close-on-exec and blocking.
func (s *SQE) Accept(user uint64, fd int) *SQE {
	s.prepAccept(fd)
	return s.by(user)
}

// AcceptMultishot takes one connection per completion.
func (s *SQE) AcceptMultishot(user uint64, fd int) *SQE {
	s.prepAcceptMultishot(fd)
	return s.by(user)
}

// Connect connects a socket of addr's family. IPv6 zones are not resolved.
func (s *SQE) Connect(user uint64, fd int, slot *Slot, addr netip.AddrPort) *SQE {
	length := slot.setAddr(addr)
	s.set(opConnect, fd, address(slot.addr), 0, uint64(length))
	return s.by(user)
}

// PollAdd completes once when one of events (unix.POLLIN, …) holds; Res is what
// does.
func (s *SQE) PollAdd(user uint64, fd int, events uint32) *SQE {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		events = bits.RotateLeft32(events, 16) // the kernel reads the halves as two
	}
	s.prepPollAdd(fd, events)
	return s.by(user)
}

// Timeout completes after d (monotonic); Completion.TimedOut says it fired.
func (s *SQE) Timeout(user uint64, slot *Slot, d time.Duration) *SQE {
	s.set(opTimeout, -1, timeAddress(slot.setTime(d)), 1, 0)
	return s.by(user)
}

// Cancel ends the operation that was given target as its user; that one answers
// with Canceled, or as it would have. Res is 0, or -ENOENT where there is none.
func (s *SQE) Cancel(user, target uint64) *SQE {
	s.prepCancel(target, 0)
	return s.by(user)
}

// CancelFD ends every operation on fd; Res is their number (kernel 5.19).
func (s *SQE) CancelFD(user uint64, fd int) *SQE {
	s.prepCancelFD(fd)
	return s.by(user)
}

// cancelEverything ends whatever the ring has (kernel 5.19).
func (s *SQE) cancelEverything(user uint64) *SQE {
	s.prepCancel(0, cancelAny|cancelAll)
	return s.by(user)
}

// Close closes a descriptor.
func (s *SQE) Close(user uint64, fd int) *SQE {
	s.prepClose(fd)
	return s.by(user)
}

// MsgRing posts a completion {target, res} to the ring whose descriptor is fd.
func (s *SQE) MsgRing(user uint64, fd int, target uint64, res int32) *SQE {
	s.prepMsgRing(fd, uint32(res), target)
	return s.by(user)
}

// Link starts the next submission only when this one succeeded in full; else it
// is canceled. A chain must be submitted together: see Ring.Space.
func (s *SQE) Link() *SQE {
	s.flags |= sqeLink
	return s
}

// HardLink starts the next submission when this one ended, even if it came up
// short; one that could not begin cancels the next on older kernels.
func (s *SQE) HardLink() *SQE {
	s.flags |= sqeHardLink
	return s
}

// FixedFile: fd is an index into the registered files.
func (s *SQE) FixedFile() *SQE {
	s.flags |= sqeFixedFile
	return s
}
