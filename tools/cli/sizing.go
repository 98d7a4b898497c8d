package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/claudefs/repl/tools/fsnode"
)

// What a server takes at most with its defaults, measured under imports (docs/operating.md,
// "Memory"), and the least that it can be made to do with.
const (
	memoryWanted = 384 << 20
	memoryLeast  = 128 << 20
)

// fitMemory sizes a node for the memory that its control group grants, and refuses where
// that is too little: a server that is killed for its memory tells nobody why.
func fitMemory(o *fsnode.Options, limit int64, file string) error {
	switch {
	case limit == 0 || limit >= memoryWanted:
		return nil
	case limit < memoryLeast:
		return failure(ExitRefused, fmt.Errorf(
			"cannot work with %d MiB of memory (%s), need %d MiB, and %d MiB for the defaults",
			limit>>20, file, memoryLeast>>20, memoryWanted>>20),
			fmt.Sprintf("grant this server %d MiB or more", memoryLeast>>20))
	}
	o.CacheBytes, o.MemTableBytes = 32<<20, 4<<20
	o.PendingBytesMax, o.RecentBytesMax = 8<<20, 4<<20
	debug.SetMemoryLimit(limit / 2) // of what Go itself holds
	return nil
}
