package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	packageCommentLinesMax = 60
	sentenceWordsMax       = 35 // of a sentence in doc.go
	testNameMax            = 45 // characters
)

// wordsOut are words that read as translated, and what says it in English.
var wordsOut = []struct {
	out     *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bfor ever\b`), "permanently, without end"},
	{regexp.MustCompile(`(?i)\bmoreover\b`), "also"},
	{regexp.MustCompile(`(?i)\b(?:stop|stops|stopped|refuse|refuses|refused|told|asked|ask for \w+),? by name\b`),
		"with the reason, or explicitly"},
}

// toldOut is out of pages, package comments, errors and help: not yet of comments.
var toldOut = regexp.MustCompile(`(?i)\btold\b`)

// noNoun finds "is no error"; "there is no error" and "is no longer" are English.
var noNoun = regexp.MustCompile(`(?i)(\bthere )?\b(?:is|are|was|were) no (\w+)`)

var afterNo = map[string]bool{
	"longer": true, "more": true, "larger": true, "bigger": true, "older": true, "less": true, "one": true,
	"such": true, "other": true, "different": true, "matter": true, "need": true, "use": true, "room": true,
}

// outOf lists the words of text that are out.
func outOf(text string) []string {
	var found []string
	for _, w := range wordsOut {
		for _, m := range w.out.FindAllString(text, -1) {
			found = append(found, strconv.Quote(m)+": write "+w.instead)
		}
	}
	for _, m := range noNoun.FindAllStringSubmatch(text, -1) {
		if m[1] == "" && !afterNo[strings.ToLower(m[2])] {
			found = append(found, strconv.Quote(m[0])+": write is not a")
		}
	}
	return found
}

// oneLine joins the lines of a comment or paragraph, so that a phrase over a line
// break is found.
func oneLine(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "//"))...)
	}
	return strings.Join(words, " ")
}

// TestPagesAreFreeOfWordsThatAreOut: all pages but those that tell of their time.
func TestPagesAreFreeOfWordsThatAreOut(t *testing.T) {
	for _, p := range pages(t) {
		switch base := filepath.Base(p.name); {
		case base == "CHANGELOG.md", base == "track-record.md", base == "museum.md",
			strings.HasPrefix(p.name, "docs/decisions/"):
			continue
		}
		text := oneLine(span.ReplaceAllString(fence.ReplaceAllString(p.text, ""), ""))
		for _, w := range outOf(text) {
			t.Errorf("%s: %s", p.name, w)
		}
		if n := len(toldOut.FindAllString(text, -1)); n > 0 {
			t.Errorf("%s: %d times told: write reported", p.name, n)
		}
	}
}

// TestCodeIsFreeOfWordsThatAreOut: comments and string literals. Tests are not held
// to it yet.
func TestCodeIsFreeOfWordsThatAreOut(t *testing.T) {
	goFiles(t, func(path, rel string, text []byte) {
		if strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "tools/lint/") {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments)
		require.NoError(t, err)
		report := func(at token.Pos, found []string) {
			for _, w := range found {
				t.Errorf("%s:%d: %s", rel, set.Position(at).Line, w)
			}
		}
		for _, c := range file.Comments {
			report(c.Pos(), outOf(oneLine(c.Text())))
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				report(lit.Pos(), outOf(oneLine(s)))
				if toldOut.MatchString(s) {
					report(lit.Pos(), []string{"told: write reported"})
				}
			}
			return true
		})
	})
}

// sentenceEnd is where a sentence, or an item of a list, ends.
var sentenceEnd = regexp.MustCompile(`[.!?:](?:\s|$)`)

// TestPackageCommentsAreShort: at most 60 lines, and no sentence over 35 words.
func TestPackageCommentsAreShort(t *testing.T) {
	goFiles(t, func(path, rel string, text []byte) {
		if filepath.Base(rel) != "doc.go" {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.PackageClauseOnly)
		require.NoError(t, err)
		if file.Doc == nil {
			t.Errorf("%s: no package comment", rel)
			return
		}
		if n := strings.Count(strings.TrimSpace(string(text[:file.Package-1])), "\n") + 1; n > packageCommentLinesMax {
			t.Errorf("%s: %d lines, at most %d: figures and reasons belong in docs/", rel, n, packageCommentLinesMax)
		}
		for _, s := range sentences(file.Doc.Text()) {
			if n := len(strings.Fields(s)); n > sentenceWordsMax {
				t.Errorf("%s: a sentence of %d words, at most %d: %s", rel, n, sentenceWordsMax, s)
			}
			if toldOut.MatchString(s) {
				t.Errorf("%s: told: write reported: %s", rel, s)
			}
		}
	})
}

// sentences are those of a comment's paragraphs and list items; drawings have none.
func sentences(doc string) []string {
	var all, paragraph []string
	flush := func() {
		all = append(all, sentenceEnd.Split(strings.Join(paragraph, " "), -1)...)
		paragraph = nil
	}
	for line := range strings.Lines(doc) {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "", strings.HasPrefix(line, "\t"), strings.HasPrefix(trimmed, "# "):
			flush()
		case strings.HasPrefix(trimmed, "- "):
			flush()
			paragraph = append(paragraph, trimmed[2:])
		default:
			paragraph = append(paragraph, trimmed)
		}
	}
	flush()
	return all
}

var article = regexp.MustCompile(`^Test(?:A|An|The)[A-Z]`)

// TestNamesOfTestsAreShort: the subject first, without an article.
func TestNamesOfTestsAreShort(t *testing.T) {
	goFiles(t, func(_, rel string, text []byte) {
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			name := string(m[1])
			if n := utf8.RuneCountInString(name); n > testNameMax {
				t.Errorf("%s: %s has %d characters, at most %d", rel, name, n, testNameMax)
			}
			if article.MatchString(name) {
				t.Errorf("%s: %s begins with an article: name the subject", rel, name)
			}
		}
	})
}
