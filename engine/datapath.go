package engine

import (
	"errors"
	"fmt"
	"net"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/stripe"
	"github.com/claudefs/repl/wire/link/tcp"
)

// What Options.IO may say.
const (
	ioAuto     = "auto"
	ioRDMA     = "rdma"
	ioUring    = "io_uring"
	ioPortable = "portable"
)

// hostsChoice is the reason for what Options.Transport and Options.FS say.
const hostsChoice = "named by the host"

// askedFor is the reason for what Options.IO says.
const askedFor = "asked for by the option IO"

// dataPath is what an engine chose for links and files that the host left to it.
type dataPath struct {
	ring      bool             // io_uring, not system calls of Go's own packages
	disk      *uring.Disk      // nil = the host's, or portable
	transport *uring.Transport // nil = the host's, or portable
	tcp       *tcp.Transport   // nil = the host's
	rdma      *rdma.Transport  // nil = there is none
	carriers  []carrier        // of links, the best first
	reason    string           // why not io_uring, or where it came from
	why       string           // why RDMA, or why not; "" where nobody could think of it
	ringless  string           // why links have no rings although files have; "" = they have
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
	if err := e.findRDMA(); err != nil {
		return err
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

// findRDMA looks for a device where links may be carried by one, and says which, or
// why there is none. It is opened only when the memory is there that it reads.
func (e *Engine) findRDMA() error {
	d, r := &e.path, e.o.rdma()
	switch {
	case !d.links, e.o.IO == ioUring, e.o.IO == ioPortable:
		return nil
	case e.o.IO == ioAuto && e.o.RDMA.Verbs == nil && !rdma.Built:
		return nil // a build without it reports that once
	}
	device, err := r.Verbs.Open(r.Device)
	if err != nil {
		d.why = "no rdma: " + err.Error()
		if e.o.IO == ioRDMA {
			return fmt.Errorf("option IO is %q: %w: let it choose by %q", ioRDMA, err, ioAuto)
		}
		return nil
	}
	name := device.Capabilities().Device
	_ = device.Close() // nothing was opened of it
	d.why = fmt.Sprintf("this machine has the RDMA device %s", name)
	if e.o.IO == ioRDMA {
		d.why = askedFor + ": " + name
	}
	d.carriers = append(d.carriers, carrier{judged: true}) // openLinks fills it in
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

// openLinks makes the transports, if the host named none, with frames in the
// engine's memory.
func (e *Engine) openLinks() (err error) {
	d := &e.path
	if !d.links {
		d.carriers = []carrier{{Transport: e.o.Transport}}
		return nil
	}
	e.frames = &link.Pool{Source: e.memory, IdleBytesMax: framesIdleBytesMax}
	if len(d.carriers) > 0 {
		if err := e.openRDMA(); err != nil {
			return err
		}
	}
	if d.ring {
		d.transport, err = uring.NewTransport(uring.TransportOptions{Pool: e.frames})
		switch {
		case err == nil:
			err = e.carry(d.transport)
		case e.o.IO != ioUring:
			d.ringless, err = err.Error(), nil
		}
		if err != nil {
			return err
		}
	}
	if d.tcp, err = tcp.New(tcp.Options{Pool: e.frames}); err != nil { // it accepts, in any case
		return err
	}
	if d.ring && e.o.IO == ioUring {
		return nil // insisted on
	}
	return e.carry(d.tcp)
}

// carry adds a transport whose links may have several connections.
func (e *Engine) carry(t link.Transport) error {
	striped, err := stripe.New(t, max(1, e.o.Streams))
	e.path.carriers = append(e.path.carriers, carrier{Transport: striped})
	return err
}

// openRDMA opens the device that was found, with leave to read the engine's memory.
func (e *Engine) openRDMA() (err error) {
	r := e.o.rdma()
	r.Pool = e.frames
	if region := e.memory.Region(); region != nil {
		r.Regions = [][]byte{region}
	}
	d := &e.path
	d.rdma, err = rdma.New(r)
	switch {
	case err == nil:
		d.carriers[0].Transport = d.rdma
	case e.o.IO == ioRDMA:
		return err
	default: // it went away within the last moment
		d.carriers, d.why = d.carriers[:0], "no rdma: "+err.Error()
	}
	return nil
}

// listen opens the one listener of all transports: connections are accepted by TCP, and
// carried by a ring only when their hello was welcome. RDMA's listener takes them as
// well, because their first bytes differ.
func (e *Engine) listen() (l link.Listener, err error) {
	d := &e.path
	switch {
	case !d.links:
		return d.carriers[0].Listen(e.o.Listen)
	case d.rdma == nil:
		l, err = d.tcp.Listen(e.o.Listen)
	default:
		l, err = d.rdma.ListenBeside(e.o.Listen, func(c *net.TCPConn) (link.Conn, error) { return d.tcp.Adopt(c), nil })
	}
	if err != nil {
		return nil, err
	}
	return stripe.Gather(l, e.adopt), nil
}

// adopt has an admitted connection carried by a ring, if links are. Where none is to be
// had, it stays as it is: a link is worth more.
func (e *Engine) adopt(c link.Conn) link.Conn {
	plain, ok := c.(*tcp.Conn)
	if !ok || e.path.transport == nil {
		return c
	}
	ring, err := e.path.transport.Adopt(plain.Socket())
	if err != nil {
		e.tell(&event.TransportFellBack{From: c.RemoteAddr(), Err: err})
		return c
	}
	return ring
}

// dataPathStatus tells which one it is.
func (e *Engine) dataPathStatus() DataPathStatus {
	d := &e.path
	s := DataPathStatus{Links: d.carriers[0].Name(), Files: ioPortable, Reason: d.reason}
	if d.why != "" {
		s.Reason = fmt.Sprintf("%s; %s", d.why, d.reason)
	}
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
	s.Reason += d.refusals()
	return s
}

// refusals tells of rings that the machine refused, at the opening and since.
func (d *dataPath) refusals() (text string) {
	if d.ringless != "" {
		text = "; but links: " + d.ringless
	}
	if d.transport != nil {
		text += refused("links", d.transport.Stats())
	}
	if d.disk != nil && d.ring {
		text += refused("journal files", d.disk.Stats())
	}
	return text
}

func refused(what string, s uring.CallStats) string {
	if s.Refused == 0 {
		return ""
	}
	return fmt.Sprintf("; %s: %d rings refused, system calls instead: %s", what, s.Refused, s.Reason)
}

// tellDataPath tells it at open, unless the host knows it all.
func (e *Engine) tellDataPath() {
	if !e.path.links && !e.path.files {
		return
	}
	s := e.dataPathStatus()
	e.tell(&event.DataPath{Links: s.Links, Files: s.Files, Reason: s.Reason})
}

// transportReason says why links are carried by what they are.
func (e *Engine) transportReason() string {
	if !e.path.links {
		return hostsChoice
	}
	switch d := &e.path; {
	case d.rdma != nil:
		return d.why
	case d.why != "":
		return d.reason + "; " + d.why + d.refusals()
	default:
		return d.reason + d.refusals()
	}
}

// close gives the rings back, behind all links and files.
func (d *dataPath) close() error {
	var err error
	if d.rdma != nil {
		err = d.rdma.Close()
	}
	if d.transport != nil {
		err = errors.Join(err, d.transport.Close())
	}
	if d.disk == nil {
		return err
	}
	if failed := d.disk.Close(); failed != nil && !errors.Is(failed, uring.ErrClosed) {
		err = errors.Join(err, failed)
	}
	return err
}
