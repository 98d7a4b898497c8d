package tcp

import (
	"testing"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

func open(t *testing.T) link.Transport {
	tr, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTCPConforms(t *testing.T) { linktest.Conformance(t, open) }
