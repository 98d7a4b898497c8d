package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
	"github.com/claudefs/repl/wire"
)

// waitEvery is the mean pause between two looks at a node.
const waitEvery = 200 * time.Millisecond

// awaited is what is waited for: KEY=VALUE as it was typed.
type awaited struct {
	text, value string
	number      uint64 // of epoch=N
	holds       func(c *awaited, s *engine.Status) bool
}

// conditionKinds are what may be waited for.
var conditionKinds = map[string]func(c *awaited, s *engine.Status) bool{
	"role":    func(c *awaited, s *engine.Status) bool { return s.Role == c.value },
	"appends": func(c *awaited, s *engine.Status) bool { return s.Appends.State == c.value },
	"epoch":   func(c *awaited, s *engine.Status) bool { return epochNumber(s.Epoch) >= c.number },
	"member": func(c *awaited, s *engine.Status) bool {
		for i := range s.Peers {
			if s.Peers[i].Site == c.value {
				return !s.Peers[i].Learner
			}
		}
		return false
	},
}

// epochNumber is an epoch without the site that it names; the first one names none.
func epochNumber(epoch uint64) uint64 {
	if n := epoch >> 32; n > 0 {
		return n
	}
	return epoch
}

// parseCondition reads one --for.
func parseCondition(text string) (awaited, error) {
	const next = "write role=primary, role=standby, appends=open, epoch=N or member=SITE"
	key, value, _ := strings.Cut(text, "=")
	c := awaited{text: text, value: value, holds: conditionKinds[key]}
	switch {
	case c.holds == nil || value == "",
		key == "role" && value != "primary" && value != "standby",
		key == "appends" && value != engine.AppendsOpen:
		return c, usage(next, "--for %q is nothing to wait for", text)
	case key == "epoch":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return c, usage(next, "--for %q: %q is not an epoch's number", text, value)
		}
		c.number = n
	case key == "member":
		return c, checkName("--for member", value)
	}
	return c, nil
}

// waitReport is "cfs admin replication wait -o json".
type waitReport struct {
	Schema     int       `json:"schema"`
	Kind       string    `json:"kind"`
	Site       string    `json:"site"`
	At         time.Time `json:"at"`
	Conditions []string  `json:"conditions"`
	Seconds    float64   `json:"waited_seconds"`
	Role       string    `json:"role"`
	Primary    string    `json:"primary"`
	Epoch      uint64    `json:"epoch"`
}

func (a *app) replicationWait() *cobra.Command {
	var (
		o       *output
		addr    func() (string, error)
		texts   []string
		timeout time.Duration
	)
	run := func(c *cobra.Command, _ []string) error {
		if len(texts) == 0 {
			return usage("add --for role=primary, for example", "nothing to wait for")
		}
		if timeout <= 0 {
			return usage("write it like 1m", "--timeout %s is not above zero", timeout)
		}
		var all []awaited
		for _, text := range texts {
			one, err := parseCondition(text)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		at, err := addr()
		if err != nil {
			return err
		}
		began := time.Now()
		s, err := awaitConditions(c.Context(), at, all, timeout)
		if err != nil {
			return err
		}
		waited := time.Since(began).Seconds()
		if !o.people() {
			return o.object(waitReport{
				1, "wait", s.Site, s.At, texts, waited, s.Role, s.Primary, s.Epoch,
			})
		}
		_, err = fmt.Fprintf(a.stdout, "%s: %s, after %s\n", tty.Plain(s.Site), strings.Join(texts, ", "),
			humanSeconds(waited))
		return err
	}
	c := verb("wait --for CONDITION [--for CONDITION] [--timeout 1m] [--admin ADDR] [-o FORMAT]",
		"wait until a site has a role, an epoch or a full peer", Read, 0, 0, run)
	c.Long = `Waits until all conditions hold at the site that is asked, also while that does not answer yet:
  role=primary, role=standby   it writes; it does not
  appends=open                 it takes appends in every shard
  epoch=N                      it holds an epoch whose number is N or higher
  member=SITE                  SITE is a peer of it, and not a learner: it counts
Exit code 124 if they do not hold within --timeout, and 4 if nobody answered in that time.`
	c.Example = `  cfs admin replication wait --for role=primary --for appends=open --timeout 30s
  cfs admin replication wait --for member=site-c`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	c.Flags().StringArrayVar(&texts, "for", nil, "what to wait for, `KEY=VALUE`; repeat it for more")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return c
}

// awaitConditions returns the status in which all hold.
func awaitConditions(ctx context.Context, at string, all []awaited, timeout time.Duration) (*engine.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var (
		seen  *engine.Status
		asked error
	)
	for {
		s, err := remote.Status(ctx, at)
		switch {
		case err == nil:
			open := failing(all, s)
			if len(open) == 0 {
				return s, nil
			}
			seen = s
		case ctx.Err() == nil:
			asked = err
		}
		if err != nil && !errors.Is(err, remote.ErrUnreachable) {
			return nil, err
		}
		select {
		case <-time.After(waitEvery/2 + rand.N(waitEvery)):
			continue
		case <-ctx.Done():
		}
		return nil, notInTime(all, seen, asked, timeout, ctx.Err())
	}
}

// failing are the conditions that do not hold.
func failing(all []awaited, s *engine.Status) (texts []string) {
	for i := range all {
		if !all[i].holds(&all[i], s) {
			texts = append(texts, all[i].text)
		}
	}
	return texts
}

// notInTime says what was waited for in vain, and how the site was last.
func notInTime(all []awaited, seen *engine.Status, asked error, timeout time.Duration, ended error) error {
	if errors.Is(ended, context.Canceled) {
		return ended
	}
	if seen == nil {
		if asked == nil {
			asked = fmt.Errorf("%w within %s", remote.ErrUnreachable, timeout)
		}
		return asked
	}
	text := fmt.Sprintf("site %s: not within %s: %s; it is %s in epoch %s, appends %s", seen.Site, timeout,
		strings.Join(failing(all, seen), ", "), seen.Role, wire.Epoch(seen.Epoch), seen.Appends.State)
	if seen.Appends.Reason != "" {
		text += " (" + seen.Appends.Reason + ")"
	}
	return failure(ExitTimeout, errors.New(text), "cfs admin replication status says what it waits for")
}
