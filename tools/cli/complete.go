package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/loadtest"
)

// completeWait is how long a shell may be kept waiting for the names of peers.
const completeWait = 2 * time.Second

// values are what flags of these names take, for the completion of shells.
var values = map[string][]string{
	"output": {string(FormatTable), string(FormatWide), string(FormatJSON), string(FormatJSONL)},
	"io":     {ioAuto, ioRDMA, ioUring, ioPortable},
	"link":   {ioAuto, ioRDMA, ioUring, ioPortable},
	"log":    {"text", "json"},
	"level": {
		loadtest.LevelAsync, loadtest.LevelLocal, loadtest.LevelDurable, loadtest.LevelApplied, loadtest.LevelLink,
	},
}

// complete makes shells offer the values of the flags below c: words that are listed,
// and the peers of the node that --admin or the environment names.
func complete(c *cobra.Command) {
	for _, sub := range c.Commands() {
		complete(sub)
	}
	for name, words := range values {
		if c.LocalFlags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, // fails for an absent flag only
				cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	if c.LocalFlags().Lookup("admin") != nil && c.LocalFlags().Lookup("peer") != nil && c.Name() != "server" {
		_ = c.RegisterFlagCompletionFunc("peer", completePeers)
	}
}

// completePeers are the names of a node's peers; none if it does not answer soon.
func completePeers(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	given, err := c.Flags().GetString("admin")
	addr, wrong := adminAddr(given)
	if err != nil || wrong != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completeWait)
	defer cancel()
	status, err := remote.Status(ctx, addr)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range status.Peers {
		if strings.HasPrefix(status.Peers[i].Site, begun) {
			names = append(names, status.Peers[i].Site)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
