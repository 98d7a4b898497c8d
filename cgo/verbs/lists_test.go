//go:build rdma && linux && cgo

package verbs

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func sendList(t *testing.T, entries, parts int) *SendList {
	t.Helper()
	l, err := NewSendList(entries, parts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func recvList(t *testing.T, entries, parts int) *RecvList {
	t.Helper()
	l, err := NewRecvList(entries, parts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func wcList(t *testing.T, entries int) *WCList {
	t.Helper()
	l, err := NewWCList(entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func TestSendIsInTheDescriptorAsItWasSet(t *testing.T) {
	l := sendList(t, 3, 2)
	require.Equal(t, 3, l.Len())
	require.Equal(t, 2, l.Parts())
	for i := range 3 {
		l.Set(i, &SendWR{
			ID: uint64(i) << 40, Opcode: WRRDMAWriteImm, Flags: SendSignaled | SendInline, Imm: 0x01020304,
			RemoteAddress: 0x1122334455667788, RKey: 0xaabbccdd,
		})
		l.Add(i, SGE{Address: 0x1000, Bytes: 10, LKey: 7})
		l.Add(i, SGE{Address: 0x2000, Bytes: 20, LKey: 8})
	}
	for i := range 3 {
		e := &l.entries[i]
		require.EqualValues(t, uint64(i)<<40, e.wr_id)
		require.EqualValues(t, 2, e.num_sge)
		require.EqualValues(t, WRRDMAWriteImm, e.opcode)
		require.EqualValues(t, SendSignaled|SendInline, e.send_flags)
		require.Equal(t, []byte{1, 2, 3, 4}, e.anon0[:], "in network byte order")
		remote := (*struct {
			address uint64
			key     uint32
		})(unsafe.Pointer(&e.wr)) // Unsafe rule 1: the union's member rdma
		require.EqualValues(t, 0x1122334455667788, remote.address)
		require.EqualValues(t, 0xaabbccdd, remote.key)
		parts := unsafe.Slice(e.sg_list, 2)
		require.EqualValues(t, 0x1000, parts[0].addr)
		require.EqualValues(t, 20, parts[1].length)
		require.EqualValues(t, 8, parts[1].lkey)
		if i < 2 {
			require.Same(t, &l.entries[i+1], e.next)
		} else {
			require.Nil(t, e.next)
		}
	}
	l.Set(1, &SendWR{ID: 5})
	require.Zero(t, l.entries[1].num_sge, "a second Set starts again")
	l.Add(1, SGE{})
	l.Add(1, SGE{})
	require.Panics(t, func() { l.Add(1, SGE{}) }, "no room, and not the next entry's")
}

func TestReceiveIsInTheDescriptorAsItWasSet(t *testing.T) {
	l := recvList(t, 2, 1)
	require.Equal(t, 2, l.Len())
	l.Set(0, 11)
	l.Set(1, 12)
	l.Add(1, SGE{Address: 0x3000, Bytes: 16, LKey: 9})
	require.EqualValues(t, 11, l.entries[0].wr_id)
	require.Zero(t, l.entries[0].num_sge)
	require.Same(t, &l.entries[1], l.entries[0].next)
	part := l.entries[1].sg_list
	require.EqualValues(t, 0x3000, part.addr)
	require.EqualValues(t, 16, part.length)
	require.EqualValues(t, 9, part.lkey)
	require.Panics(t, func() { l.Add(1, SGE{}) })
}

func TestCompletionIsReadAsTheDeviceWroteIt(t *testing.T) {
	l := wcList(t, 2)
	e := &l.entries[1]
	e.wr_id, e.status, e.vendor_err, e.byte_len, e.qp_num = 1<<60, 10, 3, 64<<10, 17
	e.opcode = 129
	e.wc_flags = 2
	e.anon0 = [4]byte{1, 2, 3, 4}
	require.Equal(t, WC{
		ID: 1 << 60, Status: WCRemoteAccessError, Opcode: WCRecvRDMAImm, VendorError: 3, Bytes: 64 << 10, WithImm: true,
		Imm: 0x01020304, QPN: 17,
	}, l.At(1))
	require.Equal(t, "remote access error", l.At(1).Status.String())
}

func TestListsAreFilledAndReadWithoutAllocation(t *testing.T) {
	sends, recvs, done := sendList(t, 4, 2), recvList(t, 4, 1), wcList(t, 4)
	var last WC
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range 4 {
			sends.Set(i, &SendWR{ID: uint64(i), Opcode: WRSend})
			sends.Add(i, SGE{Address: 1, Bytes: 2, LKey: 3})
			recvs.Set(i, uint64(i))
			recvs.Add(i, SGE{Address: 1, Bytes: 2, LKey: 3})
			last = done.At(i)
		}
	}))
	_ = last
}

func TestListsHaveAtLeastOneEntry(t *testing.T) {
	_, err := NewSendList(0, 1)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = NewSendList(1, 0)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = NewRecvList(0, 1)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = NewWCList(0)
	require.ErrorIs(t, err, syscall.EINVAL)
}

func TestHandleIsClosedOnce(t *testing.T) {
	sends, err := NewSendList(1, 1)
	require.NoError(t, err)
	recvs, err := NewRecvList(1, 1)
	require.NoError(t, err)
	done, err := NewWCList(1)
	require.NoError(t, err)
	for _, l := range []interface{ Close() error }{sends, recvs, done} {
		require.NoError(t, l.Close())
		require.ErrorIs(t, l.Close(), ErrClosed)
	}
	// The others, as they are after their Close.
	for _, h := range []interface{ Close() error }{
		&DeviceList{}, &Context{}, &PD{}, &MR{}, &CompChannel{}, &CQ{}, &QP{}, &EventChannel{}, &ConnID{},
	} {
		require.ErrorIs(t, h.Close(), ErrClosed, "%T", h)
	}
}

func TestClosedHandleRefusesEveryVerb(t *testing.T) {
	var (
		x       Context
		p       PD
		q       QP
		h       CompChannel
		queue   CQ
		events  EventChannel
		i       ConnID
		address netip.AddrPort
	)
	sends, recvs, done := sendList(t, 1, 1), recvList(t, 1, 1), wcList(t, 1)
	only := func(_ any, err error) error { return err }
	for n, err := range []error{
		only(x.QueryDevice()), only(x.QueryPort(1)), only(x.QueryGIDEx(1, 0)), only(x.AllocPD()),
		only(x.CreateCompChannel()), only(x.CreateCQ(1, 0, nil, 0)), only(x.GetAsyncEvent()),
		only(p.RegMR(4096, 1, 0)), only(p.CreateQP(QPInitAttr{})), only(h.GetCQEvent()), queue.ReqNotify(false),
		only(queue.Poll(done, 1)), q.Modify(&QPAttr{}, QPToErr), only(q.State()), only(q.PostSend(sends, 1)),
		only(q.PostRecv(recvs, 1)), only(events.GetCMEvent()), only(events.CreateID(0)), i.BindAddr(address),
		i.Listen(1), i.ResolveAddr(address, 0), i.ResolveRoute(0), only(i.CreateQP(&p, QPInitAttr{})),
		i.Connect(ConnParam{}), i.Accept(ConnParam{}), i.Reject(nil), i.Disconnect(), (&CMEvent{}).Ack(),
	} {
		require.ErrorIs(t, err, ErrClosed, "call %d", n)
	}
	require.Nil(t, i.Context())
	require.Zero(t, i.Port())
}

func TestErrorsNameTheVerbAndWrapTheErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{verbError("ibv_x", 22, nil), syscall.EINVAL},
		{verbError("ibv_x", -12, nil), syscall.ENOMEM},
		{verbError("ibv_x", -1, syscall.EBUSY), syscall.EBUSY},
		{verbError("ibv_x", -1, nil), syscall.EINVAL},
		{pointerError("ibv_x", syscall.ENODEV), syscall.ENODEV},
	} {
		require.ErrorIs(t, c.err, c.want)
		require.ErrorContains(t, c.err, "ibv_x: ")
	}
	require.NoError(t, verbError("ibv_x", 0, syscall.EBUSY), "errno of something before")
}

func TestAddressesAreTheKernelsForm(t *testing.T) {
	bytes := func(a string) []byte {
		var s sockaddr
		s.set(netip.MustParseAddrPort(a))
		return unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s))
	}
	require.Equal(t, []byte{2, 0, 0x25, 0x1c, 10, 9, 0, 1}, bytes("10.9.0.1:9500")[:8])
	require.Equal(t, []byte{2, 0, 0x25, 0x1c, 10, 9, 0, 1}, bytes("[::ffff:10.9.0.1]:9500")[:8])
	six := bytes("[2001:db8::7]:80")
	require.Equal(t, []byte{10, 0, 0, 80}, six[:4])
	require.Equal(t, []byte{0x20, 1, 0xd, 0xb8}, six[8:12])
	require.EqualValues(t, 7, six[23])
}

func TestPrivateDataHasALimit(t *testing.T) {
	p := ConnParam{PrivateData: make([]byte, 256)}
	_, _, err := p.private("rdma_connect")
	require.ErrorIs(t, err, syscall.EINVAL)
}

func TestMachineWithoutDevicesSaysSo(t *testing.T) {
	l, err := GetDeviceList()
	if err != nil {
		require.True(t, errors.Is(err, syscall.ENOSYS), "%v", err)
		require.ErrorContains(t, err, "ibv_get_device_list")
		return
	}
	for _, d := range l.Devices() {
		require.NotEmpty(t, d.Name())
	}
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), ErrClosed)
	require.Empty(t, l.Devices())
}

func TestMTUsHaveSizes(t *testing.T) {
	require.Equal(t, 256, MTU256.Bytes())
	require.Equal(t, 4096, MTU4096.Bytes())
}
