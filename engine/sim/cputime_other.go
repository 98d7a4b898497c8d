//go:build !unix

package sim

import "time"

// cpuSpent is not told here.
func cpuSpent() time.Duration { return 0 }
