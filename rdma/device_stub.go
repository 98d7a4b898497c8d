//go:build !rdma || !cgo || !linux

package rdma

import "fmt"

// Built says whether this build has verbs of its own.
const Built = false

// System is the machine's own verbs. This build has none: they need Linux, cgo, and
// the tag rdma.
func System() Verbs { return noVerbs{} }

type noVerbs struct{}

func (noVerbs) error() error {
	return fmt.Errorf("this build has no verbs: build on Linux with cgo, libibverbs-dev and -tags rdma: %w",
		ErrUnsupported)
}

func (v noVerbs) Devices() ([]string, error) { return nil, v.error() }

func (v noVerbs) Open(DeviceName) (Device, error) { return nil, v.error() }
