//go:build !linux

package arena

// mapPages takes the region from the heap, whose large pieces begin at a page.
func mapPages(size int) ([]byte, error) { return make([]byte, size), nil }

func unmapPages([]byte) error { return nil }
