package fsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
)

// How a client comes to the site that writes: it asks every address that it knows who does, and
// goes where the hints of the highest epoch lead. An address that hints name is known from then
// on, so that one living site is enough to find the others.

// ErrElsewhere: the node does not write, another site does; the text names it.
var ErrElsewhere = fmt.Errorf("%w: another site writes", ErrRefused)

const (
	// hintsWait is how long a node may take to say who writes: one that hangs holds up nobody.
	hintsWait = 2 * time.Second
	// addrsMax bounds the addresses that hints add.
	addrsMax = 16
	// movesMax is how often one request goes to another address without a pause.
	movesMax = 4
	// hintsBytesMax bounds an answer.
	hintsBytesMax = 1 << 20
)

// hinted is what one address answered.
type hinted struct {
	addr  string
	hints engine.Hints
	err   error
}

// Seek goes to the site that writes, as far as any known address tells. known: its address is
// known, so that trying again is of use; moved: it is not the one that was asked last.
func (c *Client) Seek(ctx context.Context) (moved, known bool) {
	c.seeking.Lock()
	defer c.seeking.Unlock()
	before := c.Addr()
	asked := map[string]bool{}
	var answers []hinted
	for range 2 { // the second time, those that the first answers named
		addrs := slices.DeleteFunc(c.known(), func(addr string) bool { return asked[addr] })
		for _, addr := range addrs {
			asked[addr] = true
		}
		answers = append(answers, c.askAll(ctx, addrs)...)
		c.learn(answers)
	}
	to := writerOf(answers)
	if to == "" {
		return false, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr = to
	return to != before, true
}

// writerOf is where the writer of the highest epoch is; "" = nobody tells. Its own answer is better
// than what others are configured with.
func writerOf(answers []hinted) string {
	var best *engine.Hints
	for i := range answers {
		if a := &answers[i]; a.err == nil && (best == nil || a.hints.Epoch > best.Epoch) {
			best = &a.hints
		}
	}
	if best == nil || best.Writer == "" {
		return ""
	}
	for i := range answers {
		if a := &answers[i]; a.err == nil && a.hints.Site == best.Writer {
			return a.addr
		}
	}
	for _, s := range best.Sites {
		if s.Site == best.Writer {
			return s.Admin
		}
	}
	return ""
}

// askAll asks addresses at once who writes.
func (c *Client) askAll(ctx context.Context, addrs []string) []hinted {
	ctx, cancel := context.WithTimeout(ctx, hintsWait)
	defer cancel()
	answers := make(chan hinted, len(addrs))
	for _, addr := range addrs {
		go func() { // Ends with the answer, or with ctx.
			h, err := c.hints(ctx, addr)
			answers <- hinted{addr, h, err}
		}()
	}
	all := make([]hinted, len(addrs))
	for i := range all {
		all[i] = <-answers
	}
	return all
}

func (c *Client) hints(ctx context.Context, addr string) (h engine.Hints, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+admin.HintsPath, nil)
	if err != nil {
		return h, fmt.Errorf("admin address %q: %w", addr, err)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return h, fmt.Errorf("admin %s: %w: %w", addr, ErrUnreachable, err)
	}
	defer answer.Body.Close()
	err = json.NewDecoder(io.LimitReader(answer.Body, hintsBytesMax)).Decode(&h)
	if err != nil || answer.StatusCode != http.StatusOK || h.Schema != 1 || h.Kind != "hints" {
		return h, fmt.Errorf("admin %s: %w", addr, ErrAnswer) // of an earlier release
	}
	return h, nil
}

// known are the addresses that were given, and those that hints named.
func (c *Client) known() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.addrs)
}

// Several says whether more than one address is known.
func (c *Client) Several() bool { return len(c.known()) > 1 }

// learn takes in the addresses that hints name.
func (c *Client) learn(answers []hinted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answers {
		for _, s := range a.hints.Sites {
			if s.Admin != "" && len(c.addrs) < addrsMax && !slices.Contains(c.addrs, s.Admin) {
				c.addrs = append(c.addrs, s.Admin)
			}
		}
	}
}

// tries is one request, or one lane, that is tried again.
type tries struct {
	c       *Client
	forever bool        // until ctx ends; else as long as RetryFor says
	told    func(error) // nil = nobody; called before another try
	since   time.Time   // of the first error behind the last answer; zero = none
	backoff time.Duration
	moves   int
}

func (c *Client) newTries(forever bool) *tries {
	return &tries{c: c, forever: forever, backoff: backoffMin}
}

// reset: an answer has come.
func (t *tries) reset() { t.since, t.backoff, t.moves = time.Time{}, backoffMin, 0 }

// again says whether what ended with err is tried again, and pauses before that. A site that does
// not write is left for the one that does, at once.
func (t *tries) again(ctx context.Context, err error) bool {
	elsewhere := errors.Is(err, ErrElsewhere)
	if ctx.Err() != nil || !elsewhere && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrLater) {
		return false
	}
	now, moved, known := time.Now(), false, true
	if t.since.IsZero() {
		t.since = now
	}
	if elsewhere || t.c.Several() {
		moved, known = t.c.Seek(ctx)
	}
	atOnce := moved && t.moves < movesMax
	if elsewhere && !known || !atOnce && !t.forever && now.Sub(t.since) >= t.c.RetryFor {
		return false
	}
	if t.told != nil {
		t.told(err)
	}
	if atOnce {
		t.moves++
		return ctx.Err() == nil
	}
	pause(ctx, t.backoff/2+rand.N(t.backoff))
	t.backoff = min(2*t.backoff, backoffMax)
	return ctx.Err() == nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
