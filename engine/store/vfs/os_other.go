//go:build !linux

package vfs

import (
	"errors"
	"fmt"
	"io"
	"runtime"
)

// OS is the operating system's files, which are those of Linux: here each method says so.
// Elsewhere the packages build, for programs that ask a node, and no journal opens.
type OS struct{}

var errLinux = fmt.Errorf("journals want Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

func (OS) MkdirAll(string) error          { return errLinux }
func (OS) Create(string) (File, error)    { return nil, errLinux }
func (OS) Open(string) (File, error)      { return nil, errLinux }
func (OS) Rename(string, string) error    { return errLinux }
func (OS) Remove(string) error            { return errLinux }
func (OS) List(string) ([]string, error)  { return nil, errLinux }
func (OS) SyncDir(string) error           { return errLinux }
func (OS) Lock(string) (io.Closer, error) { return nil, errLinux }

// InMemory is unknown here.
func InMemory(string) bool { return false }
