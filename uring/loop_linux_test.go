package uring_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/uring"
)

// onLoops runs a test on the best loop, and on one that does without what old
// kernels lack.
func onLoops(t *testing.T, test func(t *testing.T, o uring.LoopOptions)) {
	needRing(t)
	for _, setup := range []uring.Setup{uring.SetupBest, uring.SetupPlain} {
		t.Run(setup.String(), func(t *testing.T) { test(t, uring.LoopOptions{Setup: setup}) })
	}
}

func openLoop(t testing.TB, o uring.LoopOptions) *uring.Loop {
	t.Helper()
	needRing(t)
	l, err := uring.OpenLoop(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}
