package vfs_test

import (
	"fmt"

	"github.com/claudefs/repl/engine/store/vfs"
)

// A file that was synced vanishes with the power if its directory was not.
func ExampleMem_Crash() {
	disk := vfs.NewMem(vfs.MemOptions{})
	f, _ := disk.Create("log")
	_ = f.WriteAt([][]byte{[]byte("hello")}, 0)
	_ = f.Sync()
	for _, u := range disk.Unsynced() {
		fmt.Println("unsynced:", u)
	}
	drop := func(vfs.Unsynced) vfs.Fate { return vfs.Drop }
	_, err := disk.Crash(drop).Open("log")
	fmt.Println(err)

	_ = disk.SyncDir(".")
	_, err = disk.Crash(drop).Open("log")
	fmt.Println(err)
	// Output:
	// unsynced: name log
	// open log: file does not exist
	// <nil>
}

// The second write fails, as on a full disk, half way.
func ExampleWithFaults() {
	disk := vfs.WithFaults(vfs.NewMem(vfs.MemOptions{}), vfs.Fault{Op: vfs.OpWrite, Call: 2, Effect: vfs.ShortWrite})
	f, _ := disk.Create("log")
	fmt.Println(f.WriteAt([][]byte{[]byte("hello")}, 0))
	fmt.Println(f.WriteAt([][]byte{[]byte("world!")}, 5))
	size, _ := f.Size()
	fmt.Println(size, "bytes,", disk.Calls(vfs.OpWrite), "writes,", disk.Hits(), "failed")
	// Output:
	// <nil>
	// write log: input/output error
	// 8 bytes, 2 writes, 1 failed
}
