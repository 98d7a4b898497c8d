//go:build rdma && linux && cgo

package verbs

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// manager is an event channel whose events are taken one by one.
type manager struct {
	t       *testing.T
	channel *EventChannel
}

func openManager(t *testing.T) *manager {
	t.Helper()
	c, err := CreateEventChannel()
	if errors.Is(err, syscall.ENODEV) && os.Getenv("CFS_RDMA_MUST") == "" {
		t.Skipf("skipped: no rdma_ucm: %v", err)
	}
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(c.FD(), true))
	t.Cleanup(func() { require.NoError(t, c.Close()); require.ErrorIs(t, c.Close(), ErrClosed) })
	return &manager{t, c}
}

func (m *manager) id(cookie uintptr) *ConnID {
	m.t.Helper()
	i, err := m.channel.CreateID(cookie)
	require.NoError(m.t, err)
	return i
}

// expect takes the next event, which must be this one, and acknowledges it.
func (m *manager) expect(kind CMEventType, cookie uintptr) *CMEvent {
	m.t.Helper()
	readable(m.t, m.channel.FD())
	e, err := m.channel.GetCMEvent()
	require.NoError(m.t, err)
	require.Equal(m.t, kind, e.Type, "%s, status %d", e.Type, e.Status)
	require.Equal(m.t, cookie, e.Cookie)
	require.NoError(m.t, e.Ack())
	require.ErrorIs(m.t, e.Ack(), ErrClosed)
	return e
}

// half is a connection's end: what openEnd makes, but its queue pair is the id's.
func half(t *testing.T, p *port, i *ConnID) *end {
	t.Helper()
	p.context = i.Context()
	e := openEnd(t, p, limits{2 * entries, 0})
	require.NoError(t, e.qp.Close())
	var err error
	e.qp, err = i.CreateQP(e.pd, QPInitAttr{
		SendCQ: e.cq, RecvCQ: e.cq, Cap: QPCap{SendWRs: entries, RecvWRs: entries, SendSGEs: 2, RecvSGEs: 1},
	})
	require.NoError(t, err)
	return e
}

func TestConnectionIsSetUpWithPrivateDataAndEnded(t *testing.T) {
	p := openPort(t)
	address := netip.AddrFrom16(p.gid.GID).Unmap()
	there, here := openManager(t), openManager(t)
	listener := there.id(1)
	require.NoError(t, listener.BindAddr(netip.AddrPortFrom(address, 0)))
	require.NoError(t, listener.Listen(4))
	require.NotZero(t, listener.Port())

	dialed := here.id(2)
	require.Nil(t, dialed.Context())
	require.NoError(t, dialed.ResolveAddr(netip.AddrPortFrom(address, listener.Port()), time.Second))
	here.expect(CMAddrResolved, 2)
	require.ErrorIs(t, dialed.Context().Close(), ErrClosed, "it is the id's")
	require.NoError(t, dialed.ResolveRoute(time.Second))
	here.expect(CMRouteResolved, 2)
	first := *p
	a := half(t, &first, dialed)
	require.NoError(t, dialed.Connect(ConnParam{PrivateData: []byte("hello"), RetryCount: 3, RNRRetry: 0}))

	request := there.expect(CMConnectRequest, 1)
	require.Equal(t, "hello", strings.TrimRight(string(request.PrivateData), "\x00"))
	second := *p
	b := half(t, &second, request.Request)
	b.receives(1, 8)
	require.NoError(t, request.Request.Accept(ConnParam{PrivateData: []byte("welcome")}))
	welcome := here.expect(CMEstablished, 2)
	require.Equal(t, "welcome", strings.TrimRight(string(welcome.PrivateData), "\x00"))
	there.expect(CMEstablished, 1)

	copy(a.memory, "data")
	a.post(&SendWR{ID: 1, Opcode: WRSend, Flags: SendSignaled}, 4)
	b.ends(0, WCSuccess)
	a.ends(1, WCSuccess)
	require.Equal(t, "data", string(b.memory[:4]))

	require.NoError(t, dialed.Disconnect())
	there.expect(CMDisconnected, 1)
	require.NoError(t, request.Request.Disconnect())
	here.expect(CMDisconnected, 2)
	a.is(QPErr)
	b.is(QPErr)
	a.close()
	b.close()
	for _, i := range []*ConnID{dialed, request.Request, listener} {
		require.NoError(t, i.Close())
		require.ErrorIs(t, i.Close(), ErrClosed)
	}
}

func TestRequestCanBeRejected(t *testing.T) {
	p := openPort(t)
	address := netip.AddrFrom16(p.gid.GID).Unmap()
	there, here := openManager(t), openManager(t)
	listener, dialed := there.id(1), here.id(2)
	require.NoError(t, listener.BindAddr(netip.AddrPortFrom(address, 0)))
	require.NoError(t, listener.Listen(4))
	require.NoError(t, dialed.ResolveAddr(netip.AddrPortFrom(address, listener.Port()), time.Second))
	here.expect(CMAddrResolved, 2)
	require.NoError(t, dialed.ResolveRoute(time.Second))
	here.expect(CMRouteResolved, 2)
	mine := *p
	a := half(t, &mine, dialed)
	require.NoError(t, dialed.Connect(ConnParam{PrivateData: []byte("hello")}))
	request := there.expect(CMConnectRequest, 1)
	require.NoError(t, request.Request.Reject([]byte("full")))
	require.NoError(t, request.Request.Close())
	no := here.expect(CMRejected, 2)
	require.Equal(t, "full", strings.TrimRight(string(no.PrivateData), "\x00"))
	a.close()
	require.NoError(t, dialed.Close())
	require.NoError(t, listener.Close())
}

func TestNobodyAtAnAddressIsUnreachable(t *testing.T) {
	p := openPort(t)
	here := openManager(t)
	dialed := here.id(2)
	address := netip.AddrFrom16(p.gid.GID).Unmap()
	require.NoError(t, dialed.ResolveAddr(netip.AddrPortFrom(address, 1), time.Second))
	here.expect(CMAddrResolved, 2)
	require.NoError(t, dialed.ResolveRoute(time.Second))
	here.expect(CMRouteResolved, 2)
	mine := *p
	a := half(t, &mine, dialed)
	require.NoError(t, dialed.Connect(ConnParam{}))
	here.expect(CMRejected, 2)
	a.close()
	require.NoError(t, dialed.Close())
}
