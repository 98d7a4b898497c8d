package remote

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// Mend has the node at addr make shards equal to those of another site, or with o.Only say
// what that would do; o.Progress is called as it goes on, by the caller's goroutine. It ends
// with ctx: the node finishes the shard whose change has begun. ErrRefused: it is not done;
// ErrQuestion: there is no such site or shard.
func Mend(ctx context.Context, addr string, o engine.MendOptions) (*engine.MendReport, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(firstLineMax, func() {
		cancel(fmt.Errorf("it said nothing within %s", firstLineMax))
	})
	defer silence.Stop()
	method := http.MethodPost
	if o.Only {
		method = http.MethodGet
	}
	q := url.Values{
		"from": {o.From}, "lo": {strconv.Itoa(o.Lo)}, "hi": {strconv.Itoa(o.Hi)}, "lose": {strconv.FormatBool(o.Lose)},
	}
	request, err := http.NewRequestWithContext(ctx, method, nodeURL(addr, admin.MendPath, q), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cmp.Or(context.Cause(ctx), cause(err)))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusalOf(addr, method+" "+admin.MendPath, answer)
	}
	lines := bufio.NewReader(io.LimitReader(answer.Body, answerBytesMax))
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("admin %s: the mending broke off: %w: %w", addr, ErrUnreachable,
				cmp.Or(context.Cause(ctx), err))
		}
		silence.Stop()
		report, err := mendLine(line, o.Progress)
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w", addr, err)
		}
		if report != nil {
			return report, nil
		}
	}
}

// mendLine reads a line of the answer: how far it is, the report, or why there is none.
func mendLine(line []byte, progress func(engine.MendProgress)) (*engine.MendReport, error) {
	var head struct{ Kind string }
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var (
		p      engine.MendProgress
		f      engine.MendFault
		report engine.MendReport
		to     = map[string]any{"progress": &p, "fault": &f, "mend": &report}[head.Kind]
	)
	if to == nil {
		return nil, fmt.Errorf("kind %q: %w", head.Kind, ErrAnswer)
	}
	if err := json.Unmarshal(line, to); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	switch head.Kind {
	case "progress":
		if progress != nil {
			progress(p)
		}
		return nil, nil
	case "fault":
		return nil, fmt.Errorf("%s: %w", f.Error, classOf(f.Status))
	}
	return &report, nil
}
