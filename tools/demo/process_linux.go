package demo

import "syscall"

// childAttributes puts a server into a process group of its own, so that an
// interrupt at the terminal reaches only the parent, and ties its life to the
// parent's.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
