//go:build !linux

package cli

// memoryLimit is known on Linux.
func memoryLimit() (bytes int64, file string) { return 0, "" }
