package linktest

import (
	"testing"

	"github.com/claudefs/repl/wire/link"
)

func TestMemoryConforms(t *testing.T) {
	Conformance(t, func(*testing.T) link.Transport { return NewMemory() })
}
