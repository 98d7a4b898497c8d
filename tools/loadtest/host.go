package loadtest

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
)

// ErrNoMemory: there is no memory file system.
var ErrNoMemory = errors.New("no memory file system")

// memoryDir is where memory file systems are found.
const memoryDir = "/dev/shm"

// Host says what an end runs on. What is unknown is "".
type Host struct {
	Name       string `json:"host"`
	Kernel     string `json:"kernel"`
	Processors int    `json:"processors_count"`
	Model      string `json:"processor"`
	Go         string `json:"go"`
	Procs      int    `json:"gomaxprocs_count"`
	Dir        string `json:"dir"` // "" = no journal
	FileSystem string `json:"file_system"`
	Transport  string `json:"transport"`
	Reason     string `json:"transport_reason"`
	Boot       string `json:"boot"` // equal at both ends: it is one machine
}

func hostNow(dir string, c carrier) Host {
	h := Host{
		Processors: runtime.NumCPU(), Go: runtime.Version(), Procs: runtime.GOMAXPROCS(0), Dir: dir,
		Kernel: kernel(), Model: processor(), Boot: bootID(), Transport: c.transport, Reason: c.reason,
	}
	h.Name, _ = os.Hostname() // unknown then
	if dir != "" {
		h.FileSystem = fileSystem(dir)
	}
	return h
}

// usage is what a process, and the machine under it, has used so far.
type usage struct {
	CPU         Seconds `json:"cpu_seconds"`
	Allocations uint64  `json:"allocations"`
	Busy        Seconds `json:"busy_seconds"`  // of all processors
	Total       Seconds `json:"total_seconds"` // of all processors; 0 = the system does not tell
}

func usageNow() usage {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	u := usage{CPU: Seconds(processCPU()), Allocations: sample[0].Value.Uint64()}
	busy, total := machineTime()
	u.Busy, u.Total = Seconds(busy), Seconds(total)
	return u
}

// since is what was used between before and u.
func (u usage) since(before usage) usage {
	return usage{u.CPU - before.CPU, u.Allocations - before.Allocations, u.Busy - before.Busy, u.Total - before.Total}
}

// otherLoad is the share of all processors' time that others used while u was
// used, known to contain ours. It is unknown where the system does not tell.
func (u usage) otherLoad(ours time.Duration) *float64 {
	if u.Total <= 0 {
		return nil
	}
	share := max(0, (u.Busy.D()-ours).Seconds()/u.Total.D().Seconds())
	share = math.Round(share*1e4) / 1e4
	return &share
}

// workspace makes a directory of its own for a run below base: "" means the
// system's directory for temporary files, or with memory a memory file system.
func workspace(base string, memory bool) (string, error) {
	switch {
	case base != "":
		if err := os.MkdirAll(base, 0o755); err != nil {
			return "", err
		}
	case memory:
		if fileSystem(memoryDir) != tmpfs {
			return "", &os.PathError{Op: "bench", Path: memoryDir, Err: ErrNoMemory}
		}
		base = memoryDir
	}
	dir, err := os.MkdirTemp(base, workspacePrefix)
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

const (
	tmpfs           = "tmpfs"
	workspacePrefix = "cfs-bench-"
)

// IsWorkspace says whether dir is a session's own directory, as it was made here: an
// absolute path, and nothing but what a session keeps in it. Only that may be removed
// by the process of the far end.
func IsWorkspace(dir string) bool {
	name := filepath.Base(dir)
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || !strings.HasPrefix(name, workspacePrefix) {
		return false
	}
	entries, err := os.ReadDir(dir)
	return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), siteFar) && !strings.HasPrefix(e.Name(), siteNear)
	})
}
