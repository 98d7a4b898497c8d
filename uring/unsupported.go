//go:build !linux

package uring

import (
	"fmt"
	"runtime"
)

// Supported says that there is no io_uring outside Linux.
func Supported() error {
	return fmt.Errorf("%w: it is Linux, this is %s", ErrUnsupported, runtime.GOOS)
}

// Probe says what Supported says.
func Probe() Features { return Features{Kernel: runtime.GOOS, Err: Supported()} }
