package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
)

// Exit codes. Scripts rely on them: never reuse one.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitUnreachable = 4
	ExitPartly      = 5
	ExitDifference  = 10
	ExitThreshold   = 99
	ExitTimeout     = 124
)

// exitMeanings is what "cfs help exit-codes" prints.
var exitMeanings = []struct {
	code    int
	meaning string
}{
	{ExitDone, "done; also when it already was so"},
	{ExitFailed, "failed: the error says at what"},
	{ExitUsage, "usage: a flag or argument is wrong; nothing was done"},
	{ExitRefused, "refused: not allowed as things stand; nothing was done"},
	{ExitUnreachable, "unreachable: no node answered at that address"},
	{ExitPartly, "partly: some of it was done; the output says what was not"},
	{ExitDifference, "a comparison found a difference"},
	{ExitThreshold, "a benchmark missed its threshold"},
	{ExitTimeout, "what was waited for did not come in time"},
}

// Failure is an error as people meet it: what is wrong, and what to do next.
type Failure struct {
	Code int
	Err  error  // nil = the output has said it all
	Next string // a command or a decision; "" = the error says enough
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit code %d", f.Code)
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// usage is the failure of whoever typed the command.
func usage(next, format string, args ...any) error {
	return &Failure{Code: ExitUsage, Err: fmt.Errorf(format, args...), Next: next}
}

// failure gives err a code and a next step.
func failure(code int, err error, next string) error {
	return &Failure{Code: code, Err: err, Next: next}
}

// report prints err the way every verb does and returns its exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return ExitDone
	}
	f := classify(err)
	if f.Err == nil { // the output has said it
		return f.Code
	}
	text := "error: " + tty.Plain(oneLine(f.Error())) + "\n"
	if f.Next != "" {
		text += "next: " + tty.Plain(f.Next) + "\n"
	}
	fmt.Fprint(stderr, tty.Fit(stderr, text))
	return f.Code
}

// oneLine is an error of several, joined ones on one line, each of them once: who
// looks for "error:" sees all of it.
func oneLine(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

const unreachableNext = "start the node, or name its admin address with --admin ADDR or CFS_ADMIN"

const answerNext = "name the admin address of a node of this release with --admin ADDR or CFS_ADMIN"

// classify finds the failure in err, or makes one of it.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	switch {
	case errors.Is(err, remote.ErrUnreachable):
		return &Failure{Code: ExitUnreachable, Err: err, Next: unreachableNext}
	case errors.Is(err, remote.ErrAnswer):
		return &Failure{Code: ExitFailed, Err: err, Next: answerNext}
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Code: ExitTimeout, Err: err}
	case errors.Is(err, context.Canceled):
		return &Failure{Code: ExitFailed, Err: errors.New("interrupted")}
	}
	return &Failure{Code: ExitFailed, Err: err}
}
