//go:build giouring

package uring

import (
	"syscall"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// These hand the operation to giouring's Prepare methods, where they are sound.
// They do not clear the submission, so it comes zeroed. What is missing here
// (timeouts, connect, zero-copy sends) Ring writes itself in both builds.

func (s *SQE) entry() *giouring.SubmissionQueueEntry {
	// Unsafe rule 1 (*T1 to *T2): both are the kernel's 64-byte submission.
	return (*giouring.SubmissionQueueEntry)(unsafe.Pointer(s))
}

func (s *SQE) prepNop() { s.entry().PrepareNop() }

func (s *SQE) prepRead(fd int, addr uint64, bytes uint32, offset uint64) {
	s.entry().PrepareRead(fd, uintptr(addr), bytes, offset)
}

func (s *SQE) prepWrite(fd int, addr uint64, bytes uint32, offset uint64) {
	s.entry().PrepareWrite(fd, uintptr(addr), bytes, offset)
}

func (s *SQE) prepWriteFixed(fd int, addr uint64, bytes uint32, offset uint64, buffer uint16) {
	s.entry().PrepareWriteFixed(fd, uintptr(addr), bytes, offset, int(buffer))
}

func (s *SQE) prepFsync(fd int, flags uint32) { s.entry().PrepareFsync(fd, flags) }

func (s *SQE) prepFallocate(fd int, mode uint32, offset, bytes uint64) {
	s.entry().PrepareFallocate(fd, int(mode), offset, bytes)
}

func (s *SQE) prepSend(fd int, addr uint64, bytes, flags uint32) {
	s.entry().PrepareSend(fd, uintptr(addr), bytes, int(flags))
}

func (s *SQE) prepSendMsg(fd int, m *msghdr, flags uint32) {
	// Unsafe rule 1: on 64-bit systems both are the kernel's struct msghdr; it and
	// what it points to lie off the heap.
	s.entry().PrepareSendMsg(fd, (*syscall.Msghdr)(unsafe.Pointer(m)), flags)
}

func (s *SQE) prepRecv(fd int, addr uint64, bytes, flags uint32) {
	s.entry().PrepareRecv(fd, uintptr(addr), bytes, int(flags))
}

func (s *SQE) prepRecvMultishot(fd int) { s.entry().PrepareRecvMultishot(fd, 0, 0, 0) }

func (s *SQE) prepAccept(fd int) { s.entry().PrepareAccept(fd, 0, 0, unix.SOCK_CLOEXEC) }

func (s *SQE) prepAcceptMultishot(fd int) {
	s.entry().PrepareMultishotAccept(fd, 0, 0, unix.SOCK_CLOEXEC)
}

func (s *SQE) prepPollAdd(fd int, events uint32) { s.entry().PreparePollAdd(fd, events) }

func (s *SQE) prepCancel(target uint64, flags uint32) {
	s.entry().PrepareCancel64(target, int(flags))
}

func (s *SQE) prepCancelFD(fd int) { s.entry().PrepareCancelFd(fd, cancelAll) }

func (s *SQE) prepClose(fd int) { s.entry().PrepareClose(fd) }

func (s *SQE) prepMsgRing(fd int, res uint32, user uint64) {
	s.entry().PrepareMsgRing(fd, res, user, 0)
}
