package fsclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// script is a node that answers as it is told: one turn per connection.
type script struct {
	t     *testing.T
	mu    sync.Mutex
	turns []turn
	done  map[wire.RequestID]uint64 // what it did, by request: the place in the log
	paths []string                  // in the order they were done
}

// turn is how one connection goes: so many results, then an end or a cut.
type turn struct {
	status int // other than 200: an error instead
	done   int // operations done; -1 = all
	told   int // of them, told; -1 = all
	cut    bool
	end    fsapi.Code
	text   string
}

func (s *script) start() *Client {
	s.done = map[wire.RequestID]uint64{}
	server := httptest.NewServer(s)
	s.t.Cleanup(server.Close)
	return New(strings.TrimPrefix(server.URL, "http://"))
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := turn{done: -1, told: -1}
	if len(s.turns) > 0 {
		next, s.turns = s.turns[0], s.turns[1:]
	}
	rc := http.NewResponseController(w)
	rc.EnableFullDuplex()
	if next.status != 0 {
		w.WriteHeader(next.status)
		json.NewEncoder(w).Encode(fsapi.Error{Text: "scripted", Next: "wait"})
		return
	}
	rc.Flush()
	in, room := bufio.NewReader(r.Body), make([]byte, fsapi.FrameBytesMax)
	for n := 0; n != next.done; n++ {
		var op namespace.Operation
		if _, err := fsapi.ReadOperation(in, room, &op); err != nil {
			break
		}
		seq, repeated := s.done[op.Request]
		if !repeated {
			s.paths = append(s.paths, op.Path)
			seq = uint64(len(s.paths))
			s.done[op.Request] = seq
		}
		if next.told < 0 || n < next.told {
			w.Write(fsapi.AppendResult(nil, &fsapi.Result{Repeated: repeated, Ref: wire.Ref{Seq: wire.Seq(seq)}}))
			rc.Flush()
		}
	}
	if next.cut {
		rc.Flush()
		rc.SetReadDeadline(time.Now()) // The server would read the body to its end first.
		panic(http.ErrAbortHandler)
	}
	w.Write(fsapi.AppendResult(nil, &fsapi.Result{End: true, Code: next.end, Text: next.text}))
	rc.Flush()
	io.Copy(io.Discard, r.Body)
}

// run sends count operations over a lane that retries.
func (s *script) run(ctx context.Context, count int) (seqs []wire.Seq, repeated, lost int, err error) {
	l := newLane(ctx, &lane{
		c: s.start(), retry: true,
		answer: func(_ *namespace.Operation, r fsapi.Result, _ bool) {
			seqs = append(seqs, r.Ref.Seq)
			if r.Repeated {
				repeated++
			}
		},
		onRetry: func(error) { lost++ },
	})
	for i := range count {
		path := fmt.Sprintf("/%d", i)
		op := namespace.Operation{Op: engine.OpMkDir, Path: path, Request: requestOf("test", 0, &item{to: path}, nil)}
		if err := l.Emit(&op); err != nil {
			break
		}
	}
	return seqs, repeated, lost, errors.Join(l.Drain(), l.Close())
}

// I2: whatever a connection took with it is sent again, in order, and done once.
func TestWhatALostConnectionLeftInDoubtIsSentAgain(t *testing.T) {
	s := &script{t: t, turns: []turn{
		{status: http.StatusServiceUnavailable},
		{done: 3, told: 3, cut: true},
		{done: 5, told: 2, cut: true},
		{done: 0, told: 0, end: fsapi.CodeRetry, text: "busy"},
		{done: 4, told: 0, cut: true},
	}}
	seqs, repeated, lost, err := s.run(t.Context(), 20)
	require.NoError(t, err)
	require.Equal(t, 5, lost)
	require.Len(t, seqs, 20)
	require.Len(t, s.paths, 20)
	for i := range seqs {
		require.EqualValues(t, i+1, seqs[i], "results are in order")
		require.Equal(t, fmt.Sprintf("/%d", i), s.paths[i])
	}
	require.NotZero(t, repeated)
}

func TestFinalEndIsNotRetried(t *testing.T) {
	s := &script{t: t, turns: []turn{{done: 2, told: 2, end: fsapi.CodeFinal, text: "site-b does not write"}}}
	seqs, _, lost, err := s.run(t.Context(), 9)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "site-b does not write")
	require.Len(t, seqs, 2)
	require.Zero(t, lost)

	for status, class := range map[int]error{
		http.StatusHTTPVersionNotSupported: ErrRefused, http.StatusNotFound: ErrAnswer,
	} {
		s = &script{t: t, turns: []turn{{status: status}}}
		_, _, lost, err = s.run(t.Context(), 1)
		require.ErrorIs(t, err, class)
		require.Zero(t, lost)
	}
}

func TestAnswersOfErrorsAreComparable(t *testing.T) {
	err := error(&AnswerError{Status: 404, Body: fsapi.Error{Text: "stat /x: gone", Errno: "ENOENT", Next: "look"}})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "stat /x: gone; look")
	require.ErrorIs(t, &AnswerError{Status: 500}, ErrRefused)
}

// A resumed import repeats nothing (I2), and one that sends something else, or the
// same after the site has changed, is not taken for it.
func TestRequestIDsNameWhatWasSeenAndSent(t *testing.T) {
	attr := func(inode namespace.Inode, ctime int64) *fsapi.Attr {
		return &fsapi.Attr{Attr: namespace.Attr{Inode: inode, Ctime: ctime}}
	}
	seen := map[wire.RequestID]bool{}
	for _, id := range []string{"a", "ab"} {
		for _, path := range []string{"/b", "b/b", "/c"} {
			for _, site := range []*fsapi.Attr{nil, attr(1, 1), attr(1, 2), attr(2, 1)} {
				for n := range uint32(3) {
					for _, frame := range []string{"", "x", "y"} {
						it := item{to: path, site: site, sent: n}
						r := requestOf(id, 0, &it, []byte(frame))
						require.False(t, seen[r])
						require.Equal(t, r, requestOf(id, 0, &it, []byte(frame)))
						require.NotEqual(t, r, requestOf(id, 1, &it, []byte(frame)))
						seen[r] = true
					}
				}
			}
		}
	}
}

// TestLaneOutlivesConnLostBeforeAnswer: a connection that is lost before the node has
// begun to answer, while the lane has nothing to add, is followed by the next one.
func TestLaneOutlivesConnLostBeforeAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan struct{}, 8)
	go func() { // Ends with the listener.
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096)) // the request's head is on its way
			conn.Close()
			accepted <- struct{}{}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	lane := newLane(ctx, &lane{c: New(l.Addr().String()), retry: true})
	require.NoError(t, lane.Emit(&namespace.Operation{Op: engine.OpMkDir, Path: "/a"}))
	for range 3 {
		<-accepted
	}
	cancel()
	require.ErrorIs(t, lane.Close(), context.Canceled)
}
