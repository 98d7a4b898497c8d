package remote

import (
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

// Forget asks the node at addr what it costs to forget a peer, or has it forgotten.
// ErrRefused: the peer is not given up; ErrQuestion: the node has no such peer.
func Forget(ctx context.Context, addr, peer string, o engine.ForgetOptions) (*engine.ForgetReport, error) {
	var report engine.ForgetReport
	query := url.Values{"peer": {peer}, "gone": {strconv.FormatBool(o.Gone)}}
	err := ask(ctx, addr, question{change: !o.Only, path: admin.ForgetPath, query: query, kind: "forget"}, &report)
	return &report, err
}

// RemoveSite asks the node at addr what it costs to remove a living peer, or has it removed.
// Errors are those of Forget.
func RemoveSite(ctx context.Context, addr, peer string, o engine.RemoveOptions) (*engine.ForgetReport, error) {
	var report engine.ForgetReport
	query := url.Values{"remove": {peer}}
	err := ask(ctx, addr, question{change: !o.Only, path: admin.SitesPath, query: query, kind: "sites-remove"}, &report)
	return &report, err
}

// AddSite has the node at addr take a site in. ErrQuestion: name or addresses are wrong.
func AddSite(ctx context.Context, addr string, p engine.Peer) (*engine.AddReport, error) {
	var report engine.AddReport
	query := url.Values{"add": {p.Site}, "addr": p.Addrs}
	err := ask(ctx, addr, question{change: true, path: admin.SitesPath, query: query, kind: "sites-add"}, &report)
	return &report, err
}

// Sites lists the peers of the node at addr.
func Sites(ctx context.Context, addr string) (*engine.PeersReport, error) {
	var report engine.PeersReport
	err := ask(ctx, addr, question{change: false, path: admin.SitesPath, query: nil, kind: "sites"}, &report)
	return &report, err
}

// question is what is asked of a node, and the kind of the answer.
type question struct {
	change bool // else nothing is changed
	path   string
	query  url.Values
	kind   string
	work   time.Duration // how long the node may work before it answers
}

// ask asks, and decodes the answer into report.
func ask(ctx context.Context, addr string, q question, report any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout+q.work)
	defer cancel()
	method := http.MethodGet
	if q.change {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, nodeURL(addr, q.path, q.query), nil)
	if err != nil {
		return fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, cause(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusalOf(addr, method+" "+q.path, answer)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytesMax))
	var head struct {
		Schema int    `json:"schema"`
		Kind   string `json:"kind"`
	}
	if err == nil {
		err = json.Unmarshal(body, &head)
	}
	if err == nil {
		err = json.Unmarshal(body, report)
	}
	if err != nil {
		return fmt.Errorf("admin %s: %w: %w", addr, ErrAnswer, err)
	}
	if head.Schema != 1 || head.Kind != q.kind {
		return fmt.Errorf("admin %s: schema %d, kind %q: %w", addr, head.Schema, head.Kind, ErrAnswer)
	}
	return nil
}
