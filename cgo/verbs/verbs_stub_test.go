//go:build !(rdma && linux && cgo)

package verbs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuildWithoutVerbsNamesTagAndPackages(t *testing.T) {
	_, err := GetDeviceList()
	_, err2 := CreateEventChannel()
	for _, err := range []error{err, err2} {
		require.ErrorIs(t, err, ErrUnsupported)
		for _, name := range []string{"-tags rdma", "libibverbs-dev", "librdmacm-dev", "cgo"} {
			require.ErrorContains(t, err, name)
		}
	}
}
