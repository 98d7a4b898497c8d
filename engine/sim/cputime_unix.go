//go:build unix

package sim

import (
	"syscall"
	"time"
)

// cpuSpent is how much processor time this process has used: what a busy machine
// does to wall time says nothing about the simulator. 0 = the system does not say.
func cpuSpent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
