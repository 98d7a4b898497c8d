package uring

import "unsafe"

// What follows is part of the kernel's interface (include/uapi/linux/io_uring.h).

// Operations.
const (
	opNop         = 0
	opFsync       = 3
	opWriteFixed  = 5
	opPollAdd     = 6
	opSendMsg     = 9
	opTimeout     = 11
	opAccept      = 13
	opAsyncCancel = 14
	opConnect     = 16
	opFallocate   = 17
	opClose       = 19
	opRead        = 22
	opWrite       = 23
	opSend        = 26
	opRecv        = 27
	opMsgRing     = 40
	opSendZC      = 47
	opSendMsgZC   = 48
	opCount       = 64 // asked of the probe; more than we use
)

// Flags of io_uring_setup.
const (
	setupCQSize       = 1 << 3
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
)

// Features that io_uring_setup reports.
const (
	featSingleMmap   = 1 << 0
	featNoDrop       = 1 << 1
	featSubmitStable = 1 << 2
	featFastPoll     = 1 << 5
	featExtArg       = 1 << 8
	featRsrcTags     = 1 << 10

	// featRequired came at the latest with 5.13; 5.15 is the oldest long-term
	// kernel that has them all.
	featRequired = featSingleMmap | featNoDrop | featSubmitStable | featFastPoll | featExtArg | featRsrcTags
)

// Offsets for mmap, flags of io_uring_enter and of the submission ring.
const (
	mapRings = 0
	mapSQEs  = 0x10000000

	enterGetEvents      = 1 << 0
	enterExtArg         = 1 << 3
	enterRegisteredRing = 1 << 4

	sqOverflow = 1 << 1
	sqTaskrun  = 1 << 2
)

// Operations of io_uring_register.
const (
	registerBuffers     = 0
	unregisterBuffers   = 1
	registerFiles       = 2
	unregisterFiles     = 3
	registerFilesUpdate = 6
	registerProbe       = 8
	registerRingFDs     = 20
	unregisterRingFDs   = 21
	registerPbufRing    = 22
	unregisterPbufRing  = 23

	pbufRingInc = 2
)

// Flags of an SQE and of its operation.
const (
	sqeFixedFile    = 1 << 0
	sqeLink         = 1 << 2
	sqeHardLink     = 1 << 3
	sqeBufferSelect = 1 << 5

	fsyncDataSync = 1 << 0

	cancelAll = 1 << 0
	cancelFD  = 1 << 1
	cancelAny = 1 << 2

	sendRecvMultishot = 1 << 1
	sendRecvFixedBuf  = 1 << 2
	sendZCReportUsage = 1 << 3
	sendRecvBundle    = 1 << 4

	acceptMultishot = 1 << 0
)

// Flags of a CQE.
const (
	cqeBuffer     = 1 << 0
	cqeMore       = 1 << 1
	cqeNonEmpty   = 1 << 2
	cqeNotif      = 1 << 3
	cqeBufferMore = 1 << 4

	notifCopied = 1 << 31
)

type params struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// timespec is the kernel's __kernel_timespec, 64 bits wide everywhere.
type timespec struct{ seconds, nanoseconds int64 }

type eventsArg struct {
	sigmask     uint64
	sigmaskSize uint32
	_           uint32
	timespec    uint64
}

type iovec struct {
	base uint64
	len  uint64
}

type msghdr struct {
	name       uint64
	nameBytes  uint32
	_          uint32
	iov        uint64
	iovCount   uint64
	control    uint64
	controlLen uint64
	flags      int32
	_          uint32
}

// update serves REGISTER_RING_FDS and REGISTER_FILES_UPDATE.
type update struct {
	offset uint32
	_      uint32
	data   uint64
}

type bufferReg struct {
	ringAddr uint64
	entries  uint32
	group    uint16
	flags    uint16
	_        [3]uint64
}

// bufferEntry is one provided buffer. The first one's last 16 bits are the tail;
// they are stored together with its id, see BufferRing.Publish.
type bufferEntry struct {
	addr uint64
	len  uint32
	id   uint16
	_    uint16
}

// probeResult is what REGISTER_PROBE fills.
type probeResult struct {
	last, count uint8
	_           uint16
	_           [3]uint32
	ops         [opCount]struct {
		op, _ uint8
		flags uint16
		_     uint32
	}
}

// The kernel's sizes; a wrong one does not compile.
var (
	_ [64]byte  = [unsafe.Sizeof(SQE{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(Completion{})]byte{}
	_ [120]byte = [unsafe.Sizeof(params{})]byte{}
	_ [56]byte  = [unsafe.Sizeof(msghdr{})]byte{}
	_ [24]byte  = [unsafe.Sizeof(eventsArg{})]byte{}
	_ [40]byte  = [unsafe.Sizeof(bufferReg{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(bufferEntry{})]byte{}
)
