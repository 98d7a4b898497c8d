package fsnode

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
)

// readCountMax bounds the requests that are not streams of operations.
const readCountMax = 16

// Handler serves package fsapi's requests below /v1/fs/.
func (n *Node) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/fs/ops", n.serveOps)
	mux.HandleFunc("GET /v1/fs/stat", n.reading(n.serveStat))
	mux.HandleFunc("GET /v1/fs/ls", n.reading(n.serveList))
	mux.HandleFunc("GET /v1/fs/cat", n.reading(n.serveCat))
	mux.HandleFunc("GET /v1/fs/sums", n.reading(n.serveSums))
	mux.HandleFunc("GET /v1/fs/xattrs", n.reading(n.serveXattrs))
	mux.HandleFunc("GET /v1/fs/digest", n.reading(n.serveDigest))
	mux.HandleFunc("GET /v1/fs/walk", n.reading(n.serveWalk))
	mux.HandleFunc("GET /v1/fs/decided", n.reading(n.serveDecided))
	return mux
}

// reading bounds the number of readers and turns their errors into answers, or,
// once an answer has begun, into a stream that visibly breaks off. An answer may wait
// for other readers and take its time, so the client learns at once that it will come.
func (n *Node) reading(serve func(*answer, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		select {
		case n.reads <- struct{}{}:
			defer func() { <-n.reads }()
		case <-r.Context().Done():
			return
		}
		a := &answer{ResponseWriter: w, rc: http.NewResponseController(w)}
		err := serve(a, r)
		switch {
		case err == nil:
		case a.begun:
			panic(http.ErrAbortHandler)
		default:
			status, e := errorOf(err)
			writeError(w, status, e)
		}
	}
}

// answer moves the write deadline along with what is written.
type answer struct {
	http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	if err := a.rc.SetWriteDeadline(time.Now().Add(writeMax)); err != nil {
		return 0, err
	}
	return a.ResponseWriter.Write(b)
}

func (a *answer) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a.Header().Set("Content-Type", "application/json")
	_, err = a.Write(append(b, '\n'))
	return err
}

// lines is an answer of JSON lines.
func (a *answer) lines(fill func(line func(any) error) error) error {
	a.Header().Set("Content-Type", "application/jsonl")
	out := bufio.NewWriterSize(a, bufferBytes)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := fill(encoder.Encode); err != nil {
		return err
	}
	return out.Flush()
}

func (n *Node) serveStat(a *answer, r *http.Request) error {
	path, err := n.pathOf(r)
	if err != nil {
		return err
	}
	attr, err := n.store.Stat(path)
	if err != nil {
		return err
	}
	return a.json(fsapi.StatOf(path, &attr))
}

func (n *Node) serveList(a *answer, r *http.Request) error {
	q := r.URL.Query()
	limit, err := number(q.Get("limit"), fsapi.ListLimit)
	if err != nil || limit < 1 {
		return fmt.Errorf("limit %q: %w", q.Get("limit"), errBadQuery)
	}
	count := int(min(limit, fsapi.ListLimit))
	after, err := base64.RawURLEncoding.DecodeString(q.Get("page"))
	if err != nil {
		return fmt.Errorf("page %q: %w: %w", q.Get("page"), errBadQuery, err)
	}
	path, err := n.pathOf(r)
	if err != nil {
		return err
	}
	out := fsapi.Listing{Schema: fsapi.Schema, Path: path}
	if out.Names, err = n.names(r.Context(), path, string(after), count, q.Get("attr") == "1"); err != nil {
		return err
	}
	if len(out.Names) == count {
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(out.Names[count-1].Name))
	}
	return a.json(out)
}

// names lists a directory, if asked for with inodes.
func (n *Node) names(ctx context.Context, path, after string, count int, attr bool) ([]fsapi.Name, error) {
	out := []fsapi.Name{}
	if attr {
		entries, err := n.store.Entries(ctx, path, after, count)
		for i := range entries {
			out = append(out, fsapi.EntryOf(&entries[i]))
		}
		return out, err
	}
	names, err := n.store.List(ctx, path, after, count)
	for i := range names {
		out = append(out, fsapi.NameOf(&names[i]))
	}
	return out, err
}

// pathOf is the path that a request asks for. If it wants what is current, the
// shard has caught up with its log; a standby has nothing that it could wait for, and
// refuses one who wants the writer.
func (n *Node) pathOf(r *http.Request) (string, error) {
	q := r.URL.Query()
	path := q.Get("path")
	if q.Get("current") != "1" {
		return path, nil
	}
	err := n.ready.wait(r.Context(), n.engine, namespace.ShardOf(path, n.store.Shards()))
	if errors.Is(err, engine.ErrStandby) && q.Get("writer") != "1" {
		err = nil
	}
	return path, err
}

func (n *Node) serveSums(a *answer, r *http.Request) error {
	block, err := number(r.URL.Query().Get("block"), 0)
	if err != nil {
		return fmt.Errorf("block %q: %w", r.URL.Query().Get("block"), errBadQuery)
	}
	path, err := n.pathOf(r)
	if err != nil {
		return err
	}
	sums, next, err := n.store.Sums(r.Context(), path, uint64(block), fsapi.SumsLimit)
	if err != nil {
		return err
	}
	out := fsapi.Sums{
		Schema: fsapi.Schema, Path: path, BlockBytes: namespace.SumBytes, Sums: make([]fsapi.Sum, len(sums)),
		Next: next,
	}
	for i := range sums {
		out.Sums[i] = fsapi.Sum{Block: sums[i].Block, Hash: hex.EncodeToString(sums[i].Hash[:])}
	}
	return a.json(out)
}

func (n *Node) serveXattrs(a *answer, r *http.Request) error {
	path, err := n.pathOf(r)
	if err != nil {
		return err
	}
	return a.lines(func(line func(any) error) error {
		return n.store.Xattrs(r.Context(), path, func(name string, value []byte) error {
			return line(fsapi.XattrOf(name, value))
		})
	})
}

func (n *Node) serveCat(a *answer, r *http.Request) error {
	q := r.URL.Query()
	offset, err := number(q.Get("offset"), 0)
	if err != nil {
		return fmt.Errorf("offset %q: %w", q.Get("offset"), errBadQuery)
	}
	length, err := number(q.Get("length"), math.MaxInt64)
	if err != nil {
		return fmt.Errorf("length %q: %w", q.Get("length"), errBadQuery)
	}
	a.Header().Set("Content-Type", "application/octet-stream")
	return n.store.Read(r.Context(), q.Get("path"), uint64(offset), length, a)
}

func (n *Node) serveDigest(a *answer, r *http.Request) error {
	t, err := n.store.DigestAll(r.Context())
	if err != nil {
		return err
	}
	return a.json(fsapi.Digest{
		Schema: fsapi.Schema, Hash: hex.EncodeToString(t.Hash[:]), Inodes: t.Inodes, Names: t.Names,
		Bytes: t.Bytes, Applied: t.Applied,
	})
}

func (n *Node) serveWalk(a *answer, r *http.Request) error {
	return a.lines(func(line func(any) error) error {
		return n.store.Walk(r.Context(), r.URL.Query().Get("path"), func(row *namespace.Row) error {
			return line(fsapi.WalkRowOf(row))
		})
	})
}

func (n *Node) serveDecided(a *answer, r *http.Request) error {
	after, err := number(r.URL.Query().Get("after"), 0)
	if err != nil {
		return fmt.Errorf("after %q: %w", r.URL.Query().Get("after"), errBadQuery)
	}
	return a.lines(func(line func(any) error) error {
		return n.store.Decided(r.Context(), uint64(after), func(d namespace.Decided) error {
			return line(fsapi.DecidedRowOf(&d))
		})
	})
}

var errBadQuery = errors.New("bad query")

// number parses a count that is not negative; text "" is otherwise.
func number(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err == nil && v < 0 {
		err = errBadQuery
	}
	return v, err
}

// errorOf says what went wrong and what to do about it.
func errorOf(err error) (status int, e fsapi.Error) {
	e.Text = err.Error()
	errno := namespace.Errno(err)
	if errno != 0 {
		e.Errno = unix.ErrnoName(errno)
	}
	switch {
	case errno == syscall.ENOENT:
		return http.StatusNotFound, withNext(e, "check the path with cfs fs ls")
	case errno == syscall.EISDIR, errno == syscall.ENOTDIR:
		return http.StatusBadRequest, withNext(e, "cfs fs stat tells what the path is")
	case errno == syscall.EINVAL:
		return http.StatusBadRequest, withNext(e, "a path begins with / and has no name . or .., as /dir/name")
	case errno != 0, errors.Is(err, errBadQuery):
		return http.StatusBadRequest, withNext(e, "fix the request")
	case errors.Is(err, engine.ErrStandby):
		e.Errno = unix.ErrnoName(fsapi.Elsewhere)
		return http.StatusConflict, withNext(e, elsewhereNext)
	case errors.Is(err, engine.ErrStopped):
		return http.StatusConflict, withNext(e, stoppedNext)
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrBusy):
		return http.StatusServiceUnavailable, withNext(e, laterNext)
	case errors.Is(err, engine.ErrClosed), errors.Is(err, namespace.ErrClosed):
		return http.StatusServiceUnavailable, withNext(e, "the node is stopping: try again when it is back")
	case errors.Is(err, store.ErrTorn), errors.Is(err, namespace.ErrMended):
		return http.StatusServiceUnavailable, withNext(e, tornNext)
	case errors.Is(err, namespace.ErrBroken):
		return http.StatusServiceUnavailable, withNext(e, "look at the node's log and disk, then restart it")
	}
	return http.StatusInternalServerError, withNext(e, "look at the node's log")
}

// tornNext is what to do about a shard that is being made equal to another site's.
const tornNext = "try again: the node mends this by itself, cfs admin replication status shows how far it is"

const elsewhereNext = "ask that site, or name its admin address with a further --admin ADDR"

const laterNext = "try again: cfs admin replication status names what is awaited"

// stoppedNext is what to do about a log that takes no more entries.
const stoppedNext = "cfs admin replication status names the log and why it stopped"

func withNext(e fsapi.Error, next string) fsapi.Error {
	e.Next = next
	return e
}

func writeError(w http.ResponseWriter, status int, e fsapi.Error) {
	b, err := json.Marshal(e)
	if err != nil { // Three strings: cannot be.
		b = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, string(b)+"\n")
}
