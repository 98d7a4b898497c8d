//go:build !linux

package socket

import "github.com/claudefs/repl/wire/link"

const congestionSupported = false

// Tune does nothing here: keepalive alone notices a dead peer.
func Tune(int, *Options) error { return nil }

func leaveNoTrace(int) error { return nil }

// FilesMax is unknown here.
func FilesMax() int { return 0 }

// ReadInfo knows nothing here.
func ReadInfo(int, *link.Info) {}

// Over says no where the system does not tell.
func Over(int) bool { return false }
