package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/progress"
	"github.com/claudefs/repl/tools/cli/remote"
)

func (a *app) replicationVerify() *cobra.Command {
	var (
		o       *output
		addr    func() (string, error)
		v       engine.VerifyOptions
		shards  string
		timeout time.Duration
	)
	run := func(c *cobra.Command, _ []string) error {
		at, err := addr()
		if err != nil {
			return err
		}
		if v.Lo, v.Hi, err = shardRange(shards); err != nil {
			return err
		}
		if timeout < 0 {
			return usage("omit --timeout for no end", "--timeout %v is negative", timeout)
		}
		line := progress.New(a.stderr)
		if o.people() && isTerminal(a.stderr) {
			meter := &verifyMeter{now: time.Now}
			v.Progress = func(p engine.VerifyProgress) {
				meter.take(p)
				line.Show(meter.text)
			}
		}
		report, err := remote.Verify(c.Context(), at, timeout, v)
		line.Clear()
		if err != nil {
			return verifyFailure(err)
		}
		if err := showVerify(a.stdout, o, report); err != nil {
			return err
		}
		return verifyVerdict(report, timeout)
	}
	c := verb("verify [--admin ADDR] [--peer SITE] [--shards LO-HI] [--deep] [--timeout TIME] [-o FORMAT]",
		"compare this site with its peers, while both work", Read, 0, 0, run)
	c.Long = `Compares the journals of both sites by chain, and their state by digests taken at the same point of each
shard's history, while both sites work. Narrows each difference down to its path. Writes nothing, compares
one shard at a time, and uses at most half of each site's time. Exit codes: 0 everything requested was compared
and is equal, 10 a difference was found, 5 something could not be compared, 4 nothing could be compared,
124 time ran out before a difference was found. After a timeout or an interrupt it prints what was compared
until then. See docs/verify.md.`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	fs := c.Flags()
	fs.StringVar(&v.Peer, "peer", "", "compare with this `SITE` only")
	fs.StringVar(&shards, "shards", "", "compare these shards only, `LO-HI` or one number")
	fs.BoolVar(&v.Deep, "deep", false, "read the stored bytes of the journals at both ends again")
	fs.DurationVar(&timeout, "timeout", 0, "end after this `TIME`, and print what was compared (default no end)")
	return c
}

// shardRange reads "LO-HI", both counted in, or "N", as [lo, hi); "" is all.
func shardRange(text string) (lo, hi int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.Atoi(first)
	hi, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || lo < 0 || hi < lo {
		return 0, 0, usage("write --shards 0-15, or one number", "--shards %q is not a range of shards", text)
	}
	return lo, hi + 1, nil
}

func verifyFailure(err error) error {
	switch {
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "wait until the other verification ends")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the peers and counts the shards")
	case errors.Is(err, remote.ErrFailed):
		return failure(ExitFailed, err, "look at the node's log, and at cfs admin replication status")
	}
	return err
}

// verifyVerdict turns a report into an exit code. A difference that was found counts
// more than an end that came early, and that more than what could not be compared.
func verifyVerdict(r *engine.VerifyReport, timeout time.Duration) error {
	done, asked, reason, rest, lasting := 0, 0, "", "", false
	for i := range r.Peers {
		p := &r.Peers[i]
		done, asked = done+p.ShardsCompared, asked+p.ShardsAsked
		if p.Result == r.Result && reason == "" {
			if reason = p.Reason; !strings.Contains(reason, p.Site) {
				reason = p.Site + ": " + reason
			}
			rest = shardsLeft(p.NotCompared)
			lasting = len(p.NotCompared) > 0 && p.NotCompared[0].Lasting
		}
	}
	more := "run it again with more --timeout"
	if rest != "" {
		more += ", or" + rest
	}
	compared := fmt.Sprintf("%s of %s compared and equal", humanCount(done), plural(asked, "shard", "shards"))
	switch {
	case r.Result == engine.VerifyEqual:
		return nil
	case r.Result == engine.VerifyDifferent:
		return failure(ExitDifference, fmt.Errorf("different: %s", reason), nextForDifferent(r))
	case r.Ended == engine.VerifyTimeout:
		return failure(ExitTimeout, fmt.Errorf("time ran out after %s: %s", timeout, compared), more)
	case r.Ended == engine.VerifyInterrupted:
		return failure(ExitFailed, fmt.Errorf("interrupted: %s", compared),
			"run it again"+rest)
	case r.Result == engine.VerifyUnreachable:
		return failure(ExitUnreachable, fmt.Errorf("nothing was compared: %s", reason),
			"bring the link up: cfs admin replication status says what it waits for")
	}
	next := "run it again" + rest
	if lasting {
		next = "cfs admin replication status at both sites says what is stopped, and what to do about it"
	}
	return failure(ExitPartly, errors.New(strings.TrimSuffix("not everything was compared: "+reason, ": ")), next)
}

// nextForDifferent says what to do about the gravest kind of difference in a report.
func nextForDifferent(r *engine.VerifyReport) string {
	kinds, stopped := map[string]bool{}, false
	for i := range r.Peers {
		for k := range r.Peers[i].NotCompared {
			stopped = stopped || r.Peers[i].NotCompared[k].Lasting
		}
		for k := range r.Peers[i].Differences {
			kinds[r.Peers[i].Differences[k].What] = true
		}
	}
	switch {
	case kinds["history"]:
		return "keep both data directories: these logs stopped, cfs admin replication status at both sites says why"
	case kinds["state"] && stopped:
		return "cfs admin replication status at both sites says what is stopped, and what to do about it"
	case kinds["state"]:
		return "stop writing these paths and keep both data directories: docs/verify.md says how to choose"
	}
	return "cfs admin replication status at that site tells what is repaired: then compare again with --deep"
}

// shardsLeft is the flag for the shards of which something was not compared.
func shardsLeft(gaps []engine.VerifyGap) string {
	if len(gaps) == 0 {
		return ""
	}
	lo, hi := gaps[0].Shard, 0
	for i := range gaps {
		lo, hi = min(lo, gaps[i].Shard), max(hi, gaps[i].Shard+gaps[i].Count-1)
	}
	return fmt.Sprintf(" with --shards %d-%d", lo, hi)
}
