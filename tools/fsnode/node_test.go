package fsnode

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsclient"
)

// site is one node of a test with its HTTP server, which keeps its address over
// restarts.
type site struct {
	t      testing.TB
	o      Options
	addr   string
	node   *Node
	server *httptest.Server
	client *fsclient.Client
}

func (s *site) start() {
	s.t.Helper()
	node, err := Open(context.Background(), s.o)
	require.NoError(s.t, err)
	s.node = node
	s.o.Listen = node.Engine().Addr()
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", s.addr)
	require.NoError(s.t, err)
	s.addr = listener.Addr().String()
	s.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: node.Handler()}}
	s.server.Start()
	s.client = fsclient.New(s.addr)
}

func (s *site) stop() {
	s.t.Helper()
	s.client.Close()
	s.server.CloseClientConnections()
	s.server.Listener.Close()
	require.NoError(s.t, s.node.Close(context.Background()))
	s.node = nil
}

// alone starts a site without peers.
func alone(t testing.TB) *site {
	s := &site{t: t, o: Options{Cluster: "test", Site: "site-a", DataDir: filepath.Join(t.TempDir(), "a"), Shards: 16}}
	s.start()
	t.Cleanup(func() {
		if s.node != nil {
			s.stop()
		}
	})
	return s
}

// pair starts two sites that replicate; the first writes.
func pair(t testing.TB) (a, b *site) {
	dir := t.TempDir()
	b = &site{t: t, o: Options{
		Cluster: "test", Site: "site-b", DataDir: filepath.Join(dir, "b"), Shards: 16, Insecure: true,
		Listen: "127.0.0.1:0", Primary: "site-a", Peers: []engine.Peer{{Site: "site-a"}},
	}}
	b.start()
	a = &site{t: t, o: Options{
		Cluster: "test", Site: "site-a", DataDir: filepath.Join(dir, "a"), Shards: 16, Insecure: true,
		Listen: "127.0.0.1:0", Primary: "site-a", Peers: []engine.Peer{{Site: "site-b", Addrs: []string{b.o.Listen}}},
	}}
	a.start()
	t.Cleanup(func() {
		for _, s := range []*site{a, b} {
			if s.node != nil {
				s.stop()
			}
		}
	})
	return a, b
}
