package verbs

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupported: this build has no verbs. The text names what is missing.
	ErrUnsupported = errors.New("rdma verbs not supported")
	// ErrClosed: the handle was closed before.
	ErrClosed = errors.New("handle closed")
)

func closedError(verb string) error { return fmt.Errorf("%s: %w", verb, ErrClosed) }
