package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store"
)

const (
	chainMax    = 480 // characters of an error, paths and digests included
	phraseWords = 4   // so many words that occur twice are a repetition
)

var (
	segments = regexp.MustCompile(`: |; `)
	logged   = regexp.MustCompile(` level=(?:WARN|ERROR) msg=("(?:[^"\\\\]|\\\\.)*")`)
)

// chainFault says what is wrong with an error as a text; "" if nothing is.
func chainFault(text string) string {
	text = strings.TrimSpace(text)
	if n := utf8.RuneCountInString(text); n > chainMax && !strings.Contains(text, strings.Repeat("n", 500)) &&
		!strings.Contains(text, strings.Repeat("x", 500)) {
		return fmt.Sprintf("%d characters, at most %d", n, chainMax)
	}
	if strings.HasSuffix(text, ":") || strings.Contains(text, ": :") || strings.Contains(text, "%!") {
		return "a part is empty"
	}
	seen := make(map[string]bool)
	for _, part := range segments.Split(text, -1) {
		if part = strings.TrimSpace(part); len(part) > 3 && seen[part] {
			return "twice: " + part
		}
		seen[part] = true
	}
	clear(seen)
	words := strings.Fields(text)
	for i := range max(0, len(words)-phraseWords+1) {
		phrase := strings.Join(words[i:i+phraseWords], " ")
		if seen[phrase] && words[i] != "cfs" && words[max(0, i-1)] != "cfs" { // a command may be typed twice
			return "twice: " + phrase
		}
		seen[phrase] = true
	}
	return ""
}

// chainFaults are those of the errors with their next steps, and of the warnings of a log.
func chainFaults(output string) (faults []string) {
	add := func(text string) {
		if fault := chainFault(text); fault != "" {
			faults = append(faults, fault+": "+text)
		}
	}
	before := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		if next, ok := strings.CutPrefix(line, "next: "); ok && before != "" {
			add(before + " | " + next)
		}
		before = ""
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			add(text)
			before = text
		}
		if m := logged.FindStringSubmatch(line); m != nil {
			if text, err := strconv.Unquote(m[1]); err == nil {
				add(text)
			}
		}
	}
	return faults
}

// What a program meets that embeds an engine.
func TestLibraryErrorsSayThingsOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	ctx := t.Context()
	valid := func() engine.Options {
		return engine.Options{Cluster: "c", Site: "site-a", Dir: t.TempDir(), Store: store.NewMem(), Shards: 4}
	}
	e, err := engine.Open(ctx, valid())
	require.NoError(t, err)
	require.NoError(t, e.Close(ctx))
	entry := &engine.Entry{Op: engine.OpHost, Keys: [][]byte{[]byte("k")}}
	_, closed := e.Append(ctx, 0, entry, engine.Local)
	_, shard := e.Append(ctx, 9, entry, engine.Local)
	_, empty := e.Append(ctx, 0, &engine.Entry{Op: engine.OpHost}, engine.Local)
	_, level := e.Append(ctx, 0, entry, engine.Durable(9))
	for name, err := range map[string]error{"closed": closed, "shard": shard, "empty": empty, "level": level} {
		require.Error(t, err, name)
		require.Empty(t, chainFault(err.Error()), "%s: %v", name, err)
	}
	for name, change := range map[string]func(*engine.Options){
		"cluster":  func(o *engine.Options) { o.Cluster = "" },
		"site":     func(o *engine.Options) { o.Site = "\x00" },
		"dir":      func(o *engine.Options) { o.Dir = file },
		"shards":   func(o *engine.Options) { o.Shards = -1 },
		"store":    func(o *engine.Options) { o.Store = nil },
		"listen":   func(o *engine.Options) { o.Listen, o.Insecure = "nowhere:x", true },
		"insecure": func(o *engine.Options) { o.Listen = "127.0.0.1:0" },
		"io":       func(o *engine.Options) { o.IO = "fast" },
		"primary":  func(o *engine.Options) { o.Primary = "site-z" },
		"itself":   func(o *engine.Options) { o.Peers = []engine.Peer{{Site: "site-a", Addrs: []string{"h:1"}}} },
		"no addr":  func(o *engine.Options) { o.Peers = []engine.Peer{{Site: "site-b"}} },
		"segment":  func(o *engine.Options) { o.SegmentBytes = 1 },
	} {
		o := valid()
		change(&o)
		e, err := engine.Open(ctx, o)
		if err == nil {
			require.NoError(t, e.Close(ctx), name)
			continue
		}
		require.Empty(t, chainFault(err.Error()), "%s: %v", name, err)
	}
}

func TestChainFaultsAreFound(t *testing.T) {
	for text, fault := range map[string]bool{
		"open /a: permission denied":                                  false,
		"journal stopped: write: no space left on device":             false,
		"journal stopped: journal stopped: no space":                  true,
		"not everything was compared:":                                true,
		"no link: refused: no link":                                   true,
		"the disk of /a is full: write a: the disk of /a is full now": true,
		strings.Repeat("word", 200):                                   true,
	} {
		require.Equal(t, fault, chainFault(text) != "", text)
	}
	require.Len(t, chainFaults("error: a: look at the log\nnext: look at the log\n"), 1)
}

const faultsFile = "chain-faults"

// heardStderr is stderr of a script's process; a fault of its errors is written down.
func heardStderr() io.Writer {
	work := os.Getenv("WORK")
	if work == "" {
		return os.Stderr
	}
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return os.Stderr
	}
	return &heard{path: filepath.Join(work, faultsFile)}
}

// heard passes on to stderr.
type heard struct {
	path string
	text bytes.Buffer // since the last line of an error
}

func (h *heard) Write(b []byte) (int, error) {
	h.text.Write(b)
	if text := h.text.String(); strings.HasSuffix(text, "\n") {
		last := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
		if !strings.HasPrefix(text[last:], "error: ") {
			h.text.Reset()
			if faults := chainFaults(text); len(faults) > 0 {
				f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if err == nil {
					_, err = fmt.Fprintln(f, strings.Join(faults, "\n"))
					err = errors.Join(err, f.Close())
				}
				if err != nil {
					return 0, err
				}
			}
		}
	}
	return os.Stderr.Write(b)
}

// hearChains fails t for the faults of a script's processes.
func hearChains(t *testing.T, env *testscript.Env) error {
	env.Defer(func() {
		if faults, err := os.ReadFile(filepath.Join(env.WorkDir, faultsFile)); err == nil {
			t.Errorf("errors of %s:\n%s", filepath.Base(env.WorkDir), faults)
		}
	})
	return nil
}
