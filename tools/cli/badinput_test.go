package cli

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/cli/tty"
)

// wrongValues are values that no flag of a type takes.
var wrongValues = map[string][]string{
	"int":      {"x", "", "1.5", "0x", "99999999999999999999", "\xff", "1 2"},
	"uint64":   {"x", "", "-1", "1.5", "99999999999999999999999", "\xff"},
	"float64":  {"x", "", "1,5", "\xff"},
	"duration": {"x", "", "5", "5 s", "99999999999h", "\xff"},
	"bool":     {"maybe", "\xff"},
	"FORMAT":   {"yaml", "", "TABLE", "\xff"},
	"BYTES":    {"x", "", "-1", "1.5MiB", "9999999TiB", "\xff"},
	"RATE":     {"x", "", "-1", "\xff"},
	"MODE":     {"x", "", "9", "-1", "77777", "\xff"},
	"TIME":     {"x", "", "@", "@x", "@1.x", "@9223372037", "1601-01-01T00:00:00Z", "\xff"},
}

// oddValues may be wrong for a flag, or not: whatever a verb makes of them, it must not
// hang, panic, or fail without a word.
var oddValues = map[string][]string{
	"int":         {"-1", "0", "-9223372036854775808", "9223372036854775807"},
	"uint64":      {"0", "18446744073709551615"},
	"float64":     {"-1", "0", "NaN", "Inf", "1e308", "1e-308"},
	"duration":    {"-1s", "0", "1ns"},
	"BYTES":       {"0", "1", "4611686018427387904"},
	"RATE":        {"0", "1"},
	"MODE":        {"0", "7777"},
	"TIME":        {"@0", "@-9223372036.5", "@1.", "2262-04-11T23:47:16Z"},
	"string":      {"", " ", "\xff", "a\x00b", "../..", "-", strings.Repeat("x", 5000), "\x1b[2J\n"},
	"stringArray": {"", "=", "a=", "=b", "a=b", "\xff=\xff", strings.Repeat("x", 5000) + "=h:1"},
}

// badAddrs are no addresses of a node.
var badAddrs = []string{
	" ", "nonsense", ":", "host:", ":x", "127.0.0.1:" + "65536", "127.0.0.1:-1", "127.0.0.1:+1", "[::1", "[::1%\x1b]:1",
	"http://127.0.0.1:1", "127.0.0.1:1/path", "user@127.0.0.1:1", "a b:1", "\xff:1", "127.0.0.1:\x00",
	"127.0.0.1:1#x", "a%41:1",
}

// leaves are the verbs below c that can be run.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Annotations[impactKey] != "" {
			all = append(all, sub)
		}
		all = append(all, leaves(sub)...)
	}
	return all
}

var twoLines = regexp.MustCompile(`(?:^|\n)error: [^\n]+\nnext: [^\n]+\n$`)

// arguments are values of arguments that are no paths.
var arguments = map[string]string{"MODE": "0640", "OWNER": "1:1", "BYTES": "1"}

var argument = regexp.MustCompile(`^[A-Z]+$`)

// harmless is a call of a verb that ends soon, whatever else its flags say: it talks to
// an address at which nobody listens, needs one that is taken, or a directory that is
// in use. A verb that is not named here gets a file for each argument.
func harmless(t *testing.T, c *cobra.Command) []string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	path := strings.Fields(c.CommandPath())[1:]
	switch name := strings.Join(path, " "); name {
	case "server":
		return append(path, "--site", "s", "--cluster", "c", "--data", filepath.Join(dir, "d"),
			"--admin", taken.Addr().String())
	case "bench serve":
		return append(path, "--listen", taken.Addr().String())
	case "bench path":
		return append(path, "--target", "127.0.0.1:1")
	case "bench":
		return append(path, "--to", "127.0.0.1:1", "--dir", dir)
	case "demo", "crash", "failover-drill":
		return append(path, "--dir", dir)
	case "sim run":
		return append(path, "--seeds", "1")
	case "sim ledger":
		return append(path, "--seeds", "1", "--file", filepath.Join(dir, "absent", "x"))
	case "sim replay", "sim plan":
		return append(path, "1")
	case "sim shrink":
		return append(path, filepath.Join(dir, "absent"))
	case "admin replication sites add":
		return append(path, "site-x", "--addr", "127.0.0.1:1", "--admin", "127.0.0.1:1")
	case "admin replication failover", "admin replication switchover":
		return append(path, "--to", "site-b", "--admin", "127.0.0.1:1")
	case "admin replication wait":
		return append(path, "--for", "role=primary", "--timeout", "1ms", "--admin", "127.0.0.1:1")
	case "admin replication mend":
		return append(path, "7", "--from", "site-b", "--admin", "127.0.0.1:1")
	case "admin replication orphans show":
		return append(path, "--shard", "7", "--admin", "127.0.0.1:1")
	case "admin replication orphans discard":
		return append(path, "--all", "--admin", "127.0.0.1:1")
	case "fs import":
		return append(path, dir, "--admin", "127.0.0.1:1", "--retry-for", "1ms")
	}
	optional := 0
	for _, word := range strings.Fields(c.Use)[1:] {
		optional += strings.Count(word, "[")
		if optional == 0 && argument.MatchString(word) {
			value, ok := arguments[word]
			if !ok {
				value = filepath.Join(dir, "file")
			}
			path = append(path, value)
		}
		optional -= strings.Count(word, "]")
	}
	if c.Flags().Lookup("admin") != nil {
		path = append(path, "--admin", "127.0.0.1:1")
	}
	return path
}

// badInputMax is far more than a wrong call may take, on a busy machine.
const badInputMax = time.Minute

// elsewhere makes a directory below others the working one: what is written relative to
// it, or two above, is thrown away.
func elsewhere(t *testing.T) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	t.Chdir(dir)
}

// ends runs a call that must end, with data or with a failure in two lines.
func ends(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- Main(args, strings.NewReader(""), &out, &errors) }() // ends with the verb
	select {
	case code = <-done:
	case <-time.After(badInputMax):
		t.Fatalf("%q does not end", args)
	}
	if code != ExitDone && !(monitors(args) && strings.Contains(out.String(), "UNKNOWN")) {
		require.Regexp(t, twoLines, errors.String(), "%q", args)
		require.Empty(t, chainFaults(errors.String()), "%q: %s", args, &errors)
	}
	require.Contains(t, []int{
		ExitDone, ExitFailed, ExitUsage, ExitRefused, ExitUnreachable, ExitPartly, ExitTimeout,
	}, code, "%q: %s", args, &errors)
	return code, errors.String()
}

// monitors says whether a call is of the verb whose exit codes are those of monitoring:
// whatever keeps it from an answer is unknown, 3, and said on stdout if it can be.
func monitors(args []string) bool { return slices.Contains(args, "check") }

// wanted is the exit code of a call that fails with code.
func wanted(args []string, code int) int {
	if monitors(args) {
		return 3
	}
	return code
}

func testRoot() *cobra.Command {
	return (&app{stdin: strings.NewReader(""), stdout: tty.New(io.Discard), stderr: tty.New(io.Discard)}).root()
}

// Every verb, every flag: what is typed wrong ends with 2, the fact and the next step.
func TestWrongFlagsAreRefusedByEveryVerb(t *testing.T) {
	t.Setenv(adminEnv, "")
	elsewhere(t)
	for _, c := range leaves(testRoot()) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			base := harmless(t, c)
			wrong := [][]string{{"--no-such-flag"}, {"-Z"}, {"a", "b", "c", "d", "e", "f"}}
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name == "help" {
					return
				}
				if f.NoOptDefVal == "" {
					wrong = append(wrong, []string{"--" + f.Name})
				}
				values := wrongValues[f.Value.Type()]
				if f.Name == "admin" {
					values = badAddrs
				}
				for _, v := range values {
					wrong = append(wrong, []string{"--" + f.Name + "=" + v})
				}
			})
			for _, more := range wrong {
				args := append(slices.Clone(base), more...)
				code, stderr := ends(t, args...)
				require.Equal(t, wanted(args, ExitUsage), code, "%q: %s", args, stderr)
			}
		})
	}
}

// What is odd, or refused later, is neither waited for without end nor met by a panic.
func TestOddFlagsEndEveryVerb(t *testing.T) {
	t.Setenv(adminEnv, "")
	elsewhere(t)
	for _, c := range leaves(testRoot()) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			base := harmless(t, c)
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if slices.Contains(base, "--"+f.Name) && f.Value.Type() == "string" {
					return // it is what makes the call harmless
				}
				for _, v := range oddValues[f.Value.Type()] {
					ends(t, append(slices.Clone(base), "--"+f.Name+"="+v)...)
				}
			})
		})
	}
}

// Paths, files and numbers that nobody means.
func TestOddArgumentsEndEveryVerb(t *testing.T) {
	t.Setenv(adminEnv, "127.0.0.1:1")
	elsewhere(t)
	for _, c := range leaves(testRoot()) {
		base := harmless(t, c)
		for i := len(strings.Fields(c.CommandPath())) - 1; i < len(base) && !strings.HasPrefix(base[i], "-"); i++ {
			for _, odd := range []string{
				"", " ", "relative", "/..", "/\x00", "/\xff", "18446744073709551616", "\x1b[2J",
				"/" + strings.Repeat("n", 5000),
			} {
				args := slices.Clone(base)
				args[i] = odd
				ends(t, args...)
			}
			args := slices.Clone(base)
			args[i] = "-1"
			code, stderr := ends(t, args...)
			require.Equal(t, wanted(args, ExitUsage), code, "%q: %s", args, stderr)
		}
	}
}

// A node that is not there is 4 for every verb that talks to one, and none named is 2.
func TestAbsentNodeIsToldByEveryVerb(t *testing.T) {
	t.Setenv(adminEnv, "")
	elsewhere(t)
	for _, c := range leaves(testRoot()) {
		if c.Flags().Lookup("admin") == nil || c.Name() == "server" {
			continue
		}
		args := harmless(t, c)
		code, stderr := ends(t, args...)
		require.Equal(t, wanted(args, ExitUnreachable), code, "%q: %s", args, stderr)
		args = args[:slices.Index(args, "--admin")]
		code, stderr = ends(t, args...)
		require.Equal(t, wanted(args, ExitUsage), code, "%q: %s", args, stderr)
	}
}

// What takes a connection and says nothing is given up, by every verb that asks a node.
func TestSilentAddressIsGivenUpByEveryVerb(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var calls [][]string
	for _, c := range leaves(testRoot()) {
		if c.Flags().Lookup("admin") == nil || c.Name() == "server" {
			continue
		}
		args := harmless(t, c)
		args[slices.Index(args, "--admin")+1] = listener.Addr().String()
		calls = append(calls, args)
	}
	ended := make(chan string, len(calls))
	for _, args := range calls {
		go func() { // ends with the verb
			var stderr bytes.Buffer
			code := Main(args, strings.NewReader(""), io.Discard, &stderr)
			said := twoLines.MatchString(stderr.String()) || monitors(args)
			if code != wanted(args, ExitUnreachable) || !said {
				ended <- fmt.Sprintf("%q: exit code %d: %s", args, code, &stderr)
			}
			ended <- ""
		}()
	}
	for range calls {
		select {
		case fault := <-ended:
			require.Empty(t, fault)
		case <-time.After(badInputMax):
			t.Fatal("a verb does not end")
		}
	}
}
