//go:build !rdma

package rdma_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
)

func TestWithoutTheTagAskingForRDMANamesIt(t *testing.T) {
	_, err := rdma.New(rdma.Options{Verbs: rdma.System()})
	require.ErrorIs(t, err, rdma.ErrUnsupported)
	_, err = rdma.System().Devices()
	require.ErrorContains(t, err, "-tags rdma")
	require.ErrorContains(t, err, "libibverbs-dev")
}
