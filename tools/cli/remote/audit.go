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

// get asks the node at addr for a path; the caller closes the body of the answer.
func get(ctx context.Context, addr, path string, query url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, nodeURL(addr, path, query), nil)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
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
		var end admin.AuditEnd
		if err := json.Unmarshal(lines.Bytes(), &end); err != nil || end.Kind != "audit-end" {
			return nil, fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, line.Schema, line.Kind, ErrAnswer)
		}
		if end.Error != "" {
			return &end, fmt.Errorf("admin %s: %w: %s", addr, ErrTrail, end.Error)
		}
		return &end, nil
	}
	return nil, fmt.Errorf("admin %s: %w: %w", addr, ErrTrail, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// AuditCheck has the node at addr check its audit trail.
func AuditCheck(ctx context.Context, addr string) (*engine.AuditReport, error) {
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
