package fsclient

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

// ImportOptions of an Import. ID is required: an import that was cut off repeats
// nothing that is still under way at the node when the same ID goes on with it.
type ImportOptions struct {
	ID       string
	To       string         // directory at the node that becomes DIR, made if absent; "" = "/"
	Delete   bool           // remove names below To that DIR has not got; not with To "/"
	Parallel int            // workers; default 4; one does where To is not "/"
	Progress func(Progress) // about every 100 ms and at the end, by one goroutine
	// AckLog is called for each operation that the node has acknowledged, by one
	// goroutine at a time, before it counts in Progress. An error ends the import.
	AckLog func(Ack) error
	// Problem is called with each thing that is left out, or is not as it was, by one
	// goroutine at a time; Report.Errors has the first ones.
	Problem func(text string)
	// SilenceMax is how long the node may leave an operation or a question without an
	// answer, over all connections, before the import ends with a *SilentError; 0 = no end.
	SilenceMax time.Duration
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
	Unreadable int64   `json:"unreadable"`  // files, directories and attributes left out
	Skipped    int64   `json:"skipped"`     // devices, sockets, fifos
	LinksSplit int64   `json:"links_split"` // hard links that became copies
	Reconnects int64   `json:"reconnects"`  // connections lost
	Seconds    float64 `json:"seconds"`

	Same         int64 `json:"names_unchanged"`    // the site had them as they are: nothing was sent
	Changed      int64 `json:"changed_while_read"` // files and directories: what the site has may mix old and new
	TimesLimited int64 `json:"times_limited"`      // times outside of 1677 to 2262: the site has the nearest
	Extra        int64 `json:"extra_names"`        // at the site, below To, and not in DIR

	LastError error `json:"-"` // why the last connection was lost
}

// Partly says whether what the site has differs from the tree, as reported.
func (p *Progress) Partly() bool { return p.Refused+p.Unreadable+p.Changed+p.TimesLimited > 0 }

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
	began time.Time

	mu      sync.Mutex
	report  Report
	silence silence
	inodes  map[fileID]string // hard-linked files: the first name of each
	ackErr  error
	cancel  context.CancelCauseFunc
}

// Import makes a directory of the node equal to a directory tree in all that the node
// keeps: names, content, hard links, symlinks, modes, owners, times and extended
// attributes, where readable; and sends only what differs. Names that only the node
// has stay, unless Delete is set. It outlives a node that is killed and restarted: it
// tries again until ctx ends. The report is whole even when there is an error.
func (c *Client) Import(ctx context.Context, dir string, o ImportOptions) (Report, error) {
	if o.ID == "" {
		return Report{}, errors.New("import without an id")
	}
	to, err := namespace.Clean("/" + strings.Trim(o.To, "/"))
	if err != nil {
		return Report{}, fmt.Errorf("import to %q: %w", o.To, err)
	}
	if to == "/" && o.Delete {
		return Report{}, errors.New("import to / with Delete: it would remove what other imports put there")
	}
	root, err := openRoot(dir)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &importer{c: c, o: o, began: time.Now(), inodes: map[fileID]string{}, cancel: cancel}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: im.here})
	parts, err := im.parts(root, to)
	if err != nil {
		return Report{}, err
	}
	reported := make(chan struct{})
	finished := make(chan struct{})
	go func() { // Ends when the import has.
		defer close(reported)
		im.watch(finished)
	}()
	c.started.Do(func() { c.Seek(ctx) }) // while the node is there: it may name the others
	if err = im.makeAbove(ctx, to); err == nil {
		err = im.work(ctx, parts)
	}
	if changed, statErr := root.changed(); to == "/" && (changed || statErr != nil) {
		im.problem(changedMeanwhile, fmt.Sprintf("%s: names came or went while it was read; import it again%s", dir,
			reason(statErr)))
	}
	close(finished)
	<-reported
	im.mu.Lock()
	defer im.mu.Unlock()
	switch cause := context.Cause(ctx); {
	case im.ackErr != nil:
		err = im.ackErr
	case err != nil && cause != nil:
		err = cause
	}
	im.report.Seconds = time.Since(im.began).Seconds()
	return im.report, err
}

// parts divides the tree: at the root of the node each name is in a shard of its own;
// below a directory all is in one.
func (im *importer) parts(root *folder, to string) ([]part, error) {
	if to != "/" {
		return []part{{root: root, to: to}}, nil
	}
	names, err := root.names()
	parts := make([]part, len(names))
	for i, name := range names {
		parts[i] = part{root: root, name: name, to: "/" + name}
	}
	return parts, err
}

// makeAbove makes the directories above to.
func (im *importer) makeAbove(ctx context.Context, to string) error {
	w := im.walker(ctx)
	w.begin()
	for i := 1; i < len(to); i++ {
		if to[i] != '/' {
			continue
		}
		op := namespace.Operation{Op: engine.OpMkDir, Flags: namespace.FlagOverwrite, Path: to[:i], Mode: 0o755}
		if err := w.emit(&item{to: op.Path, above: &item{}}, &op); err != nil {
			break
		}
	}
	err := w.lane.Close()
	im.refused(w.refused, w.refusals)
	return err
}

// work lets the workers take parts until there are no more.
func (im *importer) work(ctx context.Context, parts []part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan part)
	go func() { // Ends when all parts are taken, or with ctx.
		defer close(queue)
		for _, p := range parts {
			select {
			case queue <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	workers := min(im.o.Parallel, len(parts))
	ended := make(chan error)
	for range workers {
		go func() { // Ends when the queue does, or with its lane.
			w := im.walker(ctx)
			var err error
			for p := range queue {
				if err = w.walkPart(p); err != nil {
					break
				}
			}
			ended <- errors.Join(w.lane.Close(), ctx.Err(), err)
		}()
	}
	var first error
	for range workers {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func (im *importer) walker(ctx context.Context) *walker {
	w := &walker{im: im, ctx: ctx, block: make([]byte, blockBytes), attrs: make([]byte, xattrNamesBytes)}
	w.lane = newLane(ctx, &lane{c: im.c, retry: true, answer: w.answered, onRetry: im.lost})
	return w
}

// lost books a lost connection.
func (im *importer) lost(err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.report.Reconnects++
	im.report.LastError = err
	im.silence.here, im.silence.lost = false, err
}

func (im *importer) count(f func(*Report)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	f(&im.report)
}

// answered books one result that is not a refusal.
func (im *importer) answered(op *namespace.Operation, r fsapi.Result) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if r.Ref == (wire.Ref{}) {
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

// problem books what is left out or is not as it was.
func (im *importer) problem(counter func(*Report) *int64, text string) {
	im.mu.Lock()
	defer im.mu.Unlock()
	*counter(&im.report)++
	im.note(text)
}

// refused books the refusals of a part.
func (im *importer) refused(count int64, texts []string) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.report.Refused += count
	for _, text := range texts {
		im.note(text)
	}
	if more := count - int64(len(texts)); more > 0 {
		im.note(fmt.Sprintf("%d more operations were refused below the same name", more))
	}
}

// note reports a text and keeps the first ones. im.mu is held.
func (im *importer) note(text string) {
	if im.o.Problem != nil {
		im.o.Problem(text)
	}
	if len(im.report.Errors) < errorsMax {
		im.report.Errors = append(im.report.Errors, text)
	}
}

// split says whether this hard-linked file went to another name in another part.
func (im *importer) split(id fileID, to string) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	first, was := im.inodes[id]
	if !was {
		im.inodes[id] = to
	}
	return was && first != to
}

// watch calls Progress until finished, and once more; and ends an import whose node is
// silent for too long.
func (im *importer) watch(finished <-chan struct{}) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	before := im.began
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-finished:
			last = true
		}
		now := time.Now()
		im.mu.Lock()
		silent := im.silence.tick(now.Sub(before), im.o.SilenceMax)
		p := im.report.Progress
		im.mu.Unlock()
		before = now
		if silent != nil && !last {
			im.cancel(silent)
		}
		if p.Seconds = now.Sub(im.began).Seconds(); im.o.Progress != nil {
			im.o.Progress(p)
		}
	}
}
