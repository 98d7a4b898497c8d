package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryLimit is the least limit of the control groups that this process is in, in
// bytes, and the file that says so; 0 = none.
func memoryLimit() (bytes int64, file string) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, name := "/sys/fs/cgroup", "memory.max"
		switch {
		case parts[1] == "" && parts[0] == "0":
		case strings.Contains(","+parts[1]+",", ",memory,"):
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be the host's: then only the root is there.
		for dir := filepath.Join(root, parts[2]); ; dir = filepath.Dir(dir) {
			at := filepath.Join(dir, name)
			if text, err := os.ReadFile(at); err == nil {
				n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				if err == nil && n < 1<<50 && (bytes == 0 || n < bytes) {
					bytes, file = n, at
				}
			}
			if dir == root || len(dir) <= len(root) {
				break
			}
		}
	}
	return bytes, file
}
