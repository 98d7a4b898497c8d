package engine_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/wire"
)

// threads is how many this process has.
func threads(t *testing.T) int {
	text, err := os.ReadFile("/proc/self/status")
	if os.IsNotExist(err) {
		t.Skip("skipped: this system does not tell how many threads a process has")
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Threads:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			require.NoError(t, err)
			return n
		}
	}
	t.Fatal("no line Threads")
	return 0
}

// openPort is a site that listens at TCP, and the address of its port.
func openPort(t *testing.T, io string) (b *site, addr string) {
	b = newSite(t, nil, "site-b", "site-a")
	b.options.Transport, b.options.IO, b.options.Listen, b.options.Peers[0].Addrs = nil, io, "127.0.0.1:0", nil
	b.start()
	return b, b.Addr()
}

// dialer is the site that replicates to it.
func dialer(t *testing.T, io, addr string) *site {
	a := newSite(t, nil, "site-a", "site-b")
	a.options.Transport, a.options.IO, a.options.Listen, a.options.Peers[0].Addrs = nil, io, "", []string{addr}
	return a.start()
}

func knock(t *testing.T, addr string, words []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write(words)
	require.NoError(t, err)
	return c
}

// TestSilentConnectionsKeepNoPeerOut: neither do they cost a thread each (I10).
func TestSilentConnectionsKeepNoPeerOut(t *testing.T) {
	for _, io := range []string{"auto", "portable"} {
		t.Run(io, func(t *testing.T) {
			b, addr := openPort(t, io)
			before := threads(t)
			for range 800 {
				knock(t, addr, nil)
			}
			require.LessOrEqual(t, threads(t), before+32, "the runtime's own may come and go")
			a := dialer(t, io, addr)
			a.put(0, "k", "v", engine.Applied(1))
			in := b.Status().Incoming
			require.GreaterOrEqual(t, in.Accepted, uint64(800))
			require.Positive(t, in.Evicted)
			require.Positive(t, in.Silent)
		})
	}
}

// TestRefusedPeerIsReadNoFurther: it sends a hello of another cluster, and then more than
// the sockets of both ends hold.
func TestRefusedPeerIsReadNoFurther(t *testing.T) {
	b, addr := openPort(t, "auto")
	hello := (&wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, Cluster: 1, Site: 2, Peer: 3, Term: 1, Counter: 1,
		Shards: 4, DigestKind: wire.DigestXXH3, ClusterName: "another", SiteName: "site-a", PeerName: "site-b",
	}).AppendTo(nil, 0)
	largest := wire.AppendBatchesEnvelope(nil, &wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 4, WireBytes: wire.FrameBytesMax - wire.EnvelopeBytes,
		PlainBytes: wire.FrameBytesMax - wire.EnvelopeBytes, Session: 1, Number: 1,
	})
	for range 20 {
		c := knock(t, addr, append(hello, largest...))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		for buffer := make([]byte, 4096); ; { // until it is sent away
			if _, err := c.Read(buffer); err != nil {
				require.False(t, os.IsTimeout(err))
				break
			}
		}
	}
	require.Equal(t, "refused", b.awaitEvent("refused").Kind)
	a := dialer(t, "auto", addr)
	a.put(0, "k", "v", engine.Applied(1))
}
