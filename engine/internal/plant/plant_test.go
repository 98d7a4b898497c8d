package plant_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// declared reads name and value of what a file declares as kind.
func declared(t *testing.T, file string, kind token.Token) map[string]ast.Expr {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	all := map[string]ast.Expr{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok == token.IMPORT {
			continue
		}
		require.Equal(t, kind, g.Tok, "%s declares something else", file)
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				require.Len(t, v.Values, len(v.Names), "%s: %s has no value", file, name.Name)
				all[name.Name] = v.Values[i]
			}
		}
	}
	return all
}

// kebab turns AckBeforeFlush into ack-before-flush.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// TestNoMistakeIsInAPlainBuild: without the tag every mistake is the constant
// false, which the compiler leaves out; with it each may be chosen by its name.
func TestNoMistakeIsInAPlainBuild(t *testing.T) {
	off := declared(t, "off.go", token.CONST)
	require.Equal(t, `""`, off["Name"].(*ast.BasicLit).Value)
	delete(off, "Name")
	require.GreaterOrEqual(t, len(off), 16)
	for name, value := range off {
		require.Equal(t, "false", value.(*ast.Ident).Name, name)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "on.go", nil, 0)
	require.NoError(t, err)
	on := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if call, ok := v.Values[0].(*ast.CallExpr); ok {
			if fun, ok := call.Fun.(*ast.Ident); ok && fun.Name == "planted" {
				on[v.Names[0].Name] = call.Args[0].(*ast.BasicLit).Value
			}
		}
		return true
	})
	require.Len(t, on, len(off))
	for name, said := range on {
		require.Contains(t, off, name)
		require.Equal(t, `"`+kebab(name)+`"`, said)
	}
	for file, tag := range map[string]string{"off.go": "//go:build !plant\n", "on.go": "//go:build plant\n"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), tag), file)
	}
}

// TestMuseumsPageListsEveryMistake keeps docs/museum.md in step.
func TestMuseumsPageListsEveryMistake(t *testing.T) {
	text, err := os.ReadFile("../../../docs/museum.md")
	require.NoError(t, err)
	off := declared(t, "off.go", token.CONST)
	delete(off, "Name")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	for name := range off {
		require.Contains(t, string(text), "\n| `"+kebab(name)+"` |")
	}
	require.Equal(t, len(off), rows, "rows of docs/museum.md")
}
