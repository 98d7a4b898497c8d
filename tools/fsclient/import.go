package fsclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// ImportOptions of an Import. ID is required: the same again goes on with an
// import that was cut off.
type ImportOptions struct {
	ID       string
	To       string         // directory at the node, made if absent; "" = "/"
	Parallel int            // workers; default 4
	Progress func(Progress) // about every 100 ms and at the end, by one goroutine
	// AckLog is called for each operation that the node has acknowledged, by one
	// goroutine at a time, before it counts in Progress. An error ends the import.
	AckLog func(Ack) error
}

// Ack is one acknowledged operation.
type Ack struct {
	Ref      wire.Ref
	Request  wire.RequestID
	Path     string
	Repeated bool
}

// Progress is what an import has done so far.
type Progress struct {
	Files    int64 `json:"files"` // found and sent
	Dirs     int64 `json:"dirs"`
	Symlinks int64 `json:"symlinks"`
	Links    int64 `json:"hard_links"`
	Bytes    int64 `json:"content_bytes"`

	Entries    int64   `json:"entries"`     // acknowledged by the node
	AckedBytes int64   `json:"acked_bytes"` // their content
	Repeated   int64   `json:"repeated"`    // of Entries: done before
	Unchanged  int64   `json:"unchanged"`   // operations with nothing to do
	Refused    int64   `json:"refused"`     // operations that the node answered with an errno
	Unreadable int64   `json:"unreadable"`  // files and directories left out
	Skipped    int64   `json:"skipped"`     // devices, sockets, fifos
	LinksSplit int64   `json:"links_split"` // hard links that became copies
	Reconnects int64   `json:"reconnects"`  // connections lost
	LastError  error   `json:"-"`           // why the last connection was lost
	Seconds    float64 `json:"seconds"`
}

// Report is how an import ended.
type Report struct {
	Progress
	Errors []string `json:"errors"` // the first of what was refused or unreadable
}

const (
	parallelDefault = 4
	errorsMax       = 20
	progressEvery   = 100 * time.Millisecond
)

// importer is one Import under way.
type importer struct {
	c     *Client
	o     ImportOptions
	root  string
	began time.Time

	mu     sync.Mutex
	report Report
	inodes map[fileID]struct{} // hard-linked files that some worker has sent
	ackErr error
	cancel context.CancelCauseFunc
}

type fileID struct{ dev, ino uint64 }

// Import copies a directory tree into the node: directories, files, symlinks,
// hard links, modes, owners, times and extended attributes where readable. It
// outlives a node that is killed and restarted: it tries again until ctx ends.
// The report is whole even when there is an error.
func (c *Client) Import(ctx context.Context, dir string, o ImportOptions) (Report, error) {
	if o.ID == "" {
		return Report{}, errors.New("import without an id")
	}
	to, err := namespace.Clean("/" + strings.Trim(o.To, "/"))
	if err != nil {
		return Report{}, fmt.Errorf("import to %q: %w", o.To, err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return Report{}, err
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &importer{c: c, o: o, root: dir, began: time.Now(), inodes: map[fileID]struct{}{}, cancel: cancel}
	reported := make(chan struct{})
	finished := make(chan struct{})
	go func() { // Ends when the import has.
		defer close(reported)
		im.tell(finished)
	}()
	if err = im.makeTarget(ctx, to); err == nil {
		err = im.work(ctx, names, strings.TrimRight(to, "/"))
	}
	close(finished)
	<-reported
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.ackErr != nil {
		err = im.ackErr
	}
	im.report.Seconds = time.Since(im.began).Seconds()
	return im.report, err
}

// makeTarget makes the directories of to.
func (im *importer) makeTarget(ctx context.Context, to string) error {
	l := im.lane(ctx)
	for i := 1; i <= len(to) && to != "/"; i++ {
		if i < len(to) && to[i] != '/' {
			continue
		}
		op := namespace.Operation{Op: engine.OpMkDir, Flags: namespace.FlagOverwrite, Path: to[:i], Mode: 0o755}
		op.Request = requestOf(im.o.ID, op.Path, 0)
		if err := l.Emit(&op); err != nil {
			break
		}
	}
	return l.Close()
}

// work lets the workers take top-level names until there are no more.
func (im *importer) work(ctx context.Context, names []os.DirEntry, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan string)
	go func() { // Ends when all names are taken, or with ctx.
		defer close(queue)
		for _, name := range names {
			select {
			case queue <- name.Name():
			case <-ctx.Done():
				return
			}
		}
	}()
	ended := make(chan error)
	for range im.o.Parallel {
		go func() { // Ends when the queue does, or with its lane.
			w := &walker{im: im, lane: im.lane(ctx), block: make([]byte, blockBytes)}
			var err error
			for name := range queue {
				if err = w.top(filepath.Join(im.root, name), to+"/"+name); err != nil {
					break
				}
			}
			ended <- errors.Join(w.lane.Close(), ctx.Err(), err)
		}()
	}
	var first error
	for range im.o.Parallel {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func (im *importer) lane(ctx context.Context) *lane {
	return newLane(ctx, &lane{c: im.c, retry: true, answer: im.answered, onRetry: func(err error) {
		im.count(func(r *Report) { r.Reconnects++; r.LastError = err })
	}})
}

func (im *importer) count(f func(*Report)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	f(&im.report)
}

// answered books one result.
func (im *importer) answered(op *namespace.Operation, r fsapi.Result) {
	im.mu.Lock()
	defer im.mu.Unlock()
	switch {
	case r.Errno != 0:
		im.report.Refused++
		im.note(outcomeOf(op, r).Err.Error())
		return
	case r.Ref == wire.Ref{}:
		im.report.Unchanged++
		return
	}
	if im.o.AckLog != nil && im.ackErr == nil {
		err := im.o.AckLog(Ack{Ref: r.Ref, Request: op.Request, Path: op.Path, Repeated: r.Repeated})
		if err != nil {
			im.ackErr = fmt.Errorf("log of acknowledgements: %w", err)
			im.cancel(im.ackErr)
		}
	}
	im.report.Entries++
	if r.Repeated {
		im.report.Repeated++
	}
	if op.Op == engine.OpWrite {
		im.report.AckedBytes += int64(op.Size)
	}
}

// note keeps the first texts of what went wrong. im.mu is held.
func (im *importer) note(text string) {
	if len(im.report.Errors) < errorsMax {
		im.report.Errors = append(im.report.Errors, text)
	}
}

func (im *importer) unreadable(err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.report.Unreadable++
	im.note(err.Error())
}

// split says whether another worker has sent this hard-linked file.
func (im *importer) split(id fileID) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	_, was := im.inodes[id]
	im.inodes[id] = struct{}{}
	return was
}

// tell calls Progress until finished, and once more.
func (im *importer) tell(finished <-chan struct{}) {
	if im.o.Progress == nil {
		return
	}
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-finished:
			last = true
		}
		im.mu.Lock()
		p := im.report.Progress
		im.mu.Unlock()
		p.Seconds = time.Since(im.began).Seconds()
		im.o.Progress(p)
	}
}

func idOf(info os.FileInfo) (st *syscall.Stat_t, id fileID) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &syscall.Stat_t{}, fileID{}
	}
	return st, fileID{uint64(st.Dev), st.Ino}
}
