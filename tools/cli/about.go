package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/claudefs/repl/wire"
)

// versionInfo is "cfs version -o json".
type versionInfo struct {
	Schema      int    `json:"schema"`
	Kind        string `json:"kind"`
	Version     string `json:"version"`
	Commit      string `json:"commit"`
	Changed     *bool  `json:"changed"` // null = the build does not say
	Go          string `json:"go"`
	Platform    string `json:"platform"`
	WireVersion int    `json:"wire_version"`
}

func (a *app) version() *cobra.Command {
	var o *output
	c := verb("version [-o FORMAT]", "what this binary is", Read, 0, 0, func(*cobra.Command, []string) error {
		v := readVersion()
		if !o.people() {
			return o.object(v)
		}
		fmt.Fprintf(a.stdout, "cfs %s  wire format %d  %s  %s\n", v.Version, v.WireVersion, v.Go, v.Platform)
		if o.wide() {
			fmt.Fprintf(a.stdout, "commit %s\n", orUnknown(v.Commit))
		}
		return nil
	})
	o = a.outputFlags(c)
	return c
}

func readVersion() versionInfo {
	v := versionInfo{
		Schema: 1, Kind: "version", Version: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, WireVersion: wire.Version,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			changed := s.Value == "true"
			v.Changed = &changed
		}
	}
	return v
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// commandList is "cfs commands -o json".
type commandList struct {
	Schema   int           `json:"schema"`
	Kind     string        `json:"kind"`
	Commands []commandInfo `json:"commands"`
}

type commandInfo struct {
	Command string     `json:"command"`
	Impact  Impact     `json:"impact"`
	Short   string     `json:"short"`
	Usage   string     `json:"usage"`
	Flags   []flagInfo `json:"flags"`
}

type flagInfo struct {
	Name    string `json:"name"`
	Short   string `json:"short"` // "" = none
	Type    string `json:"type"`
	Default string `json:"default"`
	Usage   string `json:"usage"`
}

func (a *app) commands() *cobra.Command {
	var o *output
	run := func(c *cobra.Command, _ []string) error {
		list := commandList{Schema: 1, Kind: "commands", Commands: listCommands(c.Root(), nil)}
		switch o.format {
		case FormatJSON:
			return o.object(list)
		case FormatJSONL:
			for _, info := range list.Commands {
				if err := o.object(info); err != nil {
					return err
				}
			}
			return nil
		}
		t := newTable(a.stdout, "COMMAND", "IMPACT", "WHAT IT DOES")
		for _, info := range list.Commands {
			what := info.Short
			if o.wide() {
				what = info.Usage
			}
			t.row(info.Command, string(info.Impact), what)
		}
		return t.flush()
	}
	c := verb("commands [-o FORMAT]", "every verb with its impact", Read, 0, 0, run)
	o = a.outputFlags(c)
	return c
}

// listCommands appends the verbs below c that can be run, in the order of their
// names.
func listCommands(c *cobra.Command, list []commandInfo) []commandInfo {
	for _, sub := range c.Commands() {
		impact, ok := sub.Annotations[impactKey]
		if sub.Hidden {
			continue
		}
		list = listCommands(sub, list)
		if !ok {
			continue
		}
		info := commandInfo{
			Command: sub.CommandPath(), Impact: Impact(impact), Short: sub.Short,
			Usage: c.CommandPath() + " " + sub.Use, Flags: []flagInfo{},
		}
		sub.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Hidden {
				return
			}
			// The value of NO_COLOR would make the list differ from machine to machine.
			value := f.DefValue
			if f.Name == "no-color" {
				value = "false"
			}
			_, what := pflag.UnquoteUsage(f)
			info.Flags = append(info.Flags, flagInfo{f.Name, f.Shorthand, f.Value.Type(), value, what})
		})
		list = append(list, info)
	}
	slices.SortFunc(list, func(x, y commandInfo) int { return strings.Compare(x.Command, y.Command) })
	return list
}
