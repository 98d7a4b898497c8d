//go:build !linux

package demo

import "syscall"

// childAttributes is empty where a child's life cannot be tied to its parent's.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
