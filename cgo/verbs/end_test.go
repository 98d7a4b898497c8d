//go:build rdma && linux && cgo

package verbs

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	patience    = 60 * time.Second // for a completion that should come at once
	memoryBytes = 64 << 10
	entries     = 64
)

// port is a device's, that carries traffic.
type port struct {
	context *Context
	number  uint8
	attr    PortAttr
	gid     GIDEntry
	index   int
	limits  DeviceAttr
}

// openPort opens the first active port with a GID of RoCE v2 over IPv4, of the device
// that RXE_DEVICE names or any. Where there is none it skips, or fails where the
// machine is meant to have one (CFS_RDMA_MUST).
func openPort(t *testing.T) *port {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CFS_RDMA_MUST") != "" {
		missing = t.Fatalf
	}
	list, err := GetDeviceList()
	if err != nil {
		missing("skipped: no RDMA device: %v", err)
	}
	defer func() { require.NoError(t, list.Close()) }()
	for _, d := range list.Devices() {
		if want := os.Getenv("RXE_DEVICE"); want != "" && want != d.Name() {
			continue
		}
		x, err := d.Open()
		require.NoError(t, err)
		if p := activePort(t, x); p != nil {
			t.Cleanup(func() { require.NoError(t, x.Close()); require.ErrorIs(t, x.Close(), ErrClosed) })
			return p
		}
		require.NoError(t, x.Close())
	}
	missing("skipped: none of %d RDMA devices has an active port with a GID of RoCE v2 over IPv4", len(list.Devices()))
	return nil
}

func activePort(t *testing.T, x *Context) *port {
	t.Helper()
	limits, err := x.QueryDevice()
	require.NoError(t, err)
	for number := uint8(1); int(number) <= limits.PortCount; number++ {
		attr, err := x.QueryPort(number)
		require.NoError(t, err)
		if attr.State != PortActive {
			continue
		}
		for index := range attr.GIDCount {
			gid, err := x.QueryGIDEx(number, index)
			if err == nil && gid.Type == GIDRoCEv2 && gid.GID[10] == 0xff && gid.GID[11] == 0xff {
				return &port{x, number, attr, gid, index, limits}
			}
		}
	}
	return nil
}

// end is one end of a connection, with all that it takes.
type end struct {
	t       *testing.T
	port    *port
	pd      *PD
	channel *CompChannel
	cq      *CQ
	qp      *QP
	mr      *MR
	memory  []byte
	sends   *SendList
	recvs   *RecvList
	done    *WCList
	taken   []WC
}

// limits are what tests vary.
type limits struct {
	cqEntries int
	rnrRetry  uint8
}

func openEnd(t *testing.T, p *port, l limits) *end {
	t.Helper()
	e := &end{t: t, port: p}
	var err error
	e.pd, err = p.context.AllocPD()
	require.NoError(t, err)
	e.channel, err = p.context.CreateCompChannel()
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(e.channel.FD(), true))
	e.cq, err = p.context.CreateCQ(l.cqEntries, 77, e.channel, 0)
	require.NoError(t, err)
	e.memory, err = unix.Mmap(-1, 0, memoryBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	require.NoError(t, err)
	e.mr, err = e.pd.RegMR(e.address(0), memoryBytes, AccessLocalWrite|AccessRemoteWrite)
	require.NoError(t, err)
	e.qp, err = e.pd.CreateQP(QPInitAttr{
		SendCQ: e.cq, RecvCQ: e.cq,
		Cap: QPCap{SendWRs: entries, RecvWRs: entries, SendSGEs: 2, RecvSGEs: 1, InlineBytes: 64},
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, e.qp.Cap().InlineBytes, 64)
	e.sends, err = NewSendList(entries, 2)
	require.NoError(t, err)
	e.recvs, err = NewRecvList(entries, 1)
	require.NoError(t, err)
	e.done, err = NewWCList(32)
	require.NoError(t, err)
	return e
}

// close closes all of it, children first, each once.
func (e *end) close() {
	e.t.Helper()
	for _, h := range []interface{ Close() error }{e.qp, e.mr, e.cq, e.channel, e.pd, e.sends, e.recvs, e.done} {
		require.NoError(e.t, h.Close(), "%T", h)
		require.ErrorIs(e.t, h.Close(), ErrClosed, "%T", h)
	}
	require.NoError(e.t, unix.Munmap(e.memory))
}

// connect moves the queue pair to RTS.
func (e *end) connect(to *end, rnrRetry uint8) {
	e.t.Helper()
	require.NoError(e.t, e.qp.Modify(&QPAttr{
		State: QPInit, Port: e.port.number, Access: AccessLocalWrite | AccessRemoteWrite,
	}, QPToInit))
	require.NoError(e.t, e.qp.Modify(&QPAttr{
		State: QPRTR, PathMTU: e.port.attr.MTUActive, DestQPN: to.qp.Num(), RQPSN: 1000, DestRDAtomicMax: 1,
		MinRNRTimer: 1,
		AV: AHAttr{
			Global: true, GID: to.port.gid.GID, GIDIndex: uint8(e.port.index), HopLimit: 1, Port: e.port.number,
		},
	}, QPToRTR))
	require.NoError(e.t, e.qp.Modify(&QPAttr{
		State: QPRTS, SQPSN: 1000, Timeout: 14, RetryCount: 3, RNRRetry: rnrRetry, RDAtomicMax: 1,
	}, QPToRTS))
	e.is(QPRTS)
}

// pair returns two ends, connected.
func pair(t *testing.T) (a, b *end) {
	t.Helper()
	return pairWith(t, openPort(t), limits{2 * entries, 0})
}

func pairWith(t *testing.T, p *port, l limits) (a, b *end) {
	t.Helper()
	a, b = openEnd(t, p, l), openEnd(t, p, l)
	t.Cleanup(func() { a.close(); b.close() })
	a.connect(b, l.rnrRetry)
	b.connect(a, l.rnrRetry)
	return a, b
}

// address is where the memory lies, which is off the Go heap.
func (e *end) address(at int) uintptr { return uintptr(unsafe.Pointer(&e.memory[at])) }

func (e *end) part(at, size int) SGE {
	return SGE{Address: e.address(at), Bytes: uint32(size), LKey: e.mr.LKey()}
}

// write is one into the peer's memory.
func write(to *end, id uint64, op WROpcode, flags SendFlags, at int) *SendWR {
	return &SendWR{
		ID: id, Opcode: op, Flags: flags, Imm: uint32(id) + 100, RemoteAddress: uint64(to.address(at)),
		RKey: to.mr.RKey(),
	}
}

// post queues one send of the bytes from the memory's start.
func (e *end) post(wr *SendWR, size int) {
	e.t.Helper()
	e.sends.Set(0, wr)
	e.sends.Add(0, e.part(0, size))
	n, err := e.qp.PostSend(e.sends, 1)
	require.NoError(e.t, err)
	require.Equal(e.t, 1, n)
}

// receives posts so many, of size bytes each.
func (e *end) receives(count, size int) {
	e.t.Helper()
	for i := range count {
		e.recvs.Set(i, uint64(i))
		if size > 0 {
			e.recvs.Add(i, e.part(i*size, size))
		}
	}
	n, err := e.qp.PostRecv(e.recvs, count)
	require.NoError(e.t, err)
	require.Equal(e.t, count, n)
}

func (e *end) next() WC {
	e.t.Helper()
	for until := time.Now().Add(patience); len(e.taken) == 0; runtime.Gosched() {
		n, err := e.cq.Poll(e.done, e.done.Len())
		require.NoError(e.t, err)
		for i := range n {
			e.taken = append(e.taken, e.done.At(i))
		}
		require.True(e.t, time.Now().Before(until), "no completion came")
	}
	w := e.taken[0]
	e.taken = e.taken[1:]
	return w
}

func (e *end) ends(id uint64, status WCStatus) WC {
	e.t.Helper()
	w := e.next()
	require.Equal(e.t, status, w.Status, "%s", w.Status)
	require.Equal(e.t, id, w.ID)
	require.Equal(e.t, e.qp.Num(), w.QPN)
	return w
}

// nothing asserts that no completion is there.
func (e *end) nothing() {
	e.t.Helper()
	n, err := e.cq.Poll(e.done, 1)
	require.NoError(e.t, err)
	require.Zero(e.t, n)
	require.Empty(e.t, e.taken)
}

func (e *end) is(want QPState) {
	e.t.Helper()
	state, err := e.qp.State()
	require.NoError(e.t, err)
	require.Equal(e.t, want, state)
}

// readable waits until a descriptor has something to read.
func readable(t *testing.T, fd int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience.Milliseconds()))
		if err == syscall.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "no event came")
		return
	}
}
