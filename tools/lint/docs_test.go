package lint

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/cli"
)

// page is what readers are told somewhere: a Markdown file, a package's promise, or
// the help of a verb.
type page struct {
	name string // relative to the root, with slashes
	text string
	code []string // what stands in it as code: spans, and lines with their continuations
}

// pages are all Markdown files of the project.
func pages(t *testing.T) []page {
	t.Helper()
	top := root(t)
	var all []page
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != top && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".md") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		all = append(all, page{filepath.ToSlash(rel), string(text), codeOf(string(text))})
		return nil
	}))
	require.Greater(t, len(all), 10, "the walk found no pages")
	return all
}

var (
	span      = regexp.MustCompile("`([^`\n]+)`")
	fence     = regexp.MustCompile("(?ms)^```.*?^```")
	indented  = regexp.MustCompile(`(?m)^(?:    |\t).*$`)
	wrapped   = regexp.MustCompile(`\\\n\s*`)
	remark    = regexp.MustCompile(`\s#\s.*$`)
	reference = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ +(.+?)\s*$`)
	target    = regexp.MustCompile(`(?m)^([a-z-]+):`)
	planned   = regexp.MustCompile("room `[^`]+`") // in pains.md: what will bring it
	makes     = regexp.MustCompile(`(?:^|[\s;&])make ([a-z][a-z-]*)`)
	cfs       = regexp.MustCompile(`(?:^|[\s;&(])(?:bin/)?cfs ([^|;&]*)`)
	ours      = regexp.MustCompile(`^(?:wire|engine|uring|rdma|cgo|bench|tools|testdata|ci|docs)/[\w./-]*$`)
	glossed   = regexp.MustCompile(`(?m)^  (\w+(?: \w+)?)  `)
	testName  = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark|Example)[A-Z]\w+$`)
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
)

// codeOf is what a Markdown text has as code: fenced and indented lines, a wrapped
// one joined, and spans.
func codeOf(text string) []string {
	var code []string
	joined := wrapped.ReplaceAllString(text, " ")
	for _, block := range fence.FindAllString(joined, -1) {
		code = append(code, strings.Split(block, "\n")...)
	}
	prose := planned.ReplaceAllString(fence.ReplaceAllString(joined, ""), "")
	code = append(code, indented.FindAllString(prose, -1)...)
	for _, m := range span.FindAllStringSubmatch(indented.ReplaceAllString(prose, ""), -1) {
		code = append(code, m[1])
	}
	for i, line := range code {
		code[i] = strings.TrimSpace(remark.ReplaceAllString(line, ""))
	}
	return code
}

// TestLinksOfThePagesLead: to a file that exists, and a heading that it has. Where
// the network is needed nothing is asked.
func TestLinksOfThePagesLead(t *testing.T) {
	for _, p := range pages(t) {
		prose := span.ReplaceAllString(fence.ReplaceAllString(p.text, ""), "")
		for _, m := range reference.FindAllStringSubmatch(prose, -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			file := filepath.Join(root(t), filepath.Dir(p.name), path)
			if path == "" {
				file = filepath.Join(root(t), p.name)
			}
			text, err := os.ReadFile(file)
			if info, e := os.Stat(file); e == nil && info.IsDir() {
				err = nil
			}
			switch {
			case err != nil:
				t.Errorf("%s: the link %s leads nowhere", p.name, m[1])
			case anchor != "" && !slices.Contains(anchors(string(text)), anchor):
				t.Errorf("%s: %s has no heading for #%s", p.name, file, anchor)
			}
		}
	}
}

// anchors are the names that a Markdown page gives its headings.
func anchors(text string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return names
}

// TestTargetsAndFilesOfThePagesExist: each make target, file, folder and test that a
// page names. Decisions tell of their time, the change log of its releases.
func TestTargetsAndFilesOfThePagesExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	require.NoError(t, err)
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	tests := map[string]bool{}
	goFiles(t, func(_, _ string, text []byte) {
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
	})
	for _, p := range pages(t) {
		history := p.name == "CHANGELOG.md" || strings.HasPrefix(p.name, "docs/decisions/")
		for _, code := range p.code {
			for _, m := range makes.FindAllStringSubmatch(code, -1) {
				if !targets[m[1]] {
					t.Errorf("%s: the Makefile has no target %s", p.name, m[1])
				}
			}
			if ours.MatchString(code) && !history && !exists(t, ".", code) && !exists(t, filepath.Dir(p.name), code) {
				t.Errorf("%s: there is no %s", p.name, code)
			}
			if testName.MatchString(code) && !history && !tests[code] {
				t.Errorf("%s: there is no %s", p.name, code)
			}
		}
	}
}

func exists(t *testing.T, dir, name string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(root(t), dir, name))
	return err == nil
}

// TestCommandsToldToReadersExist: each verb and flag of cfs that a page, a package or
// the help of another verb tells to type.
func TestCommandsToldToReadersExist(t *testing.T) {
	v := readVerbs(t)
	for _, p := range slices.Concat(pages(t), packagePages(t), v.helpPages(t)) {
		for _, code := range p.code {
			if p.name == "CHANGELOG.md" || filepath.Base(p.name) == "FORMAT.md" || strings.HasPrefix(p.name, "ci/") {
				continue // Verbs that were; words that are hashed; the flags of scripts.
			}
			if word, _, _ := strings.Cut(code, " "); strings.HasPrefix(word, "--") && !v.anyHas(word) {
				t.Errorf("%s: no verb has %s", p.name, word)
			}
			for _, m := range cfs.FindAllStringSubmatch(code, -1) {
				if fault := v.check(strings.Fields(m[1])); fault != "" {
					t.Errorf("%s: %q: %s", p.name, strings.TrimSpace(m[0]), fault)
				}
			}
		}
	}
}

// TestGlossaryHasTheWordsOfTheCommandLine: one list of words for readers.
func TestGlossaryHasTheWordsOfTheCommandLine(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "glossary.md"))
	require.NoError(t, err)
	count := 0
	for _, m := range glossed.FindAllStringSubmatch(run(t, "help", "glossary"), -1) {
		count++
		require.Regexp(t, `\b`+m[1]+`\b`, string(text))
	}
	require.Greater(t, count, 10)
}

// packagePages are the indented lines of what packages promise.
func packagePages(t *testing.T) []page {
	t.Helper()
	var all []page
	goFiles(t, func(_, rel string, text []byte) {
		if filepath.Base(rel) != "doc.go" {
			return
		}
		var plain []string
		for line := range strings.Lines(string(text)) {
			plain = append(plain, strings.TrimPrefix(strings.TrimPrefix(line, "//"), " "))
		}
		all = append(all, page{rel, string(text), codeOf(strings.Join(plain, ""))})
	})
	return all
}

// verbs is what cfs can be told to do: "admin replication lag" and its flags.
type verbs map[string]map[string]bool

func readVerbs(t *testing.T) verbs {
	t.Helper()
	var list struct {
		Commands []struct {
			Command string
			Flags   []struct{ Name, Short string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(run(t, "commands", "--json")), &list))
	v := verbs{}
	for _, c := range list.Commands {
		flags := map[string]bool{"--help": true, "-h": true}
		for _, f := range c.Flags {
			flags["--"+f.Name], flags["-"+f.Short] = true, true
		}
		v[strings.TrimPrefix(c.Command, "cfs ")] = flags
	}
	require.Contains(t, v, "server")
	return v
}

// run is what cfs prints.
func run(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Zero(t, cli.Main(args, strings.NewReader(""), &stdout, &stderr), stderr.String())
	return stdout.String()
}

func (v verbs) helpPages(t *testing.T) []page {
	t.Helper()
	var all []page
	for verb := range v {
		text := run(t, append(strings.Fields(verb), "--help")...)
		examples := page{name: "cfs " + verb + " --help", text: text}
		for line := range strings.Lines(wrapped.ReplaceAllString(text, " ")) {
			if example, _, _ := strings.Cut(strings.TrimSpace(line), "   "); strings.HasPrefix(line, "  cfs ") {
				examples.code = append(examples.code, example)
			}
		}
		all = append(all, examples)
	}
	return all
}

// check says what is wrong with the words behind cfs; "" is nothing. A word in
// capitals, or with a mark of omission, stands for another one.
func (v verbs) check(words []string) string {
	if len(words) > 0 && words[0] == "help" {
		return ""
	}
	name, rest := "", words
	for len(rest) > 0 && v.group(strings.TrimSpace(name+" "+rest[0])) {
		name, rest = strings.TrimSpace(name+" "+rest[0]), rest[1:]
	}
	flags, leaf := v[name]
	switch {
	case len(rest) == 0, strings.HasPrefix(rest[0], "…"), rest[0] == strings.ToUpper(rest[0]) && rest[0][0] != '-':
		return ""
	case !leaf && rest[0] != "--help":
		return "no verb " + rest[0]
	case !leaf:
		return ""
	}
	for _, word := range rest {
		flag, _, _ := strings.Cut(strings.TrimLeft(strings.TrimRight(word, "],.:)'"), "["), "=")
		if strings.HasPrefix(flag, "-") && len(flag) > 1 && !flags[flag] {
			return "no flag " + flag
		}
	}
	return ""
}

// anyHas says whether one of the verbs has the flag.
func (v verbs) anyHas(flag string) bool {
	flag, _, _ = strings.Cut(flag, "=")
	for _, flags := range v {
		if flags[flag] {
			return true
		}
	}
	return false
}

// group says whether name is a verb or the beginning of one.
func (v verbs) group(name string) bool {
	for verb := range v {
		if verb == name || strings.HasPrefix(verb, name+" ") {
			return true
		}
	}
	return false
}
