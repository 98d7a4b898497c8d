package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
		ctx := c.Context()
		if timeout < 0 {
			return usage("leave --timeout out for no end", "--timeout %v is negative", timeout)
		}
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		line := progress.New(a.stderr)
		v.Progress = func(p engine.VerifyProgress) {
			line.Show(func() string {
				return fmt.Sprintf("%s: %s: %d of %s, %s", p.Peer, p.Doing, p.Shards, plural(p.Of, "shard", "shards"),
					plural(int64(p.Keys), "key", "keys"))
			})
		}
		report, err := remote.Verify(ctx, at, v)
		if err != nil {
			return verifyFailure(err, timeout)
		}
		if err := showVerify(a.stdout, o, report); err != nil {
			return err
		}
		return verifyVerdict(report)
	}
	c := verb("verify [--admin ADDR] [--peer SITE] [--shards LO-HI] [--deep] [-o FORMAT]",
		"compare this site with its peers, while both work", Read, 0, 0, run)
	c.Long = `Compares the journals of both sites by chain, and the state of both by digests taken at the same point
of each shard's history, while both sites work. What differs is narrowed down to its path. Nothing is
written; one shard at a time, and as long as it works it rests. Exit code 0 means: everything that was
asked for was compared, and is equal. 10: a difference was found. 5: something could not be compared.
4: nothing could. See docs/verify.md.`
	o = a.outputFlags(c)
	addr = adminFlag(c)
	fs := c.Flags()
	fs.StringVar(&v.Peer, "peer", "", "compare with this `SITE` only")
	fs.StringVar(&shards, "shards", "", "compare these shards only, `LO-HI` or one number")
	fs.BoolVar(&v.Deep, "deep", false, "read the stored bytes of the journals at both ends again")
	fs.DurationVar(&timeout, "timeout", 0, "give up after this `TIME` (default no end)")
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
		return 0, 0, usage("write --shards 0-15, or one number", "--shards %q is no range of shards", text)
	}
	return lo, hi + 1, nil
}

func verifyFailure(err error, timeout time.Duration) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failure(ExitPartly, fmt.Errorf("not compared within %s", timeout),
			"leave --timeout out, or name fewer --shards")
	case errors.Is(err, remote.ErrRefused):
		return failure(ExitRefused, err, "wait until the other verification ends")
	case errors.Is(err, remote.ErrQuestion):
		return failure(ExitUsage, err, "cfs admin replication status names the peers and counts the shards")
	}
	return err
}

// verifyVerdict turns a report into an exit code.
func verifyVerdict(r *engine.VerifyReport) error {
	reason := func() string {
		for i := range r.Peers {
			if r.Peers[i].Result == r.Result {
				return r.Peers[i].Site + ": " + r.Peers[i].Reason
			}
		}
		return r.Peers[0].Reason
	}
	switch r.Result {
	case engine.VerifyEqual:
		return nil
	case engine.VerifyDifferent:
		return failure(ExitDifference, fmt.Errorf("different: %s", reason()),
			"stop writing these paths and keep both data directories: docs/verify.md says how to choose")
	case engine.VerifyUnreachable:
		return failure(ExitUnreachable, fmt.Errorf("nothing was compared: %s", reason()),
			"bring the link up: cfs admin replication status says what it waits for")
	}
	return failure(ExitPartly, fmt.Errorf("not everything was compared: %s", reason()),
		"run it again, for the shards that are listed with --shards")
}

func showVerify(w io.Writer, o *output, r *engine.VerifyReport) error {
	switch o.format {
	case FormatJSON:
		return o.object(r)
	case FormatJSONL:
		for i := range r.Peers {
			if err := o.object(&r.Peers[i]); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := io.WriteString(w, verifyScreen(r, o))
	return err
}

// verifyScreen is what people see: a block for each peer.
func verifyScreen(r *engine.VerifyReport, o *output) string {
	const shown = 20
	var b screen
	for i := range r.Peers {
		p := &r.Peers[i]
		b.line("%s and %s: %s", r.Site, p.Site, strings.ToUpper(p.Result))
		b.line("  state of %d of %s, %s; %s by chain%s; %s", p.ShardsCompared, plural(p.ShardsAsked, "shard", "shards"),
			plural(int64(p.Keys), "key", "keys"), plural(p.LogsCompared, "log", "logs"), deepText(r.Deep),
			humanSeconds(r.Seconds))
		for k := range p.Differences {
			d := &p.Differences[k]
			if k == shown && !o.wide() {
				b.line("  … and %d more: -o wide lists them", len(p.Differences)-k)
				break
			}
			b.line("  different: %s", differenceText(d, o))
		}
		if p.More {
			b.line("  … and more differences than are listed")
		}
		gaps := foldGaps(p.NotCompared, o.wide())
		for k, text := range gaps {
			if k == shown && !o.wide() {
				b.line("  … and %d more: -o wide lists them", len(gaps)-k)
				break
			}
			b.line("  not compared: %s", text)
		}
	}
	return b.String()
}

func deepText(deep bool) string {
	if deep {
		return ", stored bytes read"
	}
	return ""
}

// foldGaps is what was not compared, a line for each reason with how many shards it
// holds for, or for each shard if all are to be seen.
func foldGaps(gaps []engine.VerifyGap, each bool) []string {
	type kind struct{ what, reason string }
	var order []kind
	shards := map[kind][]int{}
	for k := range gaps {
		of := kind{gaps[k].What, gaps[k].Reason}
		if shards[of] == nil {
			order = append(order, of)
		}
		shards[of] = append(shards[of], gaps[k].Shard)
	}
	var lines []string
	for _, of := range order {
		in := shards[of]
		if each || len(in) == 1 {
			for _, shard := range in {
				lines = append(lines, of.what+shardText(shard)+": "+of.reason)
			}
			continue
		}
		lines = append(lines, fmt.Sprintf("%s of %d shards in %d-%d: %s", of.what, len(in),
			slices.Min(in), slices.Max(in), of.reason))
	}
	return lines
}

func shardText(shard int) string {
	if shard < 0 {
		return ""
	}
	return " of shard " + strconv.Itoa(shard)
}

func differenceText(d *engine.VerifyDifference, o *output) string {
	text := d.Detail
	if d.Path != "" {
		text = d.Path + ": " + text
	}
	if d.Shard >= 0 {
		text += fmt.Sprintf("  (shard %d, log of %s at seq %d)", d.Shard, d.Site, d.Seq)
	}
	if o.wide() && d.Key != "" {
		text += "  key " + d.Key
	}
	return text
}
