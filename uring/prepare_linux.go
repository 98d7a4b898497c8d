//go:build !giouring

package uring

import "golang.org/x/sys/unix"

// These write the operations; under the tag giouring that library does. s is
// zeroed.

func (s *SQE) prepNop() { s.set(opNop, -1, 0, 0, 0) }

func (s *SQE) prepRead(fd int, addr uint64, bytes uint32, offset uint64) {
	s.set(opRead, fd, addr, bytes, offset)
}

func (s *SQE) prepWrite(fd int, addr uint64, bytes uint32, offset uint64) {
	s.set(opWrite, fd, addr, bytes, offset)
}

func (s *SQE) prepWriteFixed(fd int, addr uint64, bytes uint32, offset uint64, buffer uint16) {
	s.set(opWriteFixed, fd, addr, bytes, offset)
	s.buffer = buffer
}

func (s *SQE) prepFsync(fd int, flags uint32) {
	s.set(opFsync, fd, 0, 0, 0)
	s.opFlags = flags
}

func (s *SQE) prepFallocate(fd int, mode uint32, offset, bytes uint64) {
	s.set(opFallocate, fd, bytes, mode, offset)
}

func (s *SQE) prepSend(fd int, addr uint64, bytes, flags uint32) {
	s.set(opSend, fd, addr, bytes, 0)
	s.opFlags = flags
}

func (s *SQE) prepSendMsg(fd int, m *msghdr, flags uint32) {
	s.set(opSendMsg, fd, headerAddress(m), 1, 0)
	s.opFlags = flags
}

func (s *SQE) prepRecv(fd int, addr uint64, bytes, flags uint32) {
	s.set(opRecv, fd, addr, bytes, 0)
	s.opFlags = flags
}

func (s *SQE) prepRecvMultishot(fd int) {
	s.set(opRecv, fd, 0, 0, 0)
	s.ioprio = sendRecvMultishot
}

func (s *SQE) prepAccept(fd int) {
	s.set(opAccept, fd, 0, 0, 0)
	s.opFlags = unix.SOCK_CLOEXEC
}

func (s *SQE) prepAcceptMultishot(fd int) {
	s.prepAccept(fd)
	s.ioprio = acceptMultishot
}

func (s *SQE) prepPollAdd(fd int, events uint32) {
	s.set(opPollAdd, fd, 0, 0, 0)
	s.opFlags = events
}

func (s *SQE) prepCancel(target uint64, flags uint32) {
	s.set(opAsyncCancel, -1, target, 0, 0)
	s.opFlags = flags
}

func (s *SQE) prepCancelFD(fd int) {
	s.set(opAsyncCancel, fd, 0, 0, 0)
	s.opFlags = cancelFD | cancelAll
}

func (s *SQE) prepClose(fd int) { s.set(opClose, fd, 0, 0, 0) }

func (s *SQE) prepMsgRing(fd int, res uint32, user uint64) { s.set(opMsgRing, fd, 0, res, user) }
