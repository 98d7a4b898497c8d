//go:build !linux

package uring

import "github.com/claudefs/repl/engine/store/vfs"

// DiskOptions of OpenDisk.
type DiskOptions struct{ Setup Setup }

// Disk cannot be opened here.
type Disk struct{ vfs.FS }

// OpenDisk says what Supported says.
func OpenDisk(DiskOptions) (*Disk, error) { return nil, Supported() }

// OpenQueue says what Supported says.
func (*Disk) OpenQueue(vfs.QueueOptions) (vfs.Queue, error) { return nil, Supported() }

// Stats is empty.
func (*Disk) Stats() CallStats { return CallStats{} }

// Close returns ErrClosed.
func (*Disk) Close() error { return ErrClosed }
