//go:build !linux

package tcp

import "github.com/claudefs/repl/wire/link"

const congestionSupported = false

func tuneSocket(int, *Options) error { return nil }

func readInfo(int, *link.Info) {}

func isOver(int) bool { return false }
