package remote

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// recordBytesMax bounds a line of the audit trail.
const recordBytesMax = 1 << 20

// ErrTrail: the node could not read its audit trail to the end.
var ErrTrail = errors.New("audit trail not read to its end")

// checkTimeout is for a node that reads 256 files of 1 MiB before it answers.
const checkTimeout = 30 * time.Second

// errSilent: a node that accepted the connection says nothing.
var errSilent = errors.New("the node is silent")

// silence ends a context once nothing came for so long; heard begins the time again.
func silence(ctx context.Context, limit time.Duration) (_ context.Context, heard, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w for %v", errSilent, limit)) })
	return ctx, func() { timer.Reset(limit) }, func() { timer.Stop(); cancel(nil) }
}

// get asks the node at addr for a path; the caller closes the body of the answer.
func get(ctx context.Context, addr, path string, query url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, nodeURL(addr, path, query), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		if why := context.Cause(ctx); errors.Is(why, errSilent) {
			err = why
		}
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refusalOf(addr, "GET "+path, answer)
	}
	return answer, nil
}

// AuditTrail calls each with the records from since on of the node at addr, oldest first. It
// returns what the node says at the end of them; ErrTrail if that is missing, or if it
// is an error.
func AuditTrail(ctx context.Context, addr string, since time.Time,
	each func(*engine.AuditRecord) error) (*admin.AuditEnd, error) {
	ctx, heard, end := silence(ctx, answerTimeout)
	defer end()
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	answer, err := get(ctx, addr, admin.AuditTrailPath, query)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, recordBytesMax)
	for lines.Scan() {
		heard()
		var line struct {
			Schema int `json:"schema"`
			engine.AuditRecord
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
		}
		if line.Schema == 0 {
			if err := each(&line.AuditRecord); err != nil {
				return nil, err
			}
			continue
		}
		var last admin.AuditEnd
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil || last.Kind != "audit-end" {
			return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, line.Schema, line.Kind, ErrAnswer)
		}
		if last.Error != "" {
			return &last, fmt.Errorf("admin %s: %w: %s", addr, ErrTrail, last.Error)
		}
		return &last, nil
	}
	why := cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
	if silent := context.Cause(ctx); errors.Is(silent, errSilent) {
		why = silent
	}
	return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrTrail, why)
}

// AuditCheck has the node at addr check its audit trail.
func AuditCheck(ctx context.Context, addr string) (*engine.AuditReport, error) {
	ctx, _, end := silence(ctx, checkTimeout)
	defer end()
	answer, err := get(ctx, addr, admin.AuditCheckPath, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var report engine.AuditReport
	if err := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, answerBytesMax)).Decode(&report); err != nil {
		return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if report.Schema != 1 || report.Kind != "audit-check" {
		return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, report.Schema, report.Kind, ErrAnswer)
	}
	return &report, nil
}
