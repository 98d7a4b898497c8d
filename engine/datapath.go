package engine

import (
	"errors"
	"fmt"

	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/tcp"
)

// What Options.IO may say.
const (
	ioAuto     = "auto"
	ioUring    = "io_uring"
	ioPortable = "portable"
)

// eventDataPath tells at open what carries links and writes journals, and why.
const eventDataPath = "data-path"

// hostsChoice is the reason for what Options.Transport and Options.FS say.
const hostsChoice = "named by the host"

// askedFor is the reason for what Options.IO says.
const askedFor = "asked for by the option IO"

// dataPath is what an engine chose for links and files that the host left to it.
type dataPath struct {
	ring      bool             // io_uring, not system calls of Go's own packages
	disk      *uring.Disk      // nil = the host's, or portable
	transport *uring.Transport // nil = the host's, or portable
	reason    string           // why not io_uring, or where it came from
	memory    bool             // files lie in memory, where a ring is the slower way
	links     bool             // the engine chose the links
	files     bool             // the engine chose the files
}

// openDataPath chooses what the host did not name.
func (e *Engine) openDataPath() error {
	d := &e.path
	d.links, d.files = e.o.Transport == nil, e.o.FS == nil
	if d.files {
		e.o.FS = vfs.OS{}
	}
	if !d.links && !d.files {
		return nil
	}
	if err := d.open(e.o.IO); err != nil {
		return err
	}
	// The kernel writes to files in memory on a worker of its own, which costs more
	// than the write.
	d.memory = vfs.InMemory(e.o.Dir) && e.o.IO != ioUring
	if d.files && d.ring && !d.memory {
		e.o.FS = d.disk
	}
	return nil
}

// open opens the rings' disk, or says why there is none. Where the machine has
// io_uring and nobody asked otherwise, it is taken: package uring has the figures.
func (d *dataPath) open(io string) (err error) {
	if io == ioPortable {
		d.reason = askedFor
		return nil
	}
	d.disk, err = uring.OpenDisk(uring.DiskOptions{})
	switch {
	case err == nil && io == ioUring:
		d.reason = askedFor
	case err == nil:
		d.reason = "this machine has io_uring"
	case io == ioUring:
		return fmt.Errorf("option IO is %q: %w: let it choose, or take %q", ioUring, err, ioPortable)
	default:
		d.reason = err.Error()
	}
	d.ring = err == nil
	return nil
}

// framesIdleBytesMax is how much memory of received frames is kept for the next
// ones: four of the usual largest. What a link is short of comes from the
// engine's memory, which costs little.
const framesIdleBytesMax = 8 << 20

// openLinks makes the transport, if the host named none, with frames in the
// engine's memory.
func (e *Engine) openLinks() (err error) {
	if !e.path.links {
		return nil
	}
	e.frames = &link.Pool{Source: e.memory, IdleBytesMax: framesIdleBytesMax}
	if e.path.ring {
		e.path.transport, err = uring.NewTransport(uring.TransportOptions{Pool: e.frames})
		e.o.Transport = e.path.transport
	} else {
		e.o.Transport, err = tcp.New(tcp.Options{Pool: e.frames})
	}
	return err
}

// dataPathStatus tells which one it is.
func (e *Engine) dataPathStatus() DataPathStatus {
	d := &e.path
	s := DataPathStatus{Links: e.o.Transport.Name(), Files: ioPortable, Reason: d.reason}
	switch {
	case !d.files:
		s.Files = "the host's"
	case d.ring && d.memory:
		s.Reason += ", but not for journal files in memory"
	case d.ring:
		s.Files = ioUring
	}
	if !d.links && !d.files {
		s.Reason = hostsChoice
	}
	return s
}

// tellDataPath tells it at open, unless the host knows it all.
func (e *Engine) tellDataPath() {
	if !e.path.links && !e.path.files {
		return
	}
	s := e.dataPathStatus()
	e.events.tell(Event{Kind: eventDataPath, Shard: -1, Text: fmt.Sprintf("links: %s, journal files: %s: %s",
		s.Links, s.Files, s.Reason)})
}

// transportReason says why links are carried by what they are.
func (e *Engine) transportReason() string {
	if !e.path.links {
		return hostsChoice
	}
	return e.path.reason
}

// close gives the rings back, behind all links and files.
func (d *dataPath) close() error {
	var err error
	if d.transport != nil {
		err = d.transport.Close()
	}
	if d.disk == nil {
		return err
	}
	if failed := d.disk.Close(); failed != nil && !errors.Is(failed, uring.ErrClosed) {
		err = errors.Join(err, failed)
	}
	return err
}
