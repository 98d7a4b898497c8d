package lint

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScriptsRefuseWrongWordsAtOnce: with exit code 2 and the word, before anything is
// built or booted. A number that only the last of a night's checks cannot read costs the
// night.
func TestScriptsRefuseWrongWordsAtOnce(t *testing.T) {
	for _, c := range []struct{ env, script, word string }{
		{"", "ci/sim x", "SEEDS wants a number, at least 1, not 'x'"},
		{"", "ci/sim 0", "SEEDS wants a number, at least 1, not '0'"},
		{"", "ci/sim 10 x", "FIRST wants a number, at least 0, not 'x'"},
		{"", "ci/museum x", "SEEDS wants a number, at least 1, not 'x'"},
		{"SHRINK=x", "ci/museum", "SHRINK wants a number, at least 0, not 'x'"},
		{"", "ci/crash-red x", "CYCLES wants a number, at least 1, not 'x'"},
		{"", "ci/fuzz 20", "TIME wants a time such as 20s or 1h30m, not '20'"},
		{"", "ci/fuzz 0x", "not '0x'"},
		{"", "ci/ordinary -run TestX", "'-run TestX' names no package"},
		{"", "ci/ordinary -race -v -run TestX/a", "names no package"},
		{"", "ci/powerloss/run --cuts x", "--cuts wants a number, at least 1, not 'x'"},
		{"", "ci/powerloss/run --cuts 0", "not '0'"},
		{"", "ci/powerloss/run --rounds 08", "not '08'"},
		{"", "ci/powerloss/run --seed 99999999999999999999", "not '99999999999999999999'"},
		{"", "ci/powerloss/run --limit", "--limit wants a number, at least 1, not ''"},
		{"", "ci/powerloss/run --bogus", "there is no --bogus"},
		{"", "ci/rxe/run --limit x", "--limit wants a number, at least 1, not 'x'"},
		{"", "ci/rxe/run --links -1", "--links wants a number, at least 1, not '-1'"},
		{"", "ci/rxe/run --netem", "--netem wants what tc's netem takes"},
		{"", "ci/rxe/run --bogus", "there is no --bogus"},
		{"SEEDS=x", "ci/nightly", "SEEDS wants a number, at least 1, not 'x'"},
		{"CYCLES=1e3", "ci/nightly", "CYCLES wants a number, at least 1, not '1e3'"},
		{"CUTS=x", "ci/nightly", "CUTS wants"},
		{"LINKS=x", "ci/nightly", "LINKS wants"},
		{"SHRINK=x", "ci/nightly", "SHRINK wants"},
		{"FUZZ=x", "ci/nightly", "FUZZ wants a time"},
		{"SOAK=30", "ci/nightly", "SOAK wants a time"},
		{"WAN=0s", "ci/nightly", "WAN wants a time"},
	} {
		out, code := script(t, c.env, c.script)
		require.Equal(t, 2, code, "%s %s: %s", c.env, c.script, out)
		require.Contains(t, out, c.word, "%s %s", c.env, c.script)
	}
}

// script runs a script on a machine on which nothing can be built or installed, away from
// the root, and returns what it says and how it ends.
func script(t *testing.T, env, line string) (out string, code int) {
	t.Helper()
	tools := t.TempDir()
	for _, tool := range []string{"go", "make", "apt-get", "apt-cache", "qemu-system-x86_64"} {
		text := "#!/bin/sh\necho too late: " + tool + "\nexit 77\n"
		require.NoError(t, os.WriteFile(filepath.Join(tools, tool), []byte(text), 0o755))
	}
	if env == "" {
		env = "NOTHING=1"
	}
	return finish(t, "PATH="+tools+":/usr/bin:/bin", "TMPDIR="+tools, env, filepath.Join(root(t), line))
}

// finish runs a script, the last of words, from outside the tree; the others are all its
// environment.
func finish(t *testing.T, words ...string) (out string, code int) {
	t.Helper()
	environment, line := words[:len(words)-1], words[len(words)-1]
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Dir, cmd.Env = t.TempDir(), environment
	both, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(both), exit.ExitCode()
	}
	require.NoError(t, err)
	return string(both), 0
}

// TestRunThatFailsNamesWhatFailed: whichever step of ci/test fails, the run does, its name
// stands above the totals, and the totals do not say that nothing failed.
func TestRunThatFailsNamesWhatFailed(t *testing.T) {
	for _, c := range []struct{ fails, name string }{
		{"", ""},
		{"go test -race", "go test -race, as root"},
		{"go test -count=1 ./engine/store/journal", "every bit, truncation and swap"},
		{"go test -count=1 -run", "rates and counts"},
		{"go test -v -count=1 -tags giouring", "the ring behind the tag giouring"},
		{"go build -o bin/cfs", "what the system calls of two servers are"},
		{"go vet", "go vet behind the tags"},
		{"museum", "the museum of planted bugs"},
		{"crash-red", "kills find"},
		{"trace-io", "what the system calls of two servers are"},
		{"host", "programs outside the module"},
		{"run", "RDMA on real verbs"},
		{"ordinary", "go test -race, as an ordinary user"},
		{"skip", "skipped tests"},
		{"rootless", "skipped, and not run as root: TestScripts/full-disk"},
	} {
		out, code := ciTest(t, c.fails)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		last := lines[len(lines)-1]
		if c.fails == "" {
			require.Equal(t, 0, code, out)
			require.Equal(t, "4 passed, 0 failed", last)
			continue
		}
		require.Equal(t, 1, code, "%s: %s", c.fails, out)
		require.Contains(t, out, "\nfailed: "+c.name, c.fails)
		require.Regexp(t, `^[0-9]+ passed, [1-9][0-9]* failed$`, last, c.fails)
	}
}

// ciTest runs ci/test as CI does, over commands that all end well but one; skip makes the
// tests say that one was skipped.
func ciTest(t *testing.T, fails string) (out string, code int) {
	t.Helper()
	top := t.TempDir()
	text, err := os.ReadFile(filepath.Join(root(t), "ci", "test"))
	require.NoError(t, err)
	put := func(name, text string) {
		path := filepath.Join(top, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/bash\n"+text), 0o755))
	}
	put("ci/test", string(text))
	fake := `said="${0##*/} $*"
case $said in
"ordinary"*) echo "    --- SKIP: TestScripts/full-disk (0.1s)" ;;
"go test -race"*full-*) [ "` + fails + `" = rootless ] || echo "    --- PASS: TestScripts/full-disk (0.1s)" ;;
"go test -race"*) echo "--- PASS: TestX"; [ "` + fails + `" != skip ] || echo "--- SKIP: TestY" ;;
run*) echo "2 passed, 0 failed" ;;
esac
[ -n "` + fails + `" ] || exit 0
case $said in "` + fails + `"*) exit 1 ;; esac
`
	for _, name := range []string{"ci/museum", "ci/crash-red", "ci/trace-io", "ci/host", "ci/rxe/run", "ci/setup",
		"ci/ordinary", "bin/go"} {
		put(name, fake)
	}
	put("bin/id", "echo 0\n")
	return finish(t, "PATH="+filepath.Join(top, "bin")+":/usr/bin:/bin", "TMPDIR="+top, "CI=true",
		filepath.Join(top, "ci", "test"))
}

// scriptTest is a test's name, or the beginning of one, in a script.
var scriptTest = regexp.MustCompile(`\bTest[A-Z]\w*`)

// TestScriptsNameTestsThatExist: go test is content with a pattern that fits nothing, so a
// renamed test would be left out of a run in silence.
func TestScriptsNameTestsThatExist(t *testing.T) {
	var tests []string
	goFiles(t, func(_, _ string, text []byte) {
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests = append(tests, string(m[1]))
		}
	})
	files := []string{filepath.Join(root(t), "Makefile")}
	scripts := filepath.Join(root(t), "ci")
	require.NoError(t, filepath.WalkDir(scripts, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(path) != "red" { // that one invents some
			files = append(files, path)
		}
		return err
	}))
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range scriptTest.FindAllString(string(text), -1) {
			count++
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, name) }) {
				t.Errorf("%s: no test begins with %s", file, name)
			}
		}
	}
	require.Greater(t, count, 10)
}
