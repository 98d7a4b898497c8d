package demo

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/namespace"
)

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	return l
}

// follow applies op to a set of files as a file system would.
func follow(t *testing.T, files map[string]bool, op *namespace.Operation) {
	t.Helper()
	switch op.Op {
	case engine.OpCreate:
		require.False(t, files[op.Path], "%s exists", op.Path)
		files[op.Path] = true
	case engine.OpRename, engine.OpLink:
		require.True(t, files[op.Path], "%s is not there", op.Path)
		require.False(t, files[op.Target], "%s exists", op.Target)
		files[op.Target] = true
		if op.Op == engine.OpRename {
			delete(files, op.Path)
		}
	case engine.OpUnlink:
		require.True(t, files[op.Path], "%s is not there", op.Path)
		delete(files, op.Path)
	default:
		require.True(t, files[op.Path], "%s is not there", op.Path)
	}
}
