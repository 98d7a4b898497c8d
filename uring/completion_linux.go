package uring

import (
	"golang.org/x/sys/unix"
)

// Completion is one answer of the kernel.
type Completion struct {
	User  uint64 // what the operation was given
	Res   int32  // bytes, descriptor, count; below zero an error number
	Flags uint32
}

// Err is nil, or the operation's error (a unix.Errno).
func (c Completion) Err() error {
	if c.Res >= 0 || c.Notification() {
		return nil
	}
	return unix.Errno(-c.Res)
}

// More: the operation lives on and will answer again under the same User.
// Without it a multishot operation has ended and must be armed again, whatever
// Res says; and the memory it was lent is the caller's again.
func (c Completion) More() bool { return c.Flags&cqeMore != 0 }

// Notification: the second answer of a zero-copy send: its bytes are the
// caller's again. Res is not a result then.
func (c Completion) Notification() bool { return c.Flags&cqeNotif != 0 }

// Copied: a notification that says the kernel copied the bytes after all, as it
// always does on loopback.
func (c Completion) Copied() bool { return c.Notification() && uint32(c.Res)&notifCopied != 0 }

// Buffer is the provided buffer that the bytes begin in; see BufferRing.Take.
func (c Completion) Buffer() (id uint16, ok bool) {
	return uint16(c.Flags >> 16), c.Flags&cqeBuffer != 0
}

// BufferMore: an incremental buffer has room left and stays with the kernel.
func (c Completion) BufferMore() bool { return c.Flags&cqeBufferMore != 0 }

// NonEmpty: the socket had more to read when this was posted.
func (c Completion) NonEmpty() bool { return c.Flags&cqeNonEmpty != 0 }

// NoBuffers: the buffer ring was empty. Give buffers back, then arm again.
func (c Completion) NoBuffers() bool { return c.Res == -int32(unix.ENOBUFS) }

// Canceled: by SQE.Cancel, because a linked operation before it failed or came up
// short, or because the kernel could not make the worker that it needed.
func (c Completion) Canceled() bool { return c.Res == -int32(unix.ECANCELED) }

// TimedOut: a Timeout fired.
func (c Completion) TimedOut() bool { return c.Res == -int32(unix.ETIME) }
