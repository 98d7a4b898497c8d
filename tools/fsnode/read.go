package fsnode

import (
	"bufio"
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

	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
)

// readCountMax bounds the requests that are no streams of operations.
const readCountMax = 16

// Handler serves package fsapi's requests below /v1/fs/.
func (n *Node) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/fs/ops", n.serveOps)
	mux.HandleFunc("GET /v1/fs/stat", n.reading(n.serveStat))
	mux.HandleFunc("GET /v1/fs/ls", n.reading(n.serveList))
	mux.HandleFunc("GET /v1/fs/cat", n.reading(n.serveCat))
	mux.HandleFunc("GET /v1/fs/digest", n.reading(n.serveDigest))
	mux.HandleFunc("GET /v1/fs/walk", n.reading(n.serveWalk))
	mux.HandleFunc("GET /v1/fs/decided", n.reading(n.serveDecided))
	return mux
}

// reading bounds the number of readers and turns their errors into answers, or,
// once an answer has begun, into a stream that visibly breaks off. An answer may wait
// for other readers and take its time, so the client is told at once that it will come.
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
	path := r.URL.Query().Get("path")
	attr, err := n.store.Stat(path)
	if err != nil {
		return err
	}
	return a.json(fsapi.Stat{Schema: fsapi.Schema, Path: path, Type: attr.Type.String(), Attr: attr})
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
	names, err := n.store.List(r.Context(), q.Get("path"), string(after), count)
	if err != nil {
		return err
	}
	out := fsapi.Listing{Schema: fsapi.Schema, Path: q.Get("path"), Names: make([]fsapi.Name, len(names))}
	for i := range names {
		out.Names[i] = fsapi.NameOf(&names[i])
	}
	if len(names) == count {
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(names[count-1].Name))
	}
	return a.json(out)
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
		return http.StatusBadRequest, withNext(e, "write the path from / on, as /dir/name")
	case errno != 0, errors.Is(err, errBadQuery):
		return http.StatusBadRequest, withNext(e, "mend the request")
	case errors.Is(err, namespace.ErrClosed):
		return http.StatusServiceUnavailable, withNext(e, "the node is stopping: try again when it is back")
	case errors.Is(err, namespace.ErrBroken):
		return http.StatusServiceUnavailable, withNext(e, "look at the node's log and disk, then restart it")
	}
	return http.StatusInternalServerError, withNext(e, "look at the node's log")
}

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
