package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link/linktest"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests; a passing one needs a fraction.
const patience = time.Minute

// slow is a Store whose digests of shard 2 end with the question only.
type slow struct{ *store.Mem }

type slowView struct{ store.View }

func (s slow) View(ctx context.Context, shard wire.Shard) (store.View, error) {
	v, err := s.Mem.View(ctx, shard)
	if shard == 2 {
		v = slowView{v}
	}
	return v, err
}

func (slowView) Digest(ctx context.Context, _, _ []byte) (d [32]byte, err error) {
	<-ctx.Done()
	return d, ctx.Err()
}

// pairOf opens two sites whose link is live, and serves the first.
func pairOf(t *testing.T, s store.Store) *httptest.Server {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	net := linktest.NewMemory()
	site := func(name, peer string, s store.Store) *engine.Engine {
		e, err := engine.Open(ctx, engine.Options{
			Cluster: "test", Site: name, Dir: "/data", Shards: 4, SegmentBytes: 4 << 20, Primary: "site-a",
			Listen: name, Insecure: true, Transport: net, Peers: []engine.Peer{{Site: peer, Addrs: []string{peer}}},
			Store: s, FS: vfs.NewMem(vfs.MemOptions{}),
		})
		require.NoError(t, err)
		t.Cleanup(func() { e.Close(context.Background()) })
		return e
	}
	a := site("site-a", "site-b", s)
	site("site-b", "site-a", store.NewMem())
	entry := &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("key")}}
	_, err := a.Append(ctx, 0, entry, engine.Applied(1))
	require.NoError(t, err)
	server := httptest.NewServer(admin.Handler(a))
	t.Cleanup(server.Close)
	return server
}

// lines reads an answer up to the report; each line before it is told to progress.
func lines(t *testing.T, answer *http.Response, progress func(engine.VerifyProgress)) *engine.VerifyReport {
	t.Helper()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	for r := bufio.NewReader(answer.Body); ; {
		line, err := r.ReadBytes('\n')
		require.NoError(t, err)
		var p engine.VerifyProgress
		require.NoError(t, json.Unmarshal(line, &p))
		if p.Kind == "progress" {
			progress(p)
			continue
		}
		report := new(engine.VerifyReport)
		require.NoError(t, json.Unmarshal(line, report))
		return report
	}
}

func TestVerificationOutlivesItsBody(t *testing.T) {
	server := pairOf(t, slow{store.NewMem()})
	body, more := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+admin.VerifyPath, body)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	report := lines(t, answer, func(engine.VerifyProgress) { more.Close() })
	require.Equal(t, engine.VerifyInterrupted, report.Ended)
	require.Equal(t, engine.VerifyPartly, report.Result)
}

func TestVerificationOutOfTimeReportsItsPart(t *testing.T) {
	server := pairOf(t, slow{store.NewMem()})
	answer, err := http.Get(server.URL + admin.VerifyPath + "?timeout=1s")
	require.NoError(t, err)
	defer answer.Body.Close()
	report := lines(t, answer, func(engine.VerifyProgress) {})
	require.Equal(t, engine.VerifyTimeout, report.Ended)
	require.Equal(t, engine.VerifyPartly, report.Result)
	peer := report.Peers[0]
	require.Equal(t, "time ran out", peer.Reason)
	last := peer.NotCompared[len(peer.NotCompared)-1]
	require.Equal(t, 4, last.Shard+last.Count, "what was not reached is told")
	require.Equal(t, last.Shard, peer.ShardsCompared)

	var fault admin.Fault
	for _, bad := range []string{"timeout=soon", "timeout=-1s", "timeout=0s"} {
		require.Equal(t, http.StatusBadRequest, ask(t, open(t), "GET", admin.VerifyPath+"?"+bad, &fault), bad)
		require.Contains(t, fault.Error, "timeout is")
	}
}

func TestVerificationOfEqualSitesReportsThemEqual(t *testing.T) {
	server := pairOf(t, store.NewMem())
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		body, more := io.Pipe()
		request, err := http.NewRequest(method, server.URL+admin.VerifyPath+"?timeout=1m", nil)
		require.NoError(t, err)
		if method == http.MethodPost {
			request.Body = body
		}
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		report := lines(t, answer, func(engine.VerifyProgress) {})
		more.Close()
		answer.Body.Close()
		require.Equal(t, engine.VerifyEqual, report.Result)
		require.Empty(t, report.Ended)
	}
}

// The asker keeps the question open: a wrong one is answered all the same.
func TestWrongQuestionIsAnsweredBeforeItsBodyEnds(t *testing.T) {
	server := pairOf(t, store.NewMem())
	for bad, why := range map[string]string{
		"timeout=soon": "timeout is", "lo=9": "shards 9 to 3", "peer=site-x": "site-x",
	} {
		body, more := io.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+admin.VerifyPath+"?"+bad, body)
		require.NoError(t, err)
		defer context.AfterFunc(ctx, func() { more.Close() })()
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err, bad)
		require.NoError(t, ctx.Err(), bad)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, bad)
		var fault admin.Fault
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&fault), bad)
		require.Contains(t, fault.Error, why)
		answer.Body.Close()
		cancel()
	}
}
