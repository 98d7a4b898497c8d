package powerloss

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/claudefs/repl/wire"
)

// level is what was promised of an entry.
type level byte

const (
	local   level = 'l' // its own journal is flushed
	durable level = 'd' // the other site's mirror as well
)

// promise is an acknowledgement that a client has.
type promise struct {
	level  level
	shard  wire.Shard
	inc    wire.Incarnation
	seq    wire.Seq
	writer uint32 // who appended
	number uint64 // its how-manieth entry
}

// floor is a position up to which a site's Store has a log durably: its journals
// need not keep that for it any more.
type floor struct {
	site string
	log  wire.LogID
	inc  wire.Incarnation
	seq  wire.Seq
}

// note is one line of the ledger: one of the two.
type note struct {
	*promise
	*floor
}

func (n note) append(b []byte) []byte {
	if p := n.promise; p != nil {
		return fmt.Appendf(b, "ack %c %d %s %d %d %d\n", p.level, p.shard, p.inc, p.seq, p.writer, p.number)
	}
	f := n.floor
	return fmt.Appendf(b, "floor %s %d %d %s %d\n", f.site, f.log.Site, f.log.Shard, f.inc, f.seq)
}

// ledger writes down, on a disk that loses nothing, what was promised. Many notes
// go with one flush. A promise counts from then on: before, its client may not
// have heard of it.
type ledger struct {
	file  *os.File
	watch func(lines int) error // called after each flush, before the notes' owners go on

	mu    sync.Mutex
	more  sync.Cond
	buf   []byte
	lines int // in file and buf
	kept  int // flushed and watched
	err   error
	over  bool
	ended chan struct{}
}

func openLedger(name string, watch func(lines int) error) (*ledger, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: f, watch: watch, ended: make(chan struct{})}
	l.more.L = &l.mu
	go l.keep()
	return l, nil
}

// write returns when the notes count.
func (l *ledger) write(notes ...note) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range notes {
		l.buf = n.append(l.buf)
	}
	l.lines += len(notes)
	mine := l.lines
	l.more.Broadcast()
	for l.kept < mine && l.err == nil && !l.over {
		l.more.Wait()
	}
	if l.kept < mine && l.err == nil {
		return os.ErrClosed
	}
	return l.err
}

// keep is the ledger's goroutine.
func (l *ledger) keep() {
	defer close(l.ended)
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	for {
		for len(l.buf) == 0 && !l.over {
			l.more.Wait()
		}
		if l.over {
			return
		}
		out, l.buf = l.buf, out[:0]
		lines := l.lines
		l.mu.Unlock()
		_, err := l.file.Write(out)
		if err == nil {
			err = l.file.Sync()
		}
		if err == nil {
			err = l.watch(lines)
		}
		l.mu.Lock()
		if l.err = err; err != nil {
			l.more.Broadcast()
			return
		}
		l.kept = lines
		l.more.Broadcast()
	}
}

func (l *ledger) close() error {
	l.mu.Lock()
	l.over = true
	l.more.Broadcast()
	l.mu.Unlock()
	<-l.ended
	return l.file.Close()
}

// readLedger reads the notes; a last line without its end is none.
func readLedger(r io.Reader) ([]note, error) {
	all, err := io.ReadAll(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	var notes []note
	for line := range bytes.Lines(all) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		n, err := parseNote(string(line))
		if err != nil {
			return nil, fmt.Errorf("ledger, line %d: %w", len(notes)+1, err)
		}
		notes = append(notes, n)
	}
	return notes, nil
}

// parseNote reads one line; a second way to write the same note is refused, so append
// decides.
func parseNote(line string) (note, error) {
	var inc string
	var n note
	var err error
	switch {
	case strings.HasPrefix(line, "ack "):
		p := &promise{}
		n.promise = p
		_, err = fmt.Sscanf(line, "ack %c %d %s %d %d %d\n", &p.level, &p.shard, &inc, &p.seq, &p.writer, &p.number)
		if err == nil {
			err = parseIncarnation(inc, &p.inc)
		}
	case strings.HasPrefix(line, "floor "):
		f := &floor{}
		n.floor = f
		_, err = fmt.Sscanf(line, "floor %s %d %d %s %d\n", &f.site, &f.log.Site, &f.log.Shard, &inc, &f.seq)
		if err == nil {
			err = parseIncarnation(inc, &f.inc)
		}
	default:
		err = fmt.Errorf("%q is neither an ack nor a floor", line)
	}
	switch {
	case err != nil:
		return note{}, err
	case string(n.append(nil)) != line:
		return note{}, fmt.Errorf("%q is not how a note is written", line)
	case n.promise != nil && n.promise.level != local && n.promise.level != durable:
		return note{}, fmt.Errorf("%q promises neither l nor d", line)
	case n.floor != nil && n.floor.site != source && n.floor.site != mirror:
		return note{}, fmt.Errorf("%q is of no site that there is", line)
	}
	return n, nil
}

func parseIncarnation(text string, inc *wire.Incarnation) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(inc) {
		return fmt.Errorf("%q is not an incarnation", text)
	}
	copy(inc[:], b)
	return nil
}
