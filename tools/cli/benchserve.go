package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/loadtest"
)

// benchServe is the far end of cfs bench.
func (a *app) benchServe() *cobra.Command {
	var listen, data, dir, addrFile, childOf string
	c := verb("serve --listen ADDR [flags]", "the far end of cfs bench, on this host", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if listen == "" {
				return usage("run: cfs bench serve --listen :9600", "--listen is required")
			}
			for _, addr := range []string{listen, data} {
				if addr == "" {
					continue
				}
				if err := checkAddr(addr); err != nil {
					return err
				}
			}
			ctx := c.Context()
			if childOf != "" {
				if !loadtest.IsWorkspace(childOf) {
					return usage("omit --child-of: it is for cfs bench",
						"--child-of %q is not a directory of cfs bench", childOf)
				}
				var end context.CancelFunc
				ctx, end = a.lifeline(ctx)
				defer end()
				// The parent may have been killed: then nobody else removes it.
				defer os.RemoveAll(childOf)
			}
			o := loadtest.ServeOptions{Listen: listen, Data: data, Dir: dir}
			return a.serveBench(ctx, addrFile, childOf != "", o)
		})
	c.Long = `Serves runs of cfs bench --to until SIGINT or SIGTERM, one at a time. It asks nobody who they are,
and each run writes journals below --dir until it ends: serve on a trusted network.`
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&listen, "listen", "", "`ADDR` for cfs bench --to, HOST:PORT, port 0 = any (required)")
	fs.StringVar(&data, "data", "", "`ADDR` for the load (default the host of --listen, any port)")
	fs.StringVar(&dir, "dir", "", "`DIR` on the disk to measure, for a directory of each run (default a temporary one)")
	fs.StringVar(&addrFile, "addr-file", "", "write the real address to this `FILE` as JSON when ready")
	fs.StringVar(&childOf, "child-of", "", "end with stdin, and remove this `DIR`")
	_ = fs.MarkHidden("child-of") // fails for a flag that is not there only
	return c
}

func (a *app) serveBench(ctx context.Context, addrFile string, child bool, o loadtest.ServeOptions) error {
	o.Listening = func(addr string) error {
		at := addrs{Schema: 1, Kind: "addrs", Listen: addr, PID: os.Getpid()}
		if child {
			return (&output{format: FormatJSONL, stdout: a.stdout}).object(at)
		}
		fmt.Fprintf(a.stderr, "ready: listen %s\n", addr)
		if addrFile == "" {
			return nil
		}
		return writeAddrs(addrFile, at)
	}
	if !child {
		o.Said = func(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }
	}
	if err := loadtest.Serve(ctx, o); err != nil {
		return failure(ExitFailed, fmt.Errorf("--listen %s: %w", o.Listen, err), portNext(err, "--listen"))
	}
	return nil
}

// benchPath is the proxy that cfs bench starts for --rtt and --bandwidth.
func (a *app) benchPath() *cobra.Command {
	var (
		target    string
		rtt       time.Duration
		bandwidth bitRate
	)
	c := verb("path --target ADDR [flags]", "a long or narrow way, until stdin ends", Read, 0, 0,
		func(c *cobra.Command, _ []string) error {
			if err := checkAddr(target); err != nil {
				return err
			}
			ctx, end := a.lifeline(c.Context())
			defer end()
			return loadtest.ServePath(ctx, loadtest.PathOptions{
				Target: target, RTT: rtt, Bandwidth: int64(bandwidth),
				Listening: func(addr string) error {
					return (&output{format: FormatJSONL, stdout: a.stdout}).object(
						addrs{Schema: 1, Kind: "addrs", Listen: addr, PID: os.Getpid()})
				},
			})
		})
	c.Hidden = true
	fs := c.Flags()
	fs.StringVar(&target, "target", "", "`ADDR` that it leads to")
	fs.DurationVar(&rtt, "rtt", 0, "added round trip")
	fs.Var(&bandwidth, "bandwidth", "limit, each way")
	return c
}

// lifeline ends with stdin, which a parent holds as long as it lives.
func (a *app) lifeline(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	go func() { // ends with stdin, or with the process
		_, err := io.Copy(io.Discard, a.stdin)
		end(errors.Join(errors.New("stdin ended"), err))
	}()
	return ctx, func() { end(nil) }
}
